"""`controller sample list|export`: queries that devices captured."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from controller.cli.output import bytes_text, json_option, print_json, print_table, time_text
from controller.cli.session import workspace

if TYPE_CHECKING:
    from controller.fleet.samples import KeptSample


@click.group()
def sample() -> None:
    """List and export queries that devices captured."""


@sample.command("list")
@click.option("--fleet", help="Only this fleet's.")
@click.option("--workload", help="Only this workload's.")
@json_option
def list_(fleet: str | None, workload: str | None, as_json: bool) -> None:
    """List how many samples each device sent, by workload."""
    rows = _rows(_kept(fleet, workload))
    if as_json:
        print_json(rows)
        return
    print_table(
        ("fleet", "workload", "device", "samples", "size", "last received"),
        [
            [row["fleet"], row["workload"], row["device"], row["samples"], bytes_text(row["bytes"]),
             time_text(row["received_s"])]
            for row in rows
        ],
    )  # fmt: skip


@sample.command()
@click.option("--fleet", required=True, help="Whose samples.")
@click.option("--workload", help="Which workload's; needed where the fleet has samples of several.")
@click.option("--to", "path", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The .npz to write.")
@json_option
def export(fleet: str, workload: str | None, path: Path, as_json: bool) -> None:
    """Write samples into one .npz, for labelling: x, predicted, confidence, device, at_s."""
    from controller.errors import ConfigurationError, NotFound
    from controller.fleet import sample_arrays

    kept = _kept(fleet, workload)
    if not kept:
        raise NotFound(f"no samples of fleet {fleet}: see `controller sample list`, and `capture` in the agents' files")
    workloads = sorted({each.workload for each in kept})
    if len(workloads) > 1:
        raise ConfigurationError(f"fleet {fleet} has samples of {', '.join(workloads)}: choose one with --workload")
    done = sample_arrays.export(kept, path)
    if as_json:
        print_json({"path": str(path), "samples": done.samples, "shape": done.shape, "left_out": done.left_out})
        return
    left_out = f"; {done.left_out} of another shape or unreadable left out" if done.left_out else ""
    click.echo(f"{done.samples} samples of shape {done.shape} in {path}{left_out}")


def _kept(fleet: str | None, workload: str | None) -> "list[KeptSample]":
    from controller.fleet.samples import SampleFolder

    place = workspace()
    place.require()
    return [
        each
        for each in SampleFolder(place.samples).kept()
        if fleet in (None, each.fleet) and workload in (None, each.workload)
    ]


def _rows(kept: "list[KeptSample]") -> list[dict[str, Any]]:
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for each in kept:
        key = (each.fleet, each.workload, each.device)
        names = dict(zip(("fleet", "workload", "device"), key, strict=True))
        row = found.setdefault(key, {**names, "samples": 0, "bytes": 0, "received_s": 0.0})
        facts = each.path.stat()
        row["samples"] += 1
        row["bytes"] += facts.st_size
        row["received_s"] = max(row["received_s"], facts.st_mtime)
    return [found[key] for key in sorted(found)]
