"""`agent uninstall`: take the agent off this device."""

import json
from pathlib import Path

import click


@click.command("uninstall")
@click.option("--purge", is_flag=True, help="Remove configuration, state (models, the device's key) and user too.")
@click.option("--yes", is_flag=True, help="Do not ask before a purge.")
@click.option(
    "--root",
    type=click.Path(path_type=Path, resolve_path=True),
    default=Path("/"),
    help="Folder that it was laid under.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be done and change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(purge: bool, yes: bool, root: Path, dry_run: bool, as_json: bool) -> None:
    """Stop the service, remove its unit and all releases; configuration and state stay unless they are purged."""
    from agent.cli.install import tell_step
    from agent.install.layout import Layout
    from agent.install.system import Progress
    from agent.install.uninstall import uninstall

    layout, progress = Layout(root), Progress(tell_step, dry_run)
    if purge and not (yes or dry_run):
        question = f"Delete {layout.config_dir} and {layout.state_dir}, the device's key among them?"
        click.confirm(question, abort=True, err=True)
    uninstall(layout, purge, progress)
    if as_json:
        click.echo(json.dumps({"steps": [step.as_document() for step in progress.steps]}, indent=2))
