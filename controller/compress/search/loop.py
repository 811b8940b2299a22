"""The search itself: ask, make, judge, time, tell; until the time is over, or there is nothing new.

Decides: when it ends, what is not timed, and that a candidate which the end cuts off is tried again next time. Timing
begins when nothing of this search runs beside it. Leaves out: what comes of it (`finish.py`), and where candidates are
made (any `Executor`: threads here, whose passes are processes; a cluster's has the same form).

    run_search(parts, Budget(seconds=1800), ThreadPoolExecutor(1), watch).because  # "the time is over"
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Executor, Future, wait
from dataclasses import dataclass, field, replace
from typing import Protocol

from controller.compress.search.cost import affordable
from controller.compress.search.examine import Bench, Finding, examine
from controller.compress.search.front import best_of
from controller.compress.search.study import Asked, Row, Study, name_of, written
from controller.compress.search.timing.clock import Clock, speed_key
from controller.compress.variant import baseline_variant
from controller.errors import UnusableModel

STOPPING_S = 0.2
LARGEST_SHARE = 0.25
LEAST_S = 60.0
"""Of a short search too, one candidate may take so long, until the search ends."""


@dataclass(frozen=True)
class Budget:
    """When a search ends. seconds: of this run. variants: candidates in all, those of former runs too; null: any."""

    seconds: float
    variants: int | None = None

    @property
    def longest_s(self) -> float:
        """What one candidate may take: the others want their turn."""
        return max(LEAST_S, self.seconds * LARGEST_SHARE)


@dataclass(frozen=True)
class Moment:
    """How a search stands. best: what would be taken now; null: nothing keeps the limit yet."""

    tried: int
    kept: int
    best: Row | None
    left_s: float
    last: str = ""


class Watch(Protocol):
    """Is told how the search goes."""

    def saw(self, moment: Moment) -> None:
        """Show it."""


@dataclass(frozen=True)
class Tried:
    """A candidate that was made and judged here, and is not told of yet."""

    asked: Asked
    row: Row
    found: Finding


class Settling(Protocol):
    """Has the last word on candidates, so many at once, before they are told of."""

    @property
    def size(self) -> int:
        """How many candidates it wants together."""

    def settle(self, tried: Sequence[Tried]) -> list[Row]:
        """Return their rows. The time that it takes is no part of the budget."""


class AsTheyAre:
    """What this host found stands."""

    size = 1

    def settle(self, tried: Sequence[Tried]) -> list[Row]:
        return [each.row for each in tried]


@dataclass(frozen=True)
class Ended:
    """Why a search ended, and how many of its candidates were tried in this run."""

    because: str
    tried: int
    cut_off: int = 0


@dataclass
class Parts:
    """What a search works with. reserve: given the rows, the seconds that its end will take. best: what would be taken
    now."""

    study: Study
    bench: Bench
    clock: Clock
    workers: int = 1
    stop_children: Callable[[], None] = lambda: None
    reserve: Callable[[Sequence[Row]], float] = lambda _: 0.0
    now: Callable[[], float] = time.monotonic
    speeds: dict[str, tuple[str, float]] = field(default_factory=dict)
    settling: Settling = field(default_factory=AsTheyAre)
    best: Callable[[Sequence[Row]], Row | None] = best_of


def run_search(parts: Parts, budget: Budget, executor: Executor, watch: Watch) -> Ended:
    """Search until the budget is spent.

    Args:
        parts: Study, bench and clock.
        budget: When it ends.
        executor: Where candidates are made and judged, `parts.workers` at once.
        watch: Told after each candidate.
    Raises:
        KeyboardInterrupt: The user ended it; what was begun is tried again next time.
        DiskFull: No room for results.
    """
    _known_speeds(parts)
    until, before, cut_off = parts.now() + budget.seconds, parts.study.tried, 0
    watch.saw(_moment(parts, until))
    untold: list[Tried] = []
    while True:
        because = _over(parts, budget, until, len(untold))
        batch = [] if because else _batch(parts, budget, len(untold))
        if batch:
            tried, late = _carry_out(parts, batch, (until, budget.longest_s), executor)
            untold, cut_off = untold + tried, cut_off + late
        if len(untold) >= (parts.settling.size if batch else 1):
            until = _told(parts, untold, until, watch)
            untold = []
        if not batch:
            because = because or "every candidate that is found was tried before"
            return Ended(because, parts.study.tried - before, cut_off)


def _told(parts: Parts, untold: Sequence[Tried], until: float, watch: Watch) -> float:
    """Settle candidates and tell of them; return when the search ends now: what devices took comes on top."""
    began = parts.now()
    rows = parts.settling.settle(untold)
    until += parts.now() - began
    for each, row in zip(untold, rows, strict=True):
        parts.study.tell(each.asked, row, parts.bench.limit)
        watch.saw(_moment(parts, until, f"{row.variant}: {row.because or said_of(row)}"))
    return until


def _over(parts: Parts, budget: Budget, until: float, untold: int) -> str:
    if budget.variants is not None and parts.study.tried + untold >= budget.variants:
        return f"{budget.variants} variants were tried"
    return "the time is over" if parts.now() + parts.reserve(parts.study.timed) >= until else ""


def _batch(parts: Parts, budget: Budget, untold: int) -> list[Asked]:
    size = parts.workers
    if budget.variants is not None:
        size = min(size, budget.variants - parts.study.tried - untold)
    rows, macs = list(parts.study.rows.values()), parts.bench.looks[0].baseline.macs
    asked = [parts.study.ask(lambda recipe: affordable(recipe, rows, macs, budget.longest_s)) for _ in range(size)]
    return [one for one in asked if one is not None]


def _carry_out(
    parts: Parts, batch: Sequence[Asked], times: tuple[float, float], executor: Executor
) -> tuple[list[Tried], int]:
    """Try a batch; return what came of it, and how many of it the end of the search cut off.

    times: when that is, and the most for one.
    """
    until, longest_s = times
    left_s = max(0.0, until - parts.now())
    futures = {executor.submit(examine, asked.recipe, parts.bench): asked for asked in batch}
    try:
        done, late = wait(futures, timeout=min(left_s, longest_s))
        _stop(parts, late)
    except BaseException:  # Ctrl-C above all: nothing may be left running
        _drop(parts, futures)
        raise
    ordered = sorted(done, key=lambda one: futures[one].number)
    tried = [_tried(parts, futures[future], future.result()) for future in ordered]
    for future in late:
        parts.study.tell(futures[future], _late(futures[future], left_s, longest_s), parts.bench.limit)
    return tried, len(late) if left_s <= longest_s else 0


def _tried(parts: Parts, asked: Asked, found: Finding) -> Tried:
    return Tried(asked, _row(parts, asked, found), found)


def _late(asked: Asked, left_s: float, longest_s: float) -> Row:
    """Return the row of a candidate that was ended: for good, where it took all that one may take."""
    if left_s <= longest_s:
        return Row(name_of(asked.recipe), asked.key, {}, "cut_off")
    because = f"ended after {longest_s:.0f} s, the most that one candidate may take of this budget"
    return Row(
        name_of(asked.recipe), asked.key, written(asked.recipe), "too_long", because, asked.seed, wall_s=longest_s
    )


def _drop(parts: Parts, futures: Mapping[Future[Finding], Asked]) -> None:
    _stop(parts, [future for future in futures if not future.cancel()])
    for asked in futures.values():
        parts.study.tell(asked, Row(name_of(asked.recipe), asked.key, {}, "cut_off"), parts.bench.limit)


def _stop(parts: Parts, late: Collection[Future[Finding]]) -> None:
    """End what is under way: a pass whose process is gone fails, and so does what would have followed."""
    while any(not future.done() for future in late):
        parts.stop_children()
        wait(late, timeout=STOPPING_S)


def _row(parts: Parts, asked: Asked, found: Finding) -> Row:
    """Return what is kept of a candidate; it is timed here where that can tell something."""
    row = described(asked, found, parts.bench)
    if row.outcome != "timed" or found.variant is None:
        return row
    key = speed_key(found.variant, found.results[0])
    if key in parts.speeds:
        like, ratio = parts.speeds[key]
        return replace(row, ratio=ratio, speed_key=key, speed_like=like)
    try:
        ratio = parts.clock.sitting([baseline_variant(parts.bench.model), found.variant])[1].ratio
    except UnusableModel as exc:
        return replace(row, outcome="failed", because=f"not timed: {exc}", loss=None)
    parts.speeds[key] = (row.variant, ratio)
    return replace(row, ratio=ratio, speed_key=key)


def described(asked: Asked, found: Finding, bench: Bench) -> Row:
    """Return a candidate's row before it is timed."""
    row = Row(
        name_of(asked.recipe), asked.key, written(asked.recipe), "failed", found.failed, asked.seed,
        wall_s=round(found.wall_s, 3), notes=found.notes,
    )  # fmt: skip
    if found.variant is None or not found.results or found.loss is None:
        return row
    result, baseline = found.results[0], bench.looks[0].baseline
    over = found.loss > bench.limit
    because = f"{said_of_loss(found.loss)}, the limit is {100 * bench.limit:.2f} points" if over else ""
    return replace(
        row,
        outcome="hopeless" if found.hopeless else "over_limit" if over else "timed",
        because=found.hopeless or because,
        lineage=found.variant.lineage,
        loss=found.loss,
        score=_score(found),
        sqnr_db=result.sqnr_db,
        wire_ratio=result.wire_bytes / baseline.wire_bytes,
        wire_bytes=result.wire_bytes,
        disk_bytes=result.disk_bytes,
        parameters=result.parameters,
        macs=result.macs,
        quantised_ratio=result.fusion.quantised_ratio if result.fusion else None,
        cached=found.variant.cached,
    )


