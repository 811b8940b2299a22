"""`agent bench BUNDLE`: measure one bundle here, without a controller; several points of it, or against another."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from threading import Event

    from agent.bench import BenchOptions
    from agent.bench.comparing import Compared
    from agent.measure.session import MeasureContext
    from wire.trial import TrialRecord

_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)

READ_BY: Mapping[str, tuple[str, ...]] = {
    "streams": ("multi_stream",),
    "queries": ("offline",),
    "rate_hz": ("server",),
    "period_ms": ("paced",),
    "bound_ms": ("server", "paced"),
    "batch": ("offline",),
}
"""Option -> the scenarios that read it: one that nobody reads would be said of a record and not hold in it."""


def _counts(most: int) -> Callable[[click.Context, click.Parameter, str | None], tuple[int, ...]]:
    """Return a callback that reads whole numbers from 1 to `most`, with commas between them."""

    def read(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, ...]:
        parts = [] if value is None else [part.strip() for part in value.split(",")]
        if not all(part.isdecimal() and 1 <= int(part) <= most for part in parts):
            raise click.BadParameter(f"{value!r}: whole numbers from 1 to {most}, like 1,2,4", ctx, param)
        numbers = tuple(int(part) for part in parts)
        if len(set(numbers)) < len(numbers):
            raise click.BadParameter(f"{value!r}: a number stands twice", ctx, param)
        return numbers

    return read


def _finite(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    """Refuse NaN, which lies in every range, and infinity."""
    if value is not None and not math.isfinite(value):
        raise click.BadParameter(f"{value}: a finite number is expected", ctx, param)
    return value


@click.command("bench")
@click.argument("bundle", type=_FOLDER)
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    help="The agent's YAML file: measure as that agent would (threads, cap, cores, engines, lock).",
)
@click.option(
    "--grade",
    type=click.Choice(["quick", "normal", "ranking"]),
    default="normal",
    show_default=True,
    help="How long to measure.",
)
@click.option(
    "--scenario",
    type=click.Choice(["single_stream", "multi_stream", "offline", "server", "paced"]),
    default="single_stream",
    show_default=True,
    help="How queries come, as in MLPerf: singly, several at once, in batches, at random, at a fixed pace.",
)
@click.option("--streams", type=click.IntRange(1, 256), help="multi_stream: queries at once (8).")
@click.option("--queries", type=click.IntRange(1, 100_000), help="offline: queries in all, at least (256).")
@click.option(
    "--rate-hz", type=click.FloatRange(0, 1e6, min_open=True), callback=_finite, help="server: arrivals a second."
)
@click.option(
    "--period-ms",
    type=click.FloatRange(0, 60_000, min_open=True),
    callback=_finite,
    help="paced: from query to query (100).",
)
@click.option(
    "--bound-ms",
    type=click.FloatRange(0, min_open=True),
    callback=_finite,
    help="server, paced: latency to be kept.",
)
@click.option(
    "--batch",
    metavar="N[,N…]",
    callback=_counts(1024),
    help="offline: queries that the engine gets at once; several for a sweep.",
)
@click.option(
    "--threads",
    metavar="N[,N…]",
    callback=_counts(256),
    help="Engine threads, over the file's; several for a sweep.",
)
@click.option("--profile", is_flag=True, help="Measure the operators as well, by the engine's own profiler.")
@click.option(
    "--compare",
    "other",
    type=click.Path(path_type=Path, exists=True),
    help="Another bundle's folder, measured in turns with this one; or a record that --out wrote.",
)
@click.option(
    "--interleaving",
    type=click.Choice(["lock-step", "processes"]),
    help="How two bundles take turns: block by block, both processes alive (the default of single_stream), or process "
    "by process.",
)
@click.option("--evaluation", type=_FOLDER, help="Folder of an evaluation set to answer as well.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the record, as JSON, into a file.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole record as one JSON object.")
def command(bundle: Path, config_path: Path | None, **given: Any) -> None:
    """Measure the bundle in the folder BUNDLE on this device: latency, memory, golden outputs.

    Exit code 5 where the bundle cannot be measured, 16 where its speed is not valid. With --compare: 0 where BUNDLE is
    faster than the other or no difference was seen, 15 where it is slower, 16 where there is no verdict. 130 where
    Ctrl-C or SIGTERM ended it: what was measured until then is printed, and written to --out.
    """
    from agent.bench.saved import check_place

    _check_options(given)
    if given["out"] is not None:
        check_place(given["out"])
    options = _options(config_path, given)
    run = _points if options.sweep_threads or options.sweep_batches else _single
    if given["other"] is not None:
        run = _pair
    run(bundle, options, given)


def _single(bundle: Path, options: "BenchOptions", given: Mapping[str, Any]) -> None:
    from agent.bench import bench, table

    record = _watched(lambda *watched: bench(bundle, *watched), options)
    _leave([record], given, lambda: table(record))
    _check_measured(bundle, record)
    _check_valid(bundle, record)


def _points(bundle: Path, options: "BenchOptions", given: Mapping[str, Any]) -> None:
    from agent.bench import bench_points
    from agent.bench.points import points_table

    records = _watched(lambda *watched: bench_points(bundle, *watched), options)
    _leave(records, given, lambda: points_table(records))
    _check_measured(bundle, *records)
    _check_valid(bundle, *records)


def _pair(bundle: Path, options: "BenchOptions", given: Mapping[str, Any]) -> None:
    from agent.bench import bench, bench_pair
    from agent.bench.comparing import compare_records, compared_table

    other: Path = given["other"]
    if other.is_dir():
        ours, theirs = _watched(lambda *watched: bench_pair(bundle, other, *watched), options)
    else:
        theirs = _saved(other, options)
        ours = _watched(lambda *watched: bench(bundle, *watched), options)
    compared = compare_records(ours, theirs, interleaved=other.is_dir())
    _leave([ours, theirs] if other.is_dir() else [ours], given, lambda: compared_table(compared), compared)
    _check_measured(bundle, ours)
    _check_verdict(compared)


def _saved(path: Path, options: "BenchOptions") -> "TrialRecord":
    """Return the record in the file at `path`, if anything can be compared with it."""
    from agent.bench.comparing import reasons_against
    from agent.bench.saved import load
    from agent.errors import NoVerdict

    record = load(path)
    if reasons := reasons_against(record, options.scenario):
        raise NoVerdict(f"nothing can be compared with {path}, and nothing was measured: {'; '.join(reasons)}")
    return record


def _watched(measure: "Callable[[BenchOptions, Event], Any]", options: "BenchOptions") -> Any:
    """Measure, say on stderr what is going on, and let a signal end it with what there is."""
    from dataclasses import replace

    from agent.bench.interruption import interruptible
    from agent.bench.progress import shown

    with shown() as listener, interruptible() as interruption:

        def heard(event: str, fields: Mapping[str, Any]) -> None:
            interruption.hear(event)
            listener(event, fields)

        return measure(replace(options, progress=heard), interruption.cancel)


def _leave(
    records: "list[TrialRecord]",
    given: Mapping[str, Any],
    text: Callable[[], str],
    compared: "Compared | None" = None,
) -> None:
    """Write the records where a file was named, and print what was found, also where the file cannot be written."""
    from agent.bench.saved import as_json, compared_json, save

    try:
        if given["out"] is not None:
            save(records, given["out"])
    finally:
        if not given["as_json"]:
            click.echo(text())
        else:
            click.echo(as_json(records) if compared is None else compared_json(records, compared))


def _check_measured(bundle: Path, *records: "TrialRecord") -> None:
    """End where none of the records was measured, or somebody ended it."""
    from agent.errors import EngineFailed
    from agent.measure.record import is_interrupted

    if any(map(is_interrupted, records)):
        raise KeyboardInterrupt
    if all(record.outcome != "measured" for record in records):
        raise EngineFailed(f"{bundle} was not measured ({records[0].outcome}): {records[0].error}")


def _check_valid(bundle: Path, *records: "TrialRecord") -> None:
    """End with a code of its own where no record's speed may be used: a script would take it otherwise."""
    from agent.bench.numbers import is_void
    from agent.errors import SpeedVoid

    measured = [record for record in records if record.outcome == "measured"]
    if all(map(is_void, measured)):
        points = f"at none of {len(measured)} points " if len(measured) > 1 else "not "
        raise SpeedVoid(f"{bundle}: its speed is {points}valid: the flags above say why, and what to do")


