"""`controller fleet raw`: single queries of one device, for a bounded time."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from controller.cli.output import json_option, print_json, print_table, time_text
from controller.cli.session import opened, operator, workspace

if TYPE_CHECKING:
    from controller.telemetry.raw_collect import Collected
    from wire.raw import RawRequest

_TIMES = ("total_ms", "wait_ms", "pre_ms", "infer_ms", "post_ms")
_COLUMNS = ("at", "total [ms]", "wait [ms]", "pre [ms]", "infer [ms]", "post [ms]", "answer", "confidence", "reason")


@click.command("raw")
@click.argument("name", metavar="FLEET")
@click.argument("device")
@click.option("--workload", required=True, help="Whose queries.")
@click.option(
    "--seconds", type=click.FloatRange(0, 300, min_open=True), default=30.0, show_default=True, help="For how long [s]."
)
@click.option(
    "--most", type=click.IntRange(1, 5000), default=1000, show_default=True, help="End after so many queries."
)
@click.option("--config", type=click.Path(dir_okay=False, path_type=Path), help="Fleet file, for the broker.")
@json_option
def raw(name: str, device: str, workload: str, seconds: float, most: int, config: Path | None, as_json: bool) -> None:
    """Have one device tell its single queries for a while: times, answers, reasons; never their inputs.

    Devices tell summaries otherwise. Who asked stands in the audit; the records are kept for a day.
    """
    from controller.telemetry.raw_collect import new_request

    told = _collect(new_request(name, device, workload, seconds, most), config)
    if as_json:
        names = {"fleet": name, "device": device, "workload": workload, "request": told.request}
        print_json({**names, "ended": told.ended, "detail": told.detail, "records": told.records})
        return
    print_table(_COLUMNS, [_cells(record) for record in told.records], title=f"{name}/{device}/{workload}")
    because = {"full": f"after {most} queries", "over": f"after {seconds:g} s"}[told.ended]
    click.echo(f"{len(told.records)} queries; ended {because}" + (f": {told.detail}" if told.detail else ""))


def _collect(request: "RawRequest", config: Path | None) -> "Collected":
    """Ask through the process that leads; where none does, this command leads."""
    from controller.deploy.fleet_files import required_fleet
    from controller.deploy.steer import is_led
    from controller.telemetry import raw_rows
    from controller.telemetry.raw_collect import lead_and_wait, wait_for

    with opened() as store:
        led = is_led(store)
        found = None if led else required_fleet(request.fleet, config, workspace())
        with store.begin() as session:
            raw_rows.ask(session, request, operator())
        if found is None:
            return wait_for(store, request)
    return lead_and_wait(workspace(), found, request)


def _cells(record: dict[str, Any]) -> list[object]:
    at_ms = record.get("at_ms")
    at = time_text(at_ms / 1e3) if isinstance(at_ms, int | float) else None
    answer = record.get("label", record.get("value"))
    return [at, *(record.get(name) for name in _TIMES), answer, record.get("confidence"), record.get("reason")]
