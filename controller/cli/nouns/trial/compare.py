"""`controller trial compare`: two trials side by side, with a verdict where one can be given."""

from typing import TYPE_CHECKING, Any

import click

from controller.cli.failures import NO_VERDICT, SLOWER
from controller.cli.output import bytes_text, clean, json_option, print_json, print_table, shown
from controller.cli.session import reading, workspace

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from controller.trial.compare import Side, TrialComparison

_ROWS = (
    "device", "device_class", "variant", "outcome", "grade", "scenario", "threads", "serving_policy", "emulated",
    "processes", "samples",
)  # fmt: skip
_TIMES = ("p50", "p95", "p99", "query")
_NUMBERS = (
    "sustained_ms", "queries_per_second", "over_bound_ratio", "memory_loaded_bytes", "memory_peak_bytes", "energy_j",
    "import_ms", "compile_ms", "load_ms", "first_inference_ms", "warm_up_ms", "cold_load_ms", "warm_load_ms",
)  # fmt: skip


@click.command()
@click.argument("first", metavar="TRIAL")
@click.argument("second", metavar="TRIAL")
@json_option
@click.pass_context
def compare(context: click.Context, first: str, second: str, as_json: bool) -> None:
    """Say whether the second trial is faster than the first, slower, or no difference was seen.

    The verdict is about medians over processes; its level is 2.5 % of equal pairs called different. Where the two
    cannot be compared (void, another scenario, beside serving) none is given, and why is said.

    Exit codes: 0 faster, or no difference seen; 15 slower; 16 not enough data, or no verdict.
    """
    from controller.trial.compare import compare_trials

    with reading() as session:
        found = compare_trials(_side(session, first), _side(session, second))
    if as_json:
        print_json(found.document())
    else:
        _print(found)
    context.exit(_code(found))


def _code(found: "TrialComparison") -> int:
    if found.verdict in (None, "not_enough_data"):
        return NO_VERDICT
    return SLOWER if found.verdict == "slower" else 0


def _side(session: "Session", trial: str) -> "Side":
    from controller.deploy.settings import labels_of
    from controller.errors import NotFound
    from controller.fleet.views import trial_view
    from controller.store import deployments, trials
    from controller.trial.compare import Side
    from controller.trial.summary import summarise

    row = trials.get(session, trial)
    if row is None:
        raise NotFound(f"no trial {trial!r} in this workspace: see `controller trial list`")
    record = trial_view(row).record
    if record is None:
        raise NotFound(f"trial {trial} has no record yet (it is {row.stage}): wait for it, or measure again")
    labels = labels_of(dict(deployments.get(session, row.deployment).settings), workspace().datasets)
    if labels is not None and record.predictions is not None and record.predictions.samples != len(labels.values):
        labels = None
    return Side(record, summarise(record, labels), row.device_class, str(row.request.get("group", "")))


def _print(found: "TrialComparison") -> None:
    document = found.document()
    first, second = document["first"], document["second"]
    print_table(("", first["trial"], second["trial"]), _table(first, second))
    click.echo(f"verdict: {clean(_verdict(found))}")
    for caution in found.cautions:
        click.echo(f"caution: {clean(caution)}")


def _table(first: dict[str, Any], second: dict[str, Any]) -> list[list[object]]:
    rows: list[list[object]] = [[name.replace("_", " "), shown(first[name]), shown(second[name])] for name in _ROWS]
    rows += [
        [f"{name} [ms]", _bounds(first, name), _bounds(second, name)] for name in _TIMES if _any(first, second, name)
    ]
    scores = sorted(name for name in first.keys() | second.keys() if name.startswith("score_"))
    rows += [
        [name.replace("_", " "), _number(name, first.get(name)), _number(name, second.get(name))]
        for name in (*_NUMBERS, *scores)
        if first.get(name) is not None or second.get(name) is not None
    ]
    return [*rows, ["flags", ", ".join(first["flags"]) or None, ", ".join(second["flags"]) or None]]


def _any(first: dict[str, Any], second: dict[str, Any], name: str) -> bool:
    return any(side[f"{name}_ms"] is not None for side in (first, second))


def _bounds(side: dict[str, Any], name: str) -> str:
    value, lower, upper = (side[f"{name}{bound}_ms"] for bound in ("", "_lower", "_upper"))
    return shown(value) if upper is None else f"{shown(value)} ({shown(lower)} to {shown(upper)})"


def _number(name: str, value: Any) -> str:
    if name.endswith("_bytes") and value is not None:
        return str(bytes_text(value))
    return f"{value:.4f}" if name.startswith("score_") and value is not None else shown(value)


def _verdict(found: "TrialComparison") -> str:
    if found.speed is None:
        return "none: " + "; ".join(found.withheld)
    speed, second = found.speed, found.second.summary.trial
    words = {
        "faster": f"{second} is faster",
        "slower": f"{second} is slower",
        "no_difference_seen": "no difference seen",
        "not_enough_data": "not enough data",
    }
    change, low, high = (100 * (value - 1) for value in (speed.ratio, speed.lower, speed.upper))
    interval = f", {low:+.1f} to {high:+.1f} %" if speed.lower > 0 and high < float("inf") else ""
    seen = 100 * (speed.detectable_ratio - 1)
    told = speed.verdict in ("faster", "slower") or seen == float("inf")
    missed = "" if told else f"; a difference of {seen:.1f} % would have been seen"
    turns = "measured in turns" if found.interleaved else "not measured in turns"
    return f"{words[speed.verdict]}: {change:+.1f} % time{interval} ({turns}{missed}){_lost(found)}"


def _lost(found: "TrialComparison") -> str:
    from controller.choose.wording import loss_text

    judged = found.second.summary.judgement
    if found.loss is None or judged is None:
        return ""
    return f"; {loss_text(found.loss, 'R2' if judged.correct is None else 'points')}"
