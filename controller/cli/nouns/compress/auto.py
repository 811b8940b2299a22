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

from controller.cli.nouns.compress.watch import BoardWatch, PlainWatch, make_watch
from controller.cli.output import bytes_text, print_json, print_table
from controller.cli.session import workspace
from controller.compress.recipe import Recipe
from controller.compress.search.examine import Bench, open_bench
from controller.compress.search.finish import Finished, finish, seconds_needed
from controller.compress.search.genome import Space
from controller.compress.search.loop import Budget, Ended, Parts, run_search
from controller.compress.search.record import RecordedCache
from controller.compress.search.space import space_of
from controller.compress.search.split import folds_of, usual_folds
from controller.compress.search.study import Study
from controller.compress.search.timing.clock import HostClock
from controller.compress.variant import baseline_variant
from controller.convert.digest import model_digest
from controller.errors import Busy
from controller.models.catalogue import find_model
from controller.models.folder import ModelFolder
from controller.models.samples import LabelledData, evaluation_samples, golden_inputs, training_samples
from controller.report.compress.build import About, search_report
from controller.report.compress.write import SearchFiles, write_search
from controller.report.host import describe_host
from controller.workspace import Workspace
from wire.canonical import canonical_json, sha256_hex


@dataclass(frozen=True)
class Wish:
    """What is asked for. begin: recipes that are tried first. limit: the most that may be lost, a ratio. folds: null:
    as many as the number of samples suggests."""

    reference: str
    begin: tuple[Recipe, ...]
    budget_s: float
    variants: int | None
    limit: float
    workers: int
    seed: int
    folds: int | None = None


@dataclass(frozen=True)
class Opened:
    """A search that can run. folder: of its study and of the cache's record."""

    folder: Path
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
        ended, finished = _run(wish, opened, budget, folder, watch)
    about = About(
        budget, ended, time.monotonic() - started, now, wish.seed, wish.workers, len(opened.evaluation), describe_host()
    )
    document = search_report(about, opened.bench, space, list(opened.study.rows.values()), finished)
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
    study = Study.open(folder / "study.log", space, wish.seed, Budget(wish.budget_s).longest_s)
    return Opened(folder, bench, study, clock, evaluation)


def _run(wish: Wish, opened: Opened, budget: Budget, folder: Path, watch: Watching) -> tuple[Ended, Finished]:
    reserve = partial(seconds_needed, folds=len(opened.bench.folds))
    parts = Parts(opened.study, opened.bench, opened.clock, wish.workers, stop_children, reserve)
    try:
        with ThreadPoolExecutor(wish.workers) as pool:
            ended = run_search(parts, budget, pool, watch)
        rows = list(opened.study.rows.values())
        return ended, finish(opened.bench, rows, opened.clock, opened.evaluation, watch.told)
    except KeyboardInterrupt as exc:
        exc.add_note(f"{opened.study.tried} variants are kept in {folder}: the same command goes on from there")
        raise


def _folds(wish: Wish, training: LabelledData) -> int:
    return wish.folds or usual_folds(len(training))


def folder_name(found: ModelFolder, space: Space, training: LabelledData, wish: Wish) -> str:
    """Return the name of a search's folder: another one where anything differs that its results depend on."""
    form = found.baseline_format
    folds = _folds(wish, training)
    parts = [space.digest, model_digest(form, found.file(form)), training.digest, wish.limit, wish.seed, folds]
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
    click.echo(f"report: {files.html}")


def _cells(row: dict[str, Any], baseline: dict[str, Any]) -> list[object]:
    gain, name = row["speed_up"], row["variant"]
    bounded = gain and gain["upper"] is not None
    speed = f"{gain['ratio']:.2f} [{gain['lower']:.2f}, {gain['upper']:.2f}]" if bounded else None
    smaller = baseline["wire_bytes"] / row["wire_bytes"]
    sizes = [bytes_text(row["wire_bytes"]), bytes_text(row["peak_memory_bytes"])]
    return [name, row["validation_loss"], row["score"], speed, row["p50_ms"], smaller, *sizes]
