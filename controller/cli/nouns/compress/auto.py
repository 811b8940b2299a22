"""`controller model compress MODEL --auto`: open the search, let it run, finish, write the report, tell of it.

Decides: where a search lies in the workspace, and that two of the same never run at once. Leaves out: the search
(`controller/compress/search`) and the report (`controller/report/compress`).
"""

import fcntl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import psutil

from controller.cli.nouns.compress.on_fleet import OnFleet, measured_of, rounds_of, tell_classes, tell_cost
from controller.cli.nouns.compress.watch import BoardWatch, PlainWatch, make_watch
from controller.cli.output import bytes_text, print_json, print_table
from controller.cli.session import workspace
from controller.compress.recipe import Recipe
from controller.compress.search.classes.picks import best_for, fronts_of
from controller.compress.search.examine import Bench, open_bench
from controller.compress.search.finish import MOST_FINAL, Finished, finish, seconds_needed
from controller.compress.search.genome import Space
from controller.compress.search.loop import Budget, Ended, Parts, run_search
from controller.compress.search.record import RecordedCache
from controller.compress.search.space import space_of
from controller.compress.search.split import folds_of, usual_folds
from controller.compress.search.study import Row, Study
from controller.compress.search.timing.clock import HostClock
from controller.compress.variant import baseline_variant
from controller.convert.digest import model_digest
from controller.errors import Busy
from controller.models.catalogue import find_model
from controller.models.folder import ModelFolder
from controller.models.samples import LabelledData, evaluation_samples, golden_inputs, training_samples
from controller.report.compress.build import About, search_report
from controller.report.compress.fleet import Measured, fleet_part
from controller.report.compress.write import SearchFiles, write_search
from controller.report.host import describe_host
from controller.workspace import Workspace
from wire.canonical import canonical_json, sha256_hex


@dataclass(frozen=True)
class Wish:
    """What is asked for.

    begin: recipes that are tried first. limit: the most that may be lost, a ratio. folds: null: as many as the number
    of samples suggests. fleet: whose devices measure; null: this host alone. yes: nobody is asked.
    """

    reference: str
    begin: tuple[Recipe, ...]
    budget_s: float
    variants: int | None
    limit: float
    workers: int
    seed: int
    folds: int | None = None
    fleet: OnFleet | None = None
    yes: bool = False


@dataclass(frozen=True)
class Opened:
    """A search that can run. folder: of its study and of the cache's record."""

    folder: Path
    space: Space
    bench: Bench
    study: Study
    clock: HostClock
    evaluation: LabelledData


Watching = PlainWatch | BoardWatch


def search(wish: Wish, *, dry_run: bool, as_json: bool) -> None:
    """Search, and tell what was found.

    Raises:
        UnusableModel: Its samples cannot be used, or the baseline cannot be judged or timed here.
        Busy: The same search runs already.
    """
    place = workspace()
    found = find_model(wish.reference, place.models)
    space = space_of(found, wish.begin)
    if dry_run:
        _tell_space(found, space, as_json)
    if wish.fleet is not None:
        tell_cost(wish.fleet, found, ask=not (dry_run or wish.yes), aside=as_json)
    if dry_run:
        return
    with make_watch(aside=as_json) as watch:
        document, files = _searched(wish, found, space, place, watch)
    if as_json:
        print_json({**document, "report": {"html": str(files.html), "json": str(files.json)}})
    else:
        _tell(document, files)


def _searched(
    wish: Wish, found: ModelFolder, space: Space, place: Workspace, watch: Watching
) -> tuple[dict[str, Any], SearchFiles]:
    started, now = time.monotonic(), time.time()
    training = training_samples(found, place.datasets)
    folder = place.searches / folder_name(found, space, training, wish)
    with _alone(folder, found):
        watch.told(f"judging the baseline of {found.identity}")
        opened = _opened(wish, found, space, place, training)
        budget = Budget(wish.budget_s, wish.variants)
        ran = _run(wish, opened, budget, place, watch)
    about = About(
        budget,
        ran.ended,
        time.monotonic() - started,
        now,
        wish.seed,
        wish.workers,
        len(opened.evaluation),
        describe_host(),
    )
    document = search_report(about, opened.bench, space, ran.rows, ran.finished)
    document["fleet"] = fleet_part(ran.measured, ran.rows) if ran.measured is not None else None
    return write_search(document, place.reports / folder.name)


def _opened(wish: Wish, found: ModelFolder, space: Space, place: Workspace, training: LabelledData) -> Opened:
    folder = place.searches / folder_name(found, space, training, wish)
    evaluation = evaluation_samples(found, place.datasets)
    golden = golden_inputs(found, place.datasets)
    cache = RecordedCache(place.cache, folder / "cache.jsonl")
    bench = open_bench(
        found, cache, place.datasets, folds_of(training, wish.seed, _folds(wish, training)), golden, limit=wish.limit
    )
    clock = HostClock(place.cache / "locks" / "timing", golden)
    clock.sitting([baseline_variant(found)])  # what cannot be timed here is told before an hour is spent
    classes = wish.fleet.classes if wish.fleet is not None else ()
    study = Study.open(folder / "study.log", space, wish.seed, Budget(wish.budget_s).longest_s, classes=classes)
    return Opened(folder, space, bench, study, clock, evaluation)


@dataclass(frozen=True)
class Ran:
    """What came of a search. rows: as they are known at its end. measured: by a fleet; null: this host alone."""

    ended: Ended
    rows: list[Row]
    finished: Finished
    measured: Measured | None = None


