"""What a record says: the numbers, and the refusals."""

import base64
import zlib
from typing import Any

import numpy as np
import pytest

from controller.choose.speed import speed_up
from controller.errors import UnusableData
from controller.trial.summary import Labels, judge_predictions, measured, summarise
from wire.errors import MalformedMessage
from wire.trial import (
    Energy,
    Flag,
    Golden,
    MemoryUse,
    Predictions,
    Replicate,
    Samples,
    ScenarioSettings,
    TrialRecord,
)

SET = "e" * 64
LABELS = Labels("classification", np.array([0, 1, 2, 1]), SET)


def replicate(order: int, samples: list[int], *flags: str) -> Replicate:
    packed = Samples.pack(samples)
    fields: dict[str, Any] = dict.fromkeys(("total_ns", "pre_ns", "infer_ns", "post_ns", "warm_up_ns"), packed)
    return Replicate(order=order, flags=flags, **fields)


def record(**changes: Any) -> TrialRecord:
    fields: dict[str, Any] = {
        "fleet": "f",
        "device": "d",
        "trial": "t",
        "plan_gen": 1,
        "workload": "main",
        "bundle": "b" * 64,
        "variant": "v",
        "engine": "onnxruntime",
        "grade": "quick",
        "outcome": "measured",
        "replicates": (replicate(0, list(range(1, 41))), replicate(1, list(range(101, 141)), "disturbed")),
        "memory": MemoryUse(baseline_bytes=1, loaded_bytes=2, peak_bytes=3, by="vm_hwm"),
        "predictions": Predictions(evaluation=SET, samples=4, classes=Samples.pack([0, 1, 1, 1])),
        "emulated": True,
    }
    return TrialRecord(**(fields | changes))


def test_the_process_is_the_unit_and_percentiles_are_over_all_queries() -> None:
    found = summarise(record(), LABELS)
    assert found.process_medians_ns == (20.5, 120.5)
    assert found.samples == 80
    assert found.p50_ns is not None
    assert found.p50_ns.value == pytest.approx((20.5 * 120.5) ** 0.5)
    assert found.p50_ns.lower < 20.5
    assert found.p50_ns.upper > 120.5
    assert found.p95_ns is not None
    assert (found.p95_ns.value, found.p95_ns.upper) == (136, 140)
    assert found.p99_ns is None  # 299 are needed
    assert (found.peak_memory_bytes, found.memory_by) == (3, "vm_hwm")
    assert found.flags == ("disturbed",)
    assert found.void == ()
    assert found.emulated
    assert found.judgement is not None
    assert found.judgement.metrics == {"accuracy": 0.75}
    assert found.judgement.correct is not None
    assert found.judgement.correct.tolist() == [True, True, False, True]


def test_a_process_that_answered_more_queries_does_not_speak_louder() -> None:
    slow, fast = replicate(0, [8_000] * 60), replicate(1, [2_000] * 240)
    control = summarise(record(control=True, replicates=(slow, fast)), LABELS)
    variant = summarise(record(replicates=(replicate(0, [2_000] * 240), replicate(1, [500] * 960))), LABELS)
    assert control.p50_ns is not None
    assert variant.p50_ns is not None
    gain = speed_up(control.process_medians_ns, variant.process_medians_ns)
    assert control.p50_ns.value == pytest.approx(4_000)
    assert control.p50_ns.value / variant.p50_ns.value == pytest.approx(gain.ratio)
    assert control.p95_ns is not None
    assert control.p95_ns.value == 8_000  # 60 samples of each: half of the queries are slow ones


def test_a_process_that_was_measured_again_counts_nowhere() -> None:
    again = (replicate(0, [9_000] * 80, "probe_invalid", "replaced"), replicate(1, [1_000] * 80))
    found = summarise(record(replicates=again), LABELS)
    assert found.process_medians_ns == (1_000.0,)
    assert found.samples == 80
    assert "replaced" in found.flags


def test_means_of_several_calls_have_no_tail() -> None:
    found = summarise(record(replicates=(replicate(0, list(range(1, 101)), "mean_of_k"),)), LABELS)
    assert found.p95_ns is None
    assert found.p50_ns is not None


def test_void_flags_and_wrong_golden_outputs_void_the_speed() -> None:
    flags = (Flag(reason="throttled", remedy="cool it", void=True), Flag(reason="busy"))
    found = summarise(record(flags=flags, golden=Golden(passed=False, samples=8)), LABELS)
    assert found.void == ("throttled (cool it)", "golden outputs differ")
    assert found.flags[:2] == ("throttled", "busy")


def test_a_record_without_numbers_is_summarised_too() -> None:
    empty = record(outcome="unfit", error="crashed", replicates=(), memory=None, predictions=None)
    found = summarise(empty, LABELS)
    assert (found.outcome, found.because, found.process_medians_ns, found.p50_ns) == ("unfit", "crashed", (), None)
    assert measured([found], 10, 20).excluded == "unfit on d: crashed"


