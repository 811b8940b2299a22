"""`controller trial show`: one trial with its conditions, validity, loads, energy and operators."""

from collections.abc import Mapping
from typing import Any

import click

from controller.cli.output import bytes_text, json_option, print_json, print_table, shown, time_text
from controller.cli.session import reading

_NAMES = (
    "device", "device_class", "emulated", "variant", "control", "bundle", "stage", "outcome", "error", "grade",
    "scenario", "serving_policy", "engine", "engine_version", "threads", "samples", "serving_lost_s",
)  # fmt: skip
_PERCENTILES = ("p50", "p95", "p99")
_PHASES = ("import_ms", "compile_ms", "load_ms", "first_inference_ms", "warm_up_ms", "cache_hits", "cache_misses")


@click.command()
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
        ("process", "samples", *(_words(name) for name in _PHASES), "queries/s", "flags"),
        [_process(each) for each in document["replicates"]],
        title="processes",
    )
    _print_loads(document)
    _print_operators(document.get("profile"))


def _facts(document: Mapping[str, Any]) -> list[list[object]]:
    rows: list[list[object]] = [[name, document.get(name)] for name in _NAMES]
    rows += [[f"setting {name}", value] for name, value in _settings(document).items()]
    rows += [*_numbers(document["summary"]), *_resources(document)]
    rows += [["received", time_text(document["received_s"])], *_validity(document)]
    conditions = document["conditions"].items()
    return rows + [[f"condition {name}", _known(value)] for name, value in conditions if value is not None]


def _known(value: object) -> str:
    """Return a condition as text; readings that the device does not offer are left out."""
    if isinstance(value, list):
        return ", ".join(map(_known, value))
    if not isinstance(value, Mapping):
        return shown(value)
    parts = [(name, _known(each), each) for name, each in value.items() if each is not None]
    found = (f"{name} ({text})" if isinstance(each, Mapping) else f"{name} {text}" for name, text, each in parts)
    return ", ".join(found) or "nothing is known"


def _settings(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that the scenario reads."""
    from controller.trial.settings import READS

    reads = READS.get(document.get("scenario"), frozenset())  # type: ignore[arg-type]  # the record's validator checked
    return {name: value for name, value in (document.get("settings") or {}).items() if name in reads}


def _numbers(summary: Mapping[str, Any]) -> list[list[object]]:
    rows: list[list[object]] = [[f"{name} [ms]", _with_bounds(summary, name)] for name in _PERCENTILES]
    if summary.get("query_ms") is not None:
        rows.append(["time per query [ms]", _with_bounds(summary, "query")])
    if summary.get("sustained_ms") is not None:
        rows.append(["sustained [ms]", summary["sustained_ms"]])
    rows.append(["queries per second", summary.get("queries_per_second")])
    if summary.get("over_bound_ratio") is not None:
        rows.append(["over the bound", f"{100 * summary['over_bound_ratio']:.2f} % of the queries"])
    return rows


def _with_bounds(summary: Mapping[str, Any], name: str) -> str:
    value, lower, upper = (summary.get(f"{name}{bound}_ms") for bound in ("", "_lower", "_upper"))
    return shown(value) if upper is None else f"{shown(value)} ({shown(lower)} to {shown(upper)})"


def _resources(document: Mapping[str, Any]) -> list[list[object]]:
    memory, energy = document.get("memory"), document.get("energy")
    rows: list[list[object]] = []
    if memory:
        names = ("baseline_bytes", "loaded_bytes", "peak_bytes", "anonymous_bytes", "file_bytes")
        rows += [[f"memory {name.removesuffix('_bytes')}", bytes_text(memory.get(name))] for name in names]
        rows.append(["memory by", memory["by"]])
    if energy:
        per_query = (
            f"{energy['joules_per_query']:.3g} J a query, {energy['mean_w']:.3g} W, idle {energy['idle_w']:.3g} W"
        )
        rows.append(["energy", f"{per_query}, from {energy['source']} over {energy['seconds']:.1f} s"])
    else:
        rows.append(["energy", "no sensor"])
    return rows


def _validity(document: Mapping[str, Any]) -> list[list[object]]:
    """The device's own judgement first; older agents send none: then void flags speak."""
    said = document.get("validity")
    void = [flag["reason"] for flag in document["flags"] if flag.get("void")]
    reasons = list(said["reasons"]) if said else void
    valid = said["valid"] if said else not void and document.get("outcome") == "measured"
    rows: list[list[object]] = []
    if document.get("outcome") is not None:
        rows.append(["speed is valid", shown(valid) + (f": {', '.join(reasons)}" if reasons else "")])
    marks = {True: "void", False: "flag"}
    return rows + [
        [f"{marks[bool(flag.get('void'))]} {flag['reason']}", flag.get("remedy")] for flag in document["flags"]
    ]


def _process(each: Mapping[str, Any]) -> list[object]:
    phases = each["phases"]
    samples = len(each["samples_ns"]["total_ns"])
    return [
        each["order"], samples, *(phases.get(name) for name in _PHASES), each["queries_per_second"],
        ", ".join(each["flags"]),
    ]  # fmt: skip


def _print_loads(document: Mapping[str, Any]) -> None:
    loads = [(kind, each) for kind in ("cold", "warm") for each in document.get(f"{kind}_loads") or ()]
    if loads:
        names = ("import_ms", "compile_ms", "load_ms", "first_inference_ms", "cache_misses")
        rows = [[kind, *(each.get(name) for name in names)] for kind, each in loads]
        print_table(("load", *(_words(name) for name in names)), rows, title="loads in processes of their own")


def _print_operators(profile: Mapping[str, Any] | None) -> None:
    if profile is None:
        return
    print_table(
        ("operator", "calls", "time [ms]", "share [%]"),
        [
            [each["operator"], each["calls"], each["total_ns"] / 1e6, 100 * each["share_ratio"]]
            for each in profile["operators"]
        ],
        title="operators of one query",
    )
    overhead = profile.get("overhead_ratio")
    slower = "" if overhead is None else f"; the profiler made it {100 * overhead:.1f} % slower"
    click.echo(f"profiled by {profile['engine']} over {profile['queries']} queries{slower}")
    if profile.get("note"):
        click.echo(profile["note"])


def _words(name: str) -> str:
    return name.removesuffix("_ms").replace("_", " ") + (" [ms]" if name.endswith("_ms") else "")