def _run(wish: Wish, opened: Opened, budget: Budget, place: Workspace, watch: Watching) -> Ran:
    reserve = partial(seconds_needed, folds=len(opened.bench.folds))
    parts = Parts(opened.study, opened.bench, opened.clock, wish.workers, stop_children, reserve)
    try:
        if wish.fleet is not None:
            return _run_on_fleet(wish, wish.fleet, opened, parts, (budget, place, watch))
        ended, rows = _searched_here(wish, parts, budget, watch)
        return Ran(ended, rows, finish(opened.bench, rows, opened.clock, opened.evaluation, watch.told))
    except KeyboardInterrupt as exc:
        exc.add_note(f"{opened.study.tried} variants are kept in {opened.folder}: the same command goes on from there")
        raise


def _searched_here(wish: Wish, parts: Parts, budget: Budget, watch: Watching) -> tuple[Ended, list[Row]]:
    with ThreadPoolExecutor(wish.workers) as pool:
        ended = run_search(parts, budget, pool, watch)
    return ended, list(parts.study.rows.values())


def _run_on_fleet(
    wish: Wish, fleet: OnFleet, opened: Opened, parts: Parts, around: tuple[Budget, Workspace, Watching]
) -> Ran:
    """Search with a fleet's devices. around: the budget, the workspace, and who watches."""
    budget, place, watch = around
    with rounds_of(fleet, opened.bench, opened.space, opened.folder, place, watch.told) as (rounds, measurer):
        rounds.take_up(list(opened.study.rows.values()))
        parts.settling, parts.best = rounds, best_for(fleet.classes)
        ended, found = _searched_here(wish, parts, budget, watch)
        rows = rounds.close(found)
        measured = measured_of(fleet, rounds, measurer)
    first = fronts_of(rows, fleet.classes)[:MOST_FINAL]
    return Ran(
        ended, rows, finish(opened.bench, rows, opened.clock, opened.evaluation, watch.told, first=first), measured
    )


def _folds(wish: Wish, training: LabelledData) -> int:
    return wish.folds or usual_folds(len(training))


def folder_name(found: ModelFolder, space: Space, training: LabelledData, wish: Wish) -> str:
    """Return the name of a search's folder: another one where anything differs that its results depend on."""
    form = found.baseline_format
    folds = _folds(wish, training)
    parts = [space.digest, model_digest(form, found.file(form)), training.digest, wish.limit, wish.seed, folds]
    parts += [wish.fleet.identity] if wish.fleet is not None else []
    return f"search-{found.name}-{found.version}-{sha256_hex(canonical_json(parts))[:12]}"


@contextmanager
def _alone(folder: Path, found: ModelFolder) -> Iterator[None]:
    """Hold the search's lock; the kernel lets go of it when this process dies."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy(
                f"a search of {found.identity} with the same settings runs already ({folder}); wait for it, or take "
                f"another --seed"
            ) from None
        yield


def stop_children() -> None:
    """End the processes that this one started, and theirs."""
    for child in psutil.Process().children(recursive=True):
        try:
            child.kill()
        except psutil.NoSuchProcess:
            continue


def _tell_space(found: ModelFolder, space: Space, as_json: bool) -> None:
    if as_json:
        genes = {name: list(choices) for name, choices in space.genes.items()}
        begin = [recipe.name for recipe in space.seeds]
        print_json({"model": found.identity, "begin": begin, "space": genes, "dropped": dict(space.dropped)})
        return
    print_table(
        ("choice", "values"),
        [[name, ", ".join(map(str, choices))] for name, choices in space.genes.items()],
        title=f"{found.identity}: what would be searched",
    )
    click.echo(f"begins with {', '.join(recipe.name for recipe in space.seeds) or 'nothing'}")
    for name, reason in space.dropped.items():
        click.echo(f"left out: {name}: {reason}")


def _tell(document: dict[str, Any], files: SearchFiles) -> None:
    about, baseline = document["search"], document["baseline"]
    print_table(
        ("variant", "lost, validation", "score", "speed-up [95 %]", "p50 [ms]", "smaller", "download", "peak memory"),
        [_cells(row, baseline) for row in document["finals"]],
        title=f"{document['model']['identity']}: the front, judged on {about['samples']['evaluation']} samples",
    )
    counts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in about["outcomes"].items())
    click.echo(f"{about['tried']} variants tried ({counts}); ended because {about['because']}")
    click.echo(f"taken: {document['pick'] or 'none'}: {document['because']}")
    for row in document["finals"]:
        if row["loss"]:
            click.echo(f"{row['variant']}: {row['loss']['text']}")
    for warning in document["warnings"]:
        click.echo(f"note: {warning}")
    if document["reproduce"]:
        click.echo(f"again: {document['reproduce']}")
    if document["fleet"] is not None:
        tell_classes(document["fleet"])
    click.echo(f"report: {files.html}")


def _cells(row: dict[str, Any], baseline: dict[str, Any]) -> list[object]:
    gain, name = row["speed_up"], row["variant"]
    bounded = gain and gain["upper"] is not None
    speed = f"{gain['ratio']:.2f} [{gain['lower']:.2f}, {gain['upper']:.2f}]" if bounded else None
    smaller = baseline["wire_bytes"] / row["wire_bytes"]
    sizes = [bytes_text(row["wire_bytes"]), bytes_text(row["peak_memory_bytes"])]
    return [name, row["validation_loss"], row["score"], speed, row["p50_ms"], smaller, *sizes]