def values(answers: list[list[float]], **changes: Any) -> Predictions:
    array = np.array(answers, "<f4")
    packed = base64.b64encode(zlib.compress(array.tobytes())).decode()
    fields: dict[str, Any] = {"evaluation": SET, "samples": len(array), "values": packed, "width": array.shape[1]}
    return Predictions(**(fields | changes))


def test_regression_is_scored_in_the_task_s_unit() -> None:
    labels = Labels("regression", np.array([[1.0], [2.0], [3.0], [4.0]]), SET)
    found = judge_predictions(values([[1.0], [2.0], [3.0], [6.0]]), labels)
    assert found.metrics == pytest.approx({"mae": 0.5, "rmse": 1.0, "r2": 1 - 1 / 1.25})
    assert found.squared_errors is not None
    assert found.squared_errors.tolist() == [0, 0, 0, 4]
    assert found.variance == pytest.approx(1.25)
    flat = Labels("regression", np.array([1.0, 2.0, 3.0, 4.0]), SET)
    assert judge_predictions(values([[1.0], [2.0], [3.0], [6.0]]), flat).metrics == found.metrics


@pytest.mark.parametrize(
    ("predictions", "error", "said"),
    [
        (values([[1.0]] * 3), UnusableData, "3 samples"),
        (values([[1.0]] * 4, evaluation="a" * 64), UnusableData, "measure again"),
        (values([[1.0]] * 4, values=None), UnusableData, "holds no values"),
        (values([[1.0]] * 4, values="!!"), MalformedMessage, "cannot be unpacked"),
        (values([[1.0]] * 4, width=2), MalformedMessage, "32 were announced"),
        (values([[1.0, 1.0]] * 4, width=1), MalformedMessage, "17 bytes or more"),
        (values([[1.0, 1.0]] * 4), UnusableData, "2 numbers a sample"),
    ],
)
def test_answers_that_do_not_fit_are_refused(predictions: Predictions, error: type[Exception], said: str) -> None:
    labels = Labels("regression", np.arange(4.0), SET)
    with pytest.raises(error, match=said):
        judge_predictions(predictions, labels)


def test_a_classifier_must_answer_with_classes() -> None:
    with pytest.raises(UnusableData, match="holds no classes"):
        judge_predictions(values([[1.0]] * 4), LABELS)


def test_trials_of_one_variant_are_put_together() -> None:
    one, other = summarise(record(), LABELS), summarise(record(device="e", variant="w"), LABELS)
    both = measured([one, summarise(record(device="e"), LABELS)], 10, 20)
    assert both.variant == "v"
    assert (both.wire_bytes, both.disk_bytes) == (10, 20)
    assert set(both.judgements) == {"d", "e"}
    with pytest.raises(ValueError, match="of one variant"):
        measured([one, other], 10, 20)
    with pytest.raises(ValueError, match="none"):
        measured([], 10, 20)


def test_offline_the_rate_of_each_process_counts_and_no_query_has_a_latency() -> None:
    rates = (100.0, 125.0, None)
    processes = tuple(
        replicate(number, [1_000] * 100).model_copy(update={"queries_per_second": rate})
        for number, rate in enumerate(rates)
    )
    found = summarise(record(scenario="offline", replicates=processes), LABELS)
    assert found.process_medians_ns == (1e7, 8e6)
    assert found.query_ns is not None
    assert found.query_ns.value == pytest.approx((1e7 * 8e6) ** 0.5)
    assert (found.p50_ns, found.p95_ns, found.p99_ns) == (None, None, None)


def test_the_terms_of_a_trial_are_kept() -> None:
    terms = {"scenario": "server", "settings": ScenarioSettings(rate_hz=5), "threads": 3}
    late = replicate(0, [1_000] * 80).model_copy(update={"over_bound_ratio": 0.25})
    energy = Energy(source="rapl", seconds=10, queries=5, mean_w=3, idle_w=1, joules=20, joules_per_query=4)
    found = summarise(
        record(conditions={"serving_policy": "coexist"}, replicates=(late,), energy=energy, **terms), LABELS
    )
    assert (found.scenario, found.settings.rate_hz, found.threads) == ("server", 5, 3)
    assert (found.serving_policy, found.over_bound_ratio, found.energy_j) == ("coexist", 0.25, 4)
    assert found.terms != summarise(record(), LABELS).terms


def test_what_was_wrong_with_a_process_that_was_measured_again_is_no_doubt() -> None:
    again = (replicate(0, [100] * 9, "probe_invalid", "replaced"), replicate(1, [100] * 9), replicate(2, [101] * 9))
    found = summarise(record(replicates=again, flags=(Flag(reason="replaced"),)), None)
    assert found.flags == ("replaced",)
