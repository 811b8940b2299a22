"""`controller trial list|show`: what devices measured."""

from typing import Any

import click

from controller.cli.output import bytes_text, json_option, print_json, print_table, time_text
from controller.cli.session import reading


@click.group()
def trial() -> None:
    """List and show what devices measured."""


@trial.command("list")
@click.option("--deployment", help="Only this deployment's trials; else those of the newest one.")
@json_option
def list_(deployment: str | None, as_json: bool) -> None:
    """List the trials of a deployment."""
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
        ("trial", "class", "device", "variant", "control", "outcome", "samples", "p50 [ms]", "p95 [ms]", "peak memory"),
        [_cells(row) for row in rows],
        title=f"trials of deployment {chosen}",
    )


@trial.command()
@click.argument("trial_id", metavar="TRIAL")
@json_option
def show(trial_id: str, as_json: bool) -> None:
    """Show one trial: its conditions, its flags, and with --json every raw sample."""
    from controller.errors import NotFound
    from controller.report.trials import trial_row
    from controller.store import trials

    with reading() as session:
        row = trials.get(session, trial_id)
        if row is None:
            raise NotFound(f"no trial {trial_id!r} in this workspace: see `controller trial list`")
        document = trial_row(row)
    if as_json:
        print_json(document)
        return
    print_table(("field", "value"), _facts(document), title=f"trial {trial_id}")
    print_table(
        ("process", "samples", "phases", "flags"),
        [
            [each["order"], len(each["samples_ns"]["total_ns"]), str(each["phases"]), ", ".join(each["flags"])]
            for each in document["replicates"]
        ],
    )


def _without_samples(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "replicates"} | {"processes": len(row["replicates"])}


def _cells(row: dict[str, Any]) -> list[object]:
    named = row["device_class"] + (" (emulated)" if row["emulated"] else "")
    memory = bytes_text(row["memory"]["peak_bytes"]) if row["memory"] else None
    return [
        row["trial"], named, row["device"], row["variant"], row["control"], row["outcome"] or row["stage"],
        row["samples"], row["summary"]["p50_ms"], row["summary"]["p95_ms"], memory,
    ]  # fmt: skip


def _facts(document: dict[str, Any]) -> list[list[object]]:
    names = (
        "device", "device_class", "emulated", "variant", "control", "bundle", "outcome", "error", "grade", "scenario",
        "engine", "engine_version", "threads", "samples", "serving_lost_s",
    )  # fmt: skip
    rows: list[list[object]] = [[name, document.get(name)] for name in names]
    rows += [["p50 [ms]", document["summary"]["p50_ms"]], ["p95 [ms]", document["summary"]["p95_ms"]]]
    rows += [["received", time_text(document["received_s"])]]
    rows += [[f"condition {name}", str(value)] for name, value in document["conditions"].items()]
    return rows + [[f"flag {flag['reason']}", flag.get("remedy")] for flag in document["flags"]]
