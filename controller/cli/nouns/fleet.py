"""`controller fleet list|show|enrol`: the devices of a fleet, as they last reported, and how they come in."""

import time
from pathlib import Path
from typing import Any

import click

from controller.cli.nouns.device_detail import print_device
from controller.cli.nouns.enrol import enrol
from controller.cli.nouns.raw import raw
from controller.cli.output import bytes_text, json_option, print_json, print_table, time_text
from controller.cli.session import opened, workspace
from controller.errors import NotFound


@click.group()
def fleet() -> None:
    """List fleets and show their devices."""


@fleet.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the fleets that a device was ever seen in."""
    from controller.report.fleet import fleet_summaries

    with opened() as store, store.read() as session:
        rows = fleet_summaries(session)
    if as_json:
        print_json(rows)
        return
    print_table(
        ("fleet", "devices", "online", "enrolled", "last heard"),
        [[row["fleet"], row["devices"], row["online"], row["enrolled"], time_text(row["last_seen_s"])] for row in rows],
    )


@fleet.command()
@click.argument("name", metavar="FLEET")
@click.option("--config", type=click.Path(dir_okay=False, path_type=Path), help="Fleet file, for the device classes.")
@click.option("--device", help="Only this one, with all numbers of its newest metrics.")
@json_option
def show(name: str, config: Path | None, device: str | None, as_json: bool) -> None:
    """Show a fleet's devices: class, state, what runs, latency, memory, temperature, as they last reported.

    With --device: percentiles of each phase, what was lost and why, confidence, inputs; and what its downloads took.
    """
    from controller.deploy.fleet_files import find_fleet_file
    from controller.report.fleet import device_rows, fetched_rows

    with opened() as store, store.read() as session:
        classes = find_fleet_file(name, config, workspace(), required=False)
        rows = device_rows(session, name, classes.fleet_file.classes if classes else (), time.time())
        if device is not None:
            fetched = fetched_rows(session, name, device)
            rows = [{**row, "fetched": fetched} for row in rows if row["device"] == device]
    if not rows:
        raise NotFound(f"no device {device!r} was ever seen in fleet {name!r}")
    if as_json:
        print_json({"fleet": name, "devices": rows})
        return
    if device is not None:
        print_device(rows[0])
    else:
        print_table(_COLUMNS, [cells for row in rows for cells in _cells(row)], title=f"fleet {name}")
    for row in rows:
        for reason in row["health"]["reasons"]:
            click.echo(f"{row['device']}: {reason}")


fleet.add_command(enrol)
fleet.add_command(raw)

_COLUMNS = (
    "device", "class", "online", "enrolled", "workload", "state", "variant", "queries", "errors", "lost",
    "p50 [ms]", "p95 [ms]", "worker", "free memory", "temperature", "last heard",
)  # fmt: skip


def _cells(row: dict[str, Any]) -> list[list[object]]:
    marked = " (simulated)" if row["simulated"] else " (emulated)" if row["emulated"] else ""
    named = (row["device_class"] or "-") + marked
    temperature = row["temperature_celsius"]
    tail = [
        bytes_text(row["memory_available_bytes"]),
        None if temperature is None else f"{temperature:.0f} °C",
        time_text(row["last_seen_s"]),
    ]
    empty = dict.fromkeys(("workload", "state", "variant", "active", "queries", "errors", "lost", "p50_ms", "p95_ms"))
    rows = row["workloads"] or [{**empty, "worker_rss_bytes": None}]
    return [
        [
            row["device"], named, row["online"], row["enrolled"], each["workload"], each["state"],
            each["variant"] or (each["active"] or "-")[:12], each["queries"], each["errors"], each["lost"],
            each["p50_ms"], each["p95_ms"], bytes_text(each["worker_rss_bytes"]), *tail,
        ]
        for each in rows
    ]  # fmt: skip
