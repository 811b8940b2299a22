"""The loop: when it ends, what is timed, and that a candidate's misfortune is its own."""

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from controller.compress.recipe import Recipe
from controller.compress.search import loop
from controller.compress.search.examine import Finding
from controller.compress.search.loop import Budget, Ended, Moment, Parts, run_search
from controller.compress.search.study import Study
from controller.compress.search.timing.clock import Laps
from controller.errors import UnusableModel
from tests.unit.controller.compress.search.spaces import HALF, INT8, recipe, small_space

PRUNED = recipe("pruned", {"simplify": {}}, {"prune": {"amount": 0.5}})
LIMIT = 0.01


class Clock:
    """Says what it is told, and counts."""

    def __init__(self, fails: bool = False) -> None:
        self.timed: list[str] = []
        self._fails = fails

    def sitting(self, variants: Sequence[Any], processes: int = 1) -> list[Laps]:
        if self._fails:
            raise UnusableModel("no engine")
        self.timed.append(variants[-1].name)
        return [Laps((2.0,) * processes, (1.0,) * processes), Laps((1.0,) * processes, (0.5,) * processes)]

    def peak_memory(self, _variant: Any) -> int | None:
        return None


def found(given: Recipe, loss: float = 0.0, graph: str = "", **fields: Any) -> Finding:
    """Return a finding as `examine` gives it; `graph`: what tells its speed from others'."""
    result: Any = SimpleNamespace(
        wire_bytes=50, disk_bytes=60, sqnr_db=30.0, parameters=7, macs=8, fusion=None, samples=10, accuracy=0.9
    )
    variant: Any = SimpleNamespace(name=given.name, lineage=("a",), cached=False, graph=graph or given.name)
    return Finding(given, variant, (result,), loss, **fields)


@pytest.fixture
def search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Ended, Study, list[Moment]]]:
    baseline: Any = SimpleNamespace(name="baseline", graph="float")
    bench: Any = SimpleNamespace(
        model=None,
        limit=LIMIT,
        looks=[SimpleNamespace(baseline=SimpleNamespace(wire_bytes=100, macs=9))],
    )
    monkeypatch.setattr(loop, "baseline_variant", lambda _: baseline)
    monkeypatch.setattr(loop, "speed_key", lambda variant, _: variant.graph)

    def searched(
        examine: Callable[[Recipe, Any], Finding], budget: Budget, clock: Clock | None = None, **parts: Any
    ) -> tuple[Ended, Study, list[Moment]]:
        monkeypatch.setattr(loop, "examine", examine)
        study = Study.open(tmp_path / "study.log", small_space(HALF, INT8, PRUNED), 0)
        moments: list[Moment] = []
        watch = SimpleNamespace(saw=moments.append)
        with ThreadPoolExecutor(parts.get("workers", 1)) as pool:
            ended = run_search(Parts(study, bench, clock or Clock(), **parts), budget, pool, watch)
        return ended, study, moments

    return searched


def outcomes(study: Study) -> list[tuple[str, str]]:
    return [(row.variant, row.outcome) for row in study.rows.values()]


def test_it_ends_after_so_many_variants_and_goes_on_from_there(search: Any) -> None:
    ended, study, _ = search(lambda given, _: found(given), Budget(60, variants=2))
    assert (ended.because, ended.tried) == ("2 variants were tried", 2)
    ended, study, moments = search(lambda given, _: found(given), Budget(60, variants=3))
    assert (ended.tried, study.tried) == (1, 3)
    assert moments[0].tried == 2
    best = moments[-1].best
    assert best is not None
    assert best.ratio == 0.5


def test_it_ends_when_the_time_is_over_and_leaves_room_for_the_end(search: Any) -> None:
    clock = iter(float(number) for number in range(10_000))
    ended, study, _ = search(lambda given, _: found(given), Budget(30.0), now=lambda: next(clock))
    alone = study.tried
    assert ended.because == "the time is over"
    clock = iter(float(number) for number in range(10_000))
    _, study, _ = search(lambda given, _: found(given), Budget(30.0), now=lambda: next(clock), reserve=lambda _: 20.0)
    assert 0 < study.tried - alone < alone


