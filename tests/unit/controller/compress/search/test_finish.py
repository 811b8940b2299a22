"""The end: which of the front is taken, on which evidence; and how long the end takes."""

from typing import Any

import numpy as np
import pytest

from controller.choose.measured import Judgement
from controller.compress.search.finish import PROCESSES, Final, pick, seconds_needed
from controller.compress.search.timing.clock import Laps
from tests.unit.controller.compress.search.spaces import HALF, point, recipe, row

SAMPLES = 2000


def final(name: str, wrong: int, ratio: float, wire: int, *, samples: int = SAMPLES, **fields: Any) -> Final:
    """Return a final with so many validation samples answered wrongly, whose processes disagree by a percent."""
    variant: Any = type("Variant", (), {"name": name})()
    result: Any = type("Result", (), {"wire_bytes": wire, "disk_bytes": wire})()
    judgement = fields.pop("judgement", None) or Judgement({}, correct=np.arange(samples) >= wrong)
    ratios = tuple(ratio * (1 + 0.01 * (number % 2)) for number in range(PROCESSES))
    laps = Laps(tuple(1e6 * (number + 1) * each for number, each in enumerate(ratios)), ratios)
    own = None if name == "baseline" else point(name, wrong / samples, ratio, wire / 1000)
    return Final(variant, own, judgement, laps, result)


BASELINE = final("baseline", 0, 1.0, 1000)


def test_a_process_that_is_slow_for_all_hides_no_speed_up() -> None:
    quick = final("quick", 0, 0.5, 1000)
    assert quick.speed_up.ratio == pytest.approx(1 / 0.502, rel=0.01)
    assert quick.speed_up.lower > 1.9
    assert max(quick.laps.ns) / min(quick.laps.ns) > 4


def test_the_fastest_whose_bound_keeps_the_limit_is_taken() -> None:
    finals = [BASELINE, final("bold", 30, 0.2, 100), final("safe", 4, 0.3, 200), final("slow", 0, 0.8, 900)]
    choice, decided_on = pick(finals, 0.01, "classification")
    assert (choice.winner, decided_on) == ("safe", "bound")
    assert "lost 1.50 points" in choice.rejected["bold"]
    assert "p50" in choice.rejected["slow"]


def test_of_those_nearly_as_fast_the_smallest_is_taken() -> None:
    finals = [BASELINE, final("fast", 0, 0.30, 900), final("small", 0, 0.31, 100)]
    assert pick(finals, 0.01, "classification")[0].winner == "small"


def test_where_no_bound_keeps_the_limit_what_was_seen_decides() -> None:
    finals = [BASELINE, final("bold", 18, 0.2, 100)]  # 0.9 points seen, the bound is above 1
    assert pick(finals, 0.01, "classification")[0].winner == "bold"
    assert pick(finals, 0.01, "classification")[1] == "point_estimate"
    few = [final("baseline", 0, 1.0, 1000, samples=80), final("x", 0, 0.5, 500, samples=80)]
    assert pick(few, 0.01, "classification")[1] == "point_estimate"  # 80 samples show no loss of one point
    assert pick(few, 0.0, "classification")[0].winner == "x"  # a limit of nothing lost has no bound


def test_what_is_not_faster_leaves_the_baseline() -> None:
    choice, _ = pick([BASELINE, final("same", 0, 1.0, 900)], 0.01, "classification")
    assert choice.winner == "baseline"


def test_regression_is_picked_by_its_errors() -> None:
    errors = np.linspace(0.1, 0.2, 60)

    def judged(scale: float) -> Judgement:
        return Judgement({}, squared_errors=errors * scale, variance=1.0)

    finals = [final("baseline", 0, 1.0, 1000, judgement=judged(1.0)), final("a", 0, 0.5, 500, judgement=judged(1.001)),
              final("b", 0, 0.2, 200, judgement=judged(2.0))]  # fmt: skip
    assert pick(finals, 0.01, "regression") == (pick(finals, 0.01, "regression")[0], "bound")
    assert pick(finals, 0.01, "regression")[0].winner == "a"


def test_other_kinds_take_the_fastest_that_kept_the_limit() -> None:
    finals = [BASELINE, final("fast", 0, 0.3, 900), final("small", 0, 0.9, 100)]
    choice, decided_on = pick(finals, 0.01, "segmentation")
    assert (choice.winner, decided_on) == ("onnx-fast", "point_estimate")
    assert pick([BASELINE], 0.01, "segmentation")[0].winner == "baseline"


def test_the_end_is_reckoned_with_what_is_made_again_and_not_with_what_was_trained() -> None:
    trained = row(recipe("t", {"distill": {}}), wall_s=500.0, loss=0.0, ratio=0.1)
    made = row(HALF, wall_s=4.0, loss=0.001, ratio=0.05)
    assert seconds_needed([]) == 0.0
    assert seconds_needed([made]) == pytest.approx(4.0 + 2 * PROCESSES * 0.7)
    assert seconds_needed([made, trained]) == pytest.approx(4.0 + 3 * PROCESSES * 0.7)
    again = (made.wall_s + trained.wall_s) / 2  # what is trained is trained again, on all samples, and once
    assert seconds_needed([made, trained], folds=2) == pytest.approx(again + 3 * PROCESSES * 0.7)
