"""One candidate: made, judged, hopeless or failed; with several folds, all of them together."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from controller.choose.intervals.evidence import RightOrWrong, SquaredErrors
from controller.compress.cache import PassCache
from controller.compress.search import examine as module
from controller.compress.search.examine import Bench, Look, examine, hopeless, judgement_of, open_bench
from controller.compress.search.split import folds_of
from controller.compress.variant import FailedVariant
from controller.models.folder import ModelFolder
from controller.models.samples import golden_inputs, training_samples
from tests.unit.controller.children import done_here
from tests.unit.controller.compress.search.spaces import HALF, INT8, recipe
from tests.unit.controller.compress.small_models import write_folder


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    place = tmp_path_factory.mktemp("bench")
    model = ModelFolder.load(write_folder(place / "model"))
    folds = folds_of(training_samples(model, place / "data"), seed=0)
    golden = golden_inputs(model, place / "data", count=4)
    with done_here():
        yield open_bench(model, PassCache(place / "cache"), place / "data", folds, golden, limit=0.05)


def test_a_candidate_is_made_and_held_against_the_baseline(bench: Bench) -> None:
    found = examine(INT8, bench)
    assert (found.failed, found.hopeless) == ("", "")
    assert found.variant is not None
    assert found.variant.precision == "int8"
    assert found.results[0].samples == bench.samples == 48
    assert found.loss == pytest.approx(bench.looks[0].baseline.accuracy - found.results[0].accuracy)
    assert found.results[0].sqnr_db is not None
    assert found.results[0].sqnr_db > 15
    assert found.wall_s > 0


def test_a_pass_that_cannot_be_done_is_the_reason(bench: Bench) -> None:
    found = examine(recipe("none-left", {"codebook": {}}), bench)
    assert found.variant is None
    assert "of 1024 values" in found.failed


def test_several_folds_count_together(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    twice = Bench(**{**bench.__dict__, "folds": bench.folds * 2, "looks": bench.looks * 2})
    found = examine(HALF, twice)
    assert len(found.results) == 2
    judged = judgement_of(found.results)
    assert judged.correct is not None
    assert len(judged.correct) == twice.samples == 96
    failed = FailedVariant("x", {}, "onnx", "float16", "the second fold fails")
    made = iter([found.variant, failed])
    monkeypatch.setattr(module, "made_of", lambda *_: next(made))
    assert examine(HALF, twice).failed == "the second fold fails"


def test_a_first_look_is_taken_where_the_whole_one_is_dear(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bench.probe is None
    monkeypatch.setattr(module, "PROBE", 12)
    monkeypatch.setattr(module, "PROBE_PAYS_MACS", 1.0)
    probing = open_bench(bench.model, bench.cache, bench.datasets, bench.folds, bench.golden, limit=bench.limit)
    assert probing.probe is not None
    assert len(probing.probe.samples) == 12
    monkeypatch.setattr(module, "hopeless", lambda look, *_: "far off" if len(look.samples) == 12 else "")
    found = examine(HALF, probing)
    assert (found.hopeless, found.results[0].samples) == ("far off", 12)


def result(evidence: Any, sqnr_db: float | None) -> Any:
    return type("Result", (), {"evidence": evidence, "sqnr_db": sqnr_db, "metrics": {}})()


def look(evidence: Any) -> Look:
    samples: Any = range(len(evidence))
    return Look(samples, result(evidence, None))


RIGHT = RightOrWrong(np.ones(100, bool), 3)
HALF_RIGHT = RightOrWrong(np.arange(100) % 2 == 0, 3)


@pytest.mark.parametrize(
    ("evidence", "sqnr_db", "limit", "is_hopeless"),
    [
        (HALF_RIGHT, 2.0, 0.05, True),  # another function, and a worse one
        (RIGHT, 2.0, 0.05, False),  # another function that is as good: a trained student
        (HALF_RIGHT, 20.0, 0.05, False),  # near the baseline's: the whole validation part decides
        (HALF_RIGHT, 2.0, 0.9, False),  # within the limit
        (HALF_RIGHT, None, 0.05, False),
    ],
)
def test_hopeless_is_what_is_far_off_and_surely_over_the_limit(
    evidence: RightOrWrong, sqnr_db: float | None, limit: float, is_hopeless: bool
) -> None:
    reason = hopeless(look(RIGHT), result(evidence, sqnr_db), limit)
    assert bool(reason) is is_hopeless
    assert not reason or reason.startswith("hopeless: outputs 2.0 dB from the baseline's, at least ")


def test_too_few_samples_for_a_bound_make_nothing_hopeless() -> None:
    few, worse = SquaredErrors(np.zeros(5), 1.0), SquaredErrors(np.ones(5), 1.0)
    assert hopeless(look(few), result(worse, 1.0), 0.0) == ""
