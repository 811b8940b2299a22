"""`agent upgrade`: a new release beside the running one, taken for good once it has connected."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from agent.install.layout import Layout


@click.command("upgrade")
@click.argument("spec", metavar="WHEEL_OR_SPEC", required=False)
@click.option(
    "--wheelhouse",
    type=click.Path(path_type=Path, resolve_path=True),
    help="Folder of wheels; the network is not asked then.",
)
@click.option("--wait-s", type=float, default=120.0, show_default=True, help="How long it may take to connect [s].")
@click.option(
    "--root",
    type=click.Path(path_type=Path, resolve_path=True),
    default=Path("/"),
    help="Folder that it was laid under.",
)
@click.option("--recover", is_flag=True, help="Before each start: give up a release that did not connect in 3 starts.")
@click.option("--dry-run", is_flag=True, help="Say what would be done and change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    spec: str | None,
    wheelhouse: Path | None,
    wait_s: float,
    root: Path,
    recover: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Upgrade the installed agent to a wheel or to a version, like thresher==1.2.0.

    The former release is started again if the new one does not connect to the broker in time (exit code 14). Models
    that the device serves are not touched.
    """
    from agent.install.layout import Layout

    layout = Layout(root)
    if recover:
        click.echo(_recover(layout), err=True)
        return
    if spec is None:
        raise click.UsageError("name a wheel, or a version like thresher==1.2.0")
    from agent.cli.install import tell_step
    from agent.install.system import Progress
    from agent.install.upgrade import Wanted, upgrade

    progress = Progress(tell_step, dry_run)
    upgrade(Wanted(spec, wheelhouse, wait_s), layout, progress)
    if as_json:
        click.echo(json.dumps({"steps": [step.as_document() for step in progress.steps]}, indent=2))


def _recover(layout: "Layout") -> str:
    from agent.config import load_config
    from agent.install.upgrade import read_intent, recover

    if read_intent(layout) is None:  # at almost every start: no need to read more
        return "no upgrade is under way"
    return recover(layout, load_config(layout.config, environment={}).state_dir)
