"""`controller trial list`: the trials of a deployment."""

from typing import Any

import click

from controller.cli.output import bytes_text, json_option, print_json, print_table
from controller.cli.session import reading


@click.command("list")
@click.option("--deployment", help="Only this deployment's trials; else those of the newest one.")
@json_option
def list_(deployment: str | None, as_json: bool) -> None:
    """List the trials of a deployment, with what speaks against their numbers."""
    from controller.report.build import latest_id
    from controller.report.trials import trial_row
    from controller.store import deployments, trials

    with reading() as session:
        chosen = deployment or latest_id(session)
        deployments.get(session, chosen)
        rows = [_without_samples(trial_row(row)) for row in trials.of_deployment(session, chosen)]
    if as_json:
        print_json(rows)
        return
    print_table(
        (
            "trial", "class", "device", "variant", "control", "outcome", "scenario", "samples", "p50 [ms]", "p95 [ms]",
            "queries/s", "peak memory", "doubts",
        ),
        [_cells(row) for row in rows],
        title=f"trials of deployment {chosen}",
    )  # fmt: skip


def _without_samples(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "replicates"} | {"processes": len(row["replicates"])}


def _cells(row: dict[str, Any]) -> list[object]:
    named = row["device_class"] + (" (emulated)" if row["emulated"] else "")
    memory = bytes_text(row["memory"]["peak_bytes"]) if row["memory"] else None
    summary = row["summary"]
    return [
        row["trial"], named, row["device"], row["variant"], row["control"], row["outcome"] or row["stage"],
        row.get("scenario"), row["samples"], summary["p50_ms"], summary["p95_ms"], summary.get("queries_per_second"),
        memory, _doubts(row),
    ]  # fmt: skip


def _doubts(row: dict[str, Any]) -> str:
    """Return why the speed must not be used, else how many reasons to doubt it there are; `trial show` names them."""
    void = [flag["reason"] for flag in row["flags"] if flag["void"]]
    if void:
        return f"void: {', '.join(void)}"
    count = len(row["flags"])
    return f"{count} flag{'s' if count > 1 else ''}" if count else ""