def _score(found: Finding) -> float:
    every = sum(result.samples for result in found.results)
    return sum(result.accuracy * result.samples for result in found.results) / every


def said_of_loss(loss: float) -> str:
    """Return a loss in points; a gain is called one."""
    return f"{'gained' if loss < 0 else 'lost'} {100 * abs(loss):.2f} points"


def said_of(row: Row) -> str:
    """Return what a timed candidate reached."""
    speed = f", {1 / row.ratio:.2f}x as fast" if row.ratio else ""
    measured = {name: each.ratio for name, each in row.classes.items() if each.by == "measured" and each.ratio}
    if measured:
        speed = "".join(f", {name} {1 / ratio:.2f}x" for name, ratio in measured.items())
    size = f", {1 / row.wire_ratio:.2f}x smaller" if row.wire_ratio else ""
    return f"{said_of_loss(row.loss or 0.0)}{speed}{size}"


def _known_speeds(parts: Parts) -> None:
    """Take up what former runs timed, and the baseline, whose graph many variants have."""
    for row in parts.study.timed:
        if row.speed_key and row.ratio is not None and not row.speed_like:
            parts.speeds.setdefault(row.speed_key, (row.variant, row.ratio))
    baseline = baseline_variant(parts.bench.model)
    parts.speeds[speed_key(baseline, parts.bench.looks[0].baseline)] = (baseline.name, 1.0)


def _moment(parts: Parts, until: float, last: str = "") -> Moment:
    timed = parts.study.timed
    return Moment(parts.study.tried, len(timed), parts.best(timed), max(0.0, until - parts.now()), last)
