"""`controller doctor`: is everything here that a deploy needs?"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import click

from controller.cli.output import bytes_text, json_option, print_json, print_table
from controller.cli.session import workspace
from controller.errors import ControllerError

LEAST_FREE_BYTES = 1024**3
_PACKAGES = {
    "onnxruntime": "pip install 'thresher[controller]'",
    "ai_edge_litert": "pip install 'thresher[controller]'",
    "onnx": "pip install 'thresher[controller]'",
    "numba": "pip install 'thresher[controller]'",
    "plotly": "pip install 'thresher[controller]'",
    "agent": "install the whole distribution: the controller evaluates with the agent's worker",
}
_OPTIONAL = {"iotcore": "only for `controller broker run` and the demo: pip install 'thresher[broker]'"}


class Finding(NamedTuple):
    """One check. `verdict`: ok, missing (a deploy fails), or note."""

    check: str
    verdict: str
    detail: str


@click.command()
@click.option("--fleet", help="Also check this fleet's file and its broker.")
@click.option("--config", type=click.Path(dir_okay=False, path_type=Path), help="Fleet file, with --fleet.")
@json_option
def doctor(fleet: str | None, config: Path | None, as_json: bool) -> None:
    """Check this machine, the workspace and (with --fleet) the broker; exit 1 where a deploy would fail."""
    from controller.report.host import describe_host

    host = describe_host()
    findings = [
        Finding("processor", "ok", f"{host['processor']}, {host['cores']} cores, {host['isa']}"),
        Finding("python", "ok", str(host["python"])),
        *_packages(),
        _disk(),
        *_workspace(),
    ]
    if fleet:
        findings += _fleet(fleet, config)
    if as_json:
        print_json({"host": host, "findings": [finding._asdict() for finding in findings]})
    else:
        print_table(("check", "verdict", "detail"), findings)
    if any(finding.verdict == "missing" for finding in findings):
        raise click.exceptions.Exit(1)


def _packages() -> list[Finding]:
    from importlib.metadata import PackageNotFoundError, version
    from importlib.util import find_spec

    findings = []
    for name, remedy in {**_PACKAGES, **_OPTIONAL}.items():
        try:
            shown = version(name.replace("_", "-"))
        except PackageNotFoundError:
            shown = "here"
        if find_spec(name):
            findings.append(Finding(name, "ok", shown))
        else:
            findings.append(Finding(name, "note" if name in _OPTIONAL else "missing", remedy))
    return findings


def _disk() -> Finding:
    place = workspace().root
    existing = next(path for path in (place, *place.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    verdict = "ok" if free >= LEAST_FREE_BYTES else "missing"
    return Finding("disk", verdict, f"{bytes_text(free)} free at {existing}; {bytes_text(LEAST_FREE_BYTES)} wanted")


def _workspace() -> list[Finding]:
    from controller.keys import load_key
    from controller.leadership import current_leader
    from controller.store.database import Store

    place = workspace()
    if not place.exists:
        return [Finding("workspace", "missing", f"none at {place.root}: run `controller init`")]

    def database() -> str:
        import time

        store = Store.open(place)
        leader = current_leader(store, time.time())
        store.close()
        return f"{place.database_path}, led by {leader or 'nobody'}"

    return [_try("signing key", lambda: load_key(place.keys).key_id), _try("database", database)]


def _fleet(fleet: str, config: Path | None) -> list[Finding]:
    from controller.broker.embedded import answers
    from controller.deploy.fleet_files import broker_settings, required_fleet

    def file() -> str:
        return str(required_fleet(fleet, config, workspace()).path)

    def broker() -> str:
        from controller.errors import BrokerUnreachable

        settings = broker_settings(required_fleet(fleet, config, workspace()))
        if not answers(settings.host, settings.port, timeout_s=3.0):
            raise BrokerUnreachable(f"nothing answers at {settings.shown}: start a broker, or correct the fleet file")
        return f"{settings.shown} answers"

    return [_try("fleet file", file), _try("broker", broker)]


def _try(check: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(check, "ok", look())
    except ControllerError as exc:
        return Finding(check, "missing", str(exc))
