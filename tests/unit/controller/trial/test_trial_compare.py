"""Two trials against each other: the verdict, when none is given, and what weakens one."""

import json
from typing import Any

import numpy as np
import pytest

from controller.trial.compare import compare_trials
from controller.trial.summary import Labels
from tests.unit.controller.trial.records import SET, process, processes, side
from wire.trial import Flag, Predictions, Samples, ScenarioSettings

SLOW = processes(2_000_000, 2_020_000, 1_980_000, 2_010_000, 1_990_000)
LABELS = Labels("classification", np.ones(60, np.int64), SET)


def test_the_second_one_is_judged_against_the_first() -> None:
    faster = compare_trials(side(trial="a", replicates=SLOW), side(trial="b"))
    assert faster.verdict == "faster"
    assert faster.speed is not None
    assert faster.speed.ratio == pytest.approx(0.5)
    assert faster.speed.upper < 0.52
    assert faster.interleaved
    assert faster.cautions == ()
    slower = compare_trials(side(trial="b"), side(trial="a", replicates=SLOW))
    assert slower.verdict == "slower"
    assert compare_trials(side(trial="a"), side(trial="b")).verdict == "no_difference_seen"
    few = compare_trials(side(trial="a", replicates=SLOW[:2]), side(trial="b"))
    assert few.verdict == "not_enough_data"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"outcome": "unfit", "error": "golden"}, "t2 was not measured: unfit, golden"),
        ({"flags": (Flag(reason="throttled", remedy="cool it", void=True),)}, "t2 is void: throttled (cool it)"),
        ({"replicates": ()}, "t2 has no samples"),
        ({"scenario": "multi_stream"}, "measure different things: single_stream and multi_stream"),
        (
            {"conditions": {"serving_policy": "coexist"}},
            "(pause and coexist): such numbers are compared with themselves",
        ),
    ],
)
def test_what_cannot_be_compared_gets_no_verdict_and_says_why(changes: dict[str, Any], said: str) -> None:
    found = compare_trials(side(), side(trial="t2", **changes))
    assert found.verdict is None
    assert any(said in reason for reason in found.withheld)
    assert json.loads(json.dumps(found.document()))["verdict"] is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"device": "barn-2"}, "another device: barn-1 and barn-2"),
        ({"device_class": "dual"}, "another class: single and dual"),
        ({"grade": "quick"}, "another grade: normal and quick"),
        ({"threads": 2}, "another threads: 1 and 2"),
        ({"workload": "soil"}, "another workload: main and soil"),
        ({"settings": ScenarioSettings(streams=4)}, "another setting of the scenario: streams 8 and 4"),
        ({"emulated": True}, "emulated: the limits of one of them"),
        ({"group": "g.1"}, "not interleaved"),
        ({"group": ""}, "not interleaved"),
    ],
)
def test_what_weakens_a_verdict_stands_beside_it(changes: dict[str, Any], said: str) -> None:
    found = compare_trials(side(), side(trial="t2", **changes))
    assert found.verdict == "no_difference_seen"
    assert any(said in caution for caution in found.cautions)


def test_trials_without_a_group_were_not_measured_in_turns() -> None:
    assert not compare_trials(side(group=""), side(trial="t2", group="")).interleaved


def test_offline_the_queries_per_second_are_compared() -> None:
    def rates(*queries_per_second: float) -> tuple[Any, ...]:
        return tuple(process(n, [5_000] * 9, queries_per_second=each) for n, each in enumerate(queries_per_second))

    one = side(scenario="offline", replicates=rates(100, 101, 99, 100))
    other = side(trial="t2", scenario="offline", replicates=rates(200, 202, 198, 200))
    found = compare_trials(one, other)
    assert found.verdict == "faster"
    assert found.document()["second"]["queries_per_second"] == pytest.approx(200, rel=0.01)
    assert found.document()["second"]["p50_ms"] is None


def test_accuracy_is_compared_on_the_same_samples_only() -> None:
    wrong = Predictions(evaluation=SET, samples=60, classes=Samples.pack([0] * 3 + [1] * 57))
    found = compare_trials(side(labels=LABELS), side(trial="t2", labels=LABELS, predictions=wrong))
    assert found.loss is not None
    assert found.loss.lost == pytest.approx(0.05)
    assert found.loss.upper > 0.05
    assert found.document()["second"]["score_accuracy"] == pytest.approx(0.95)
    others = wrong.model_copy(update={"evaluation": "a" * 64})
    nameless = Labels("classification", LABELS.values)
    assert compare_trials(side(labels=LABELS), side(trial="t2", labels=nameless, predictions=others)).loss is None
    assert compare_trials(side(labels=LABELS), side(trial="t2")).loss is None


def test_the_document_is_plain_and_holds_both_sides() -> None:
    document = json.loads(json.dumps(compare_trials(side(), side(trial="t2")).document(), allow_nan=False))
    assert (document["first"]["trial"], document["second"]["trial"]) == ("t1", "t2")
    assert document["first"]["memory_peak_bytes"] == 3
    assert document["first"]["cold_load_ms"] == 44.0
    assert document["lower"] <= document["ratio"] <= document["upper"]
    single = compare_trials(side(replicates=SLOW[:1]), side(trial="t2", replicates=SLOW[:1])).document()
    assert (single["verdict"], single["upper"]) == ("not_enough_data", None)
