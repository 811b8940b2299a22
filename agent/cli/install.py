"""`agent install`: lay this environment down as a service of the device."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from agent.install.config_file import Settings
    from agent.install.install import Asked
    from agent.install.system import Step

_SIGNS = {"done": "done   ", "kept": "as is  ", "would": "would  ", "skipped": "skipped", "warning": "warning"}


def tell_step(step: "Step") -> None:
    """Show a step as a line of progress, on stderr: stdout is for the summary."""
    click.echo(f"{_SIGNS[step.outcome]}  {step.name}: {step.detail}", err=True)


@click.command("install")
@click.option("--claim", metavar="TOKEN", help="Line that `controller fleet enrol` printed; - reads it from stdin.")
@click.option("--broker", metavar="HOST[:PORT]", help="Without a token: where the broker is.")
@click.option("--fleet", help="Without a token: name of the fleet.")
@click.option("--keys", type=click.Path(path_type=Path), help="Without a token: `trusted-keys.yaml` of the controller.")
@click.option("--device", help="Name of this device; the host's name, where left out.")
@click.option("--username", help="User name at the broker.")
@click.option("--password-file", type=click.Path(path_type=Path), help="File with the password at the broker.")
@click.option("--with", "drop_ins", multiple=True, metavar="NAME", help="Addition to the unit, e.g. camera or jetson.")
@click.option(
    "--root",
    type=click.Path(path_type=Path, resolve_path=True),
    default=Path("/"),
    help="Lay everything under this folder.",
)
@click.option("--no-start", is_flag=True, help="Do not enable and start the service.")
@click.option("--force", is_flag=True, help="Write the configuration anew although there is one.")
@click.option("--dry-run", is_flag=True, help="Say what would be done and change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    claim: str | None,
    broker: str | None,
    fleet: str | None,
    keys: Path | None,
    device: str | None,
    username: str | None,
    password_file: Path | None,
    drop_ins: tuple[str, ...],
    root: Path,
    no_start: bool,
    force: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Install the agent that runs this command as a service, and enrol the device.

    Makes the service's user, a release of this environment in /opt/thresher, /etc/thresher/agent.yaml, state folders
    and the unit; compiles the kernels; starts. Each step may be repeated: what is there stays.
    """
    from dataclasses import replace

    from agent.install.install import install, next_words
    from agent.install.layout import Layout
    from agent.install.system import Progress

    asked = _asked(claim, (broker, fleet, keys), device, (username, password_file))
    asked = replace(asked, force=force, start=not no_start, drop_ins=drop_ins)
    layout, progress = Layout(root), Progress(tell_step, dry_run)
    config = install(asked, layout, progress)
    if as_json:
        named = {"fleet": config.fleet, "device": config.device} if config is not None else {}
        click.echo(json.dumps({**named, "steps": [step.as_document() for step in progress.steps]}, indent=2))
    else:
        click.echo(next_words(layout, config))


def _asked(
    claim: str | None,
    address: tuple[str | None, str | None, Path | None],
    device: str | None,
    login: tuple[str | None, Path | None],
) -> "Asked":
    """Return what is asked for, from a token or from the three options that stand for one."""
    from dataclasses import replace

    from agent.install import config_file
    from agent.install.claim import read_token
    from agent.install.install import Asked

    if claim is not None and any(address):
        raise click.UsageError("--claim brings broker, fleet and keys: leave out --broker, --fleet and --keys")
    password_file = login[1].resolve() if login[1] is not None else None
    if claim is not None:
        token = read_token(sys.stdin.read() if claim == "-" else claim)
        settings = config_file.settings_of_token(token, device)
        return Asked(replace(settings, username=login[0], password_file=password_file), token)
    settings_asked = _settings(address, device)
    if settings_asked is None:
        return Asked(None)
    return Asked(replace(settings_asked, username=login[0], password_file=password_file))


def _settings(address: tuple[str | None, str | None, Path | None], device: str | None) -> "Settings | None":
    import platform

    from agent.install import config_file

    broker, fleet, keys = address
    if broker is None and fleet is None and keys is None:
        return None
    if broker is None or fleet is None or keys is None:
        raise click.UsageError("--broker, --fleet and --keys belong together (or give --claim)")
    host, port = config_file.parse_address(broker)
    name = device or config_file.safe_name(platform.node())
    return config_file.Settings(fleet, name, host, port, config_file.read_keys(keys))