def test_what_fails_costs_itself_alone_and_its_reason_is_kept(search: Any) -> None:
    def examine(given: Recipe, _: Any) -> Finding:
        return Finding(given, failed="was killed (signal 9)") if given == HALF else found(given)

    _, study, _ = search(examine, Budget(60, variants=3))
    rows = {row.variant: row for row in study.rows.values()}
    assert (rows["onnx-float16"].outcome, rows["onnx-float16"].because) == ("failed", "was killed (signal 9)")
    assert rows["onnx-int8"].outcome == "timed"


def test_only_what_keeps_the_limit_is_timed_and_no_graph_twice(search: Any) -> None:
    losses = {"float16": 0.02, "int8": 0.0, "pruned": 0.01}
    clock = Clock()

    def examine(given: Recipe, _: Any) -> Finding:
        if given.name.startswith("auto"):
            return found(given, hopeless="hopeless: far off") if len(given.passes) == 1 else found(given, graph="int8")
        return found(given, losses[given.name], graph="float" if given == PRUNED else "int8")

    _, study, _ = search(examine, Budget(60, variants=6), clock)
    rows = {row.variant: row for row in study.rows.values()}
    assert rows["onnx-float16"].outcome == "over_limit"
    assert rows["onnx-float16"].because == "lost 2.00 points, the limit is 1.00 points"
    assert rows["onnx-float16"].ratio is None
    assert (rows["onnx-pruned"].ratio, rows["onnx-pruned"].speed_like) == (1.0, "baseline")
    others = [row for row in study.timed if row.speed_like == "onnx-int8"]
    assert clock.timed == ["int8"]
    assert all(row.ratio == 0.5 for row in others)


def test_what_was_timed_in_an_earlier_run_is_not_timed_again(search: Any) -> None:
    search(lambda given, _: found(given, graph="same"), Budget(60, variants=1))
    clock = Clock()
    _, study, _ = search(lambda given, _: found(given, graph="same"), Budget(60, variants=2), clock)
    assert clock.timed == []
    assert [row.speed_like for row in study.rows.values()] == ["", "onnx-float16"]


def test_what_cannot_be_timed_is_no_member_of_the_front(search: Any) -> None:
    _, study, _ = search(lambda given, _: found(given), Budget(60, variants=1), Clock(fails=True))
    row = next(iter(study.rows.values()))
    assert (row.outcome, row.because, row.loss) == ("failed", "not timed: no engine", None)


def test_what_the_end_cuts_off_is_stopped_and_tried_again_next_time(search: Any) -> None:
    stopped: list[int] = []

    def slow(given: Recipe, _: Any) -> Finding:
        while not stopped:
            time.sleep(0.01)
        return Finding(given, failed="its process is gone")

    ended, study, _ = search(slow, Budget(0.2), stop_children=lambda: stopped.append(os.getpid()))
    assert (ended.because, ended.cut_off, study.tried) == ("the time is over", 1, 0)
    _, study, _ = search(lambda given, _: found(given), Budget(60, variants=3))
    assert ("onnx-float16", "timed") in outcomes(study)


def test_one_that_takes_all_the_time_of_the_others_is_ended_for_good(
    search: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "LEAST_S", 0.1)
    monkeypatch.setattr(loop, "LARGEST_SHARE", 0.0)
    stopped: list[str] = []

    def slow(given: Recipe, _: Any) -> Finding:
        while given == HALF and not stopped:
            time.sleep(0.01)
        return found(given)

    ended, study, _ = search(slow, Budget(60, variants=2), stop_children=lambda: stopped.append(""))
    assert ended.cut_off == 0
    assert outcomes(study)[0] == ("onnx-float16", "too_long")
    assert "the most that one candidate may take" in next(iter(study.rows.values())).because


def test_an_interrupt_stops_what_is_under_way_and_forgets_nothing(search: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(loop, "wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            search(lambda given, _: found(given), Budget(60))
    _, study, _ = search(lambda given, _: found(given), Budget(60, variants=3))
    assert {name for name, _ in outcomes(study)} == {"onnx-float16", "onnx-int8", "onnx-pruned"}


def test_several_are_made_side_by_side_and_timed_one_by_one(search: Any) -> None:
    clock = Clock()
    _, study, _ = search(lambda given, _: found(given), Budget(60, variants=5), clock, workers=2)
    assert study.tried == 5
    assert len(clock.timed) == 5