def _check_verdict(compared: "Compared") -> None:
    from agent.errors import NoVerdict, Slower

    names = " and ".join(compared.names)
    if compared.verdict == "slower":
        raise Slower(f"of {names}, the first is slower")
    if compared.verdict in ("not_enough_data", "no_verdict"):
        raise NoVerdict(f"of {names}, none can be called faster: the verdict above says why")


def _check_options(given: Mapping[str, Any]) -> None:
    """Refuse what the scenario does not read, a sweep that is compared, and turns where there is nobody to take them.

    Raises:
        click.UsageError: Options that do not go together.
    """
    for name, scenarios in READ_BY.items():
        if given[name] not in (None, ()) and given["scenario"] not in scenarios:
            option, listed = f"--{name.replace('_', '-')}", " and ".join(scenarios)
            raise click.UsageError(f"{option} belongs to --scenario {listed}, not to {given['scenario']}")
    if given["other"] is not None and max(len(given["threads"]), len(given["batch"])) > 1:
        raise click.UsageError("--compare takes one point: give --threads and --batch one number each")
    if given["interleaving"] is not None and (given["other"] is None or not given["other"].is_dir()):
        raise click.UsageError("--interleaving belongs to --compare with a bundle's folder")
    if given["interleaving"] == "lock-step" and given["scenario"] != "single_stream":
        raise click.UsageError(f"--interleaving lock-step belongs to --scenario single_stream, not {given['scenario']}")


def _options(config_path: Path | None, given: Mapping[str, Any]) -> "BenchOptions":
    from dataclasses import replace

    from agent.bench import BenchOptions
    from wire.trial import ScenarioSettings

    threads: tuple[int, ...] = given["threads"]
    batches: tuple[int, ...] = given["batch"]
    chosen = {name: given[name] for name in READ_BY if given[name] is not None and name != "batch"}
    if len(batches) == 1:
        chosen["batch"] = batches[0]
    context = _context(config_path)
    return BenchOptions(
        **{name: given[name] for name in ("grade", "scenario", "profile", "evaluation")},
        interleaving=given["interleaving"] or "lock-step",
        settings=ScenarioSettings(**chosen),
        context=replace(context, threads=threads[0]) if len(threads) == 1 else context,
        sweep_threads=threads if len(threads) > 1 else (),
        sweep_batches=batches if len(batches) > 1 else (),
    )


def _context(config_path: Path | None) -> "MeasureContext":
    """Return how the agent of that configuration measures, in a folder for everybody and with its idle temperature."""
    from dataclasses import replace

    from agent.bench.measuring import LOCAL
    from agent.config import load_config
    from agent.measure.conditions.heat import IDLE_NAME, IdleTemperature
    from agent.plan.measuring import measure_context

    if config_path is None:
        return LOCAL
    config = load_config(config_path)
    idle = IdleTemperature(config.state_dir / IDLE_NAME, keeps=False)
    own = measure_context(config, LOCAL.agent_version, plan_gen=0)
    return replace(own, work_dir=None, lock_path=config.host_lock, idle=idle)
