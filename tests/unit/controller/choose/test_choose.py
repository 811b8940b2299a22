"""Who wins a class, and why everyone else lost."""

from typing import Any

import numpy as np
import pytest

from controller.choose.choose import choose
from controller.choose.goals import Goals
from controller.choose.limits import check_classes, check_resolvable
from controller.choose.measured import Estimate, Judgement, Measured, TrialSummary
from controller.errors import ConfigurationError
from wire.trial import ScenarioSettings

GOALS = Goals(max_accuracy_drop_ratio=0.025, minimise=("p50_ms", "wire_bytes", "peak_memory_bytes"))


def goals(**changes: Any) -> Goals:
    return Goals.model_validate(GOALS.model_dump() | changes)


def variant(
    name: str, ms: float = 2.0, wire: int = 1000, memory: int | None = 50_000_000, lost: int = 0, **trial: Any
) -> Measured:
    ns = ms * 1e6
    correct = np.ones(242, bool)
    correct[:lost] = False
    fields: dict[str, Any] = {
        "trial": f"t-{name}",
        "device": "d-1",
        "variant": name,
        "bundle": name * 8,
        "control": name == "fp32",
        "outcome": "measured",
        "grade": "quick",
        "process_medians_ns": (ns, ns * 1.01, ns * 0.99),
        "p50_ns": Estimate(ns, ns * 0.98, ns * 1.02),
        "p95_ns": Estimate(ns * 1.2, ns * 1.1, ns * 1.5),
        "peak_memory_bytes": memory,
        "judgement": Judgement({"accuracy": float(correct.mean())}, correct=correct),
    }
    return Measured(name, name * 8, wire, wire, (TrialSummary(**(fields | trial)),))


FP32 = variant("fp32")


def test_the_fastest_that_keeps_the_limits_wins_and_all_others_know_why() -> None:
    others = [
        variant("u8s8", ms=1.0, wire=300),
        variant("lossy", ms=0.5, lost=9),
        variant("dynamic", ms=6.45),
        variant("same", ms=2.0, wire=300),
        variant("fp16", ms=1.5, wire=500),
        variant("broken", outcome="unfit", because="golden outputs differ"),
        variant("hot", void=("throttled (let it cool down)",)),
    ]
    found = choose(GOALS, FP32, others)
    assert found.winner == "u8s8"
    assert found.because.startswith("2.00x (1.96 to 2.05) against the control; p50 1 ms, download 0.3 kB")
    assert "lost 0.00 points, at most 1.23 at 95% (no difference shown: that takes 1.23 with these" in found.because
    assert found.rejected["lossy"].startswith("lost 3.72 points, at most 6.")
    assert found.rejected["lossy"].endswith("the limit is 2.50 points")
    assert found.rejected["dynamic"] == "slower: 0.31x (0.30 to 0.32)"
    assert found.rejected["same"].startswith("not shown to be faster: 1.00x")
    assert found.rejected["fp16"] == (
        "dominated by u8s8: p50 1.5 ms against 1 ms, download 0.5 kB against 0.3 kB, "
        "peak memory 50.00 MB against 50.00 MB"
    )
    assert found.rejected["broken"] == "unfit on d-1: golden outputs differ"
    assert found.rejected["hot"] == "void on d-1: throttled (let it cool down)"
    assert "dominated by u8s8" in found.rejected["fp32"]
    assert found.rejected.keys() == {"fp32", *(each.variant for each in others)} - {"u8s8"}
    assert found.front == ("u8s8",)


def test_the_control_wins_where_nothing_beats_it() -> None:
    found = choose(GOALS, FP32, [variant("dynamic", ms=4), variant("lossy", ms=1, lost=10)])
    assert found.winner == "fp32"
    assert found.because.startswith(
        "no variant that keeps the limits was shown to be faster than the fp32 control; p50 2 ms"
    )
    assert found.rejected.keys() == {"dynamic", "lossy"}
    assert choose(GOALS, FP32, []).winner == "fp32"


def test_within_the_tolerance_the_next_criterion_decides() -> None:
    fast, small = variant("fast", ms=1.0, wire=900), variant("small", ms=1.04, wire=300)
    found = choose(GOALS, FP32, [fast, small])
    assert found.winner == "small"
    assert found.rejected["fast"] == "download 0.9 kB against 0.3 kB of small"
    assert set(found.front) == {"fast", "small"}
    assert choose(goals(tolerance_ratio=0.01), FP32, [fast, small]).winner == "fast"


def test_a_size_first_objective_may_take_a_slower_variant() -> None:
    found = choose(goals(minimise=("wire_bytes", "p50_ms")), FP32, [variant("slim", ms=3, wire=100)])
    assert found.winner == "slim"


def test_where_the_control_breaks_a_limit_a_slower_variant_may_win() -> None:
    found = choose(goals(max_memory_bytes=40_000_000), FP32, [variant("slim", ms=3, memory=30_000_000)])
    assert found.winner == "slim"
    assert found.rejected["fp32"] == "peak memory 50.00 MB; the limit is 40.00 MB"


@pytest.mark.parametrize(
    ("changes", "tightest"),
    [
        ({"max_memory_bytes": 40_000_000}, "max_memory_bytes: fp32 comes closest, 1.25 times the limit"),
        ({"max_p95_ms": 1.2}, "max_p95_ms: u8s8 comes closest, 1.25 times the limit (p95 1.2 ms, at most 1.5 ms"),
        ({"max_wire_bytes": 200, "max_p95_ms": 2}, "max_wire_bytes: u8s8 comes closest, 1.50 times the limit"),
    ],
)
def test_without_a_feasible_variant_the_tightest_limit_is_named(changes: dict[str, Any], tightest: str) -> None:
    found = choose(goals(**changes), FP32, [variant("u8s8", ms=1.0, wire=300, memory=60_000_000)])
    assert found.winner is None
    assert found.tightest is not None
    assert tightest in found.tightest
    assert found.rejected.keys() == {"fp32", "u8s8"}


@pytest.mark.parametrize(
    ("limit", "missing", "said"),
    [
        ({"max_p95_ms": 9}, {"p95_ns": None}, "p95 is not known"),
        ({"max_memory_bytes": 1 << 40}, {"peak_memory_bytes": None}, "peak memory was not measured"),
        ({}, {"judgement": None}, "accuracy was not measured"),
    ],
)
def test_what_was_not_measured_keeps_no_limit(limit: dict[str, Any], missing: dict[str, Any], said: str) -> None:
    found = choose(goals(**limit), FP32, [variant("u8s8", ms=1.0, **missing)])
    assert found.winner == "fp32"
    assert said in found.rejected["u8s8"]


def test_without_the_control_nothing_is_chosen() -> None:
    found = choose(GOALS, variant("fp32", void=("disturbed",)), [variant("u8s8", ms=1)])
    assert found.winner is None
    assert "void on d-1: disturbed" in found.because
    assert found.rejected["u8s8"] == "no usable control to compare with"


def test_a_point_estimate_decides_on_what_was_seen() -> None:
    lossy = variant("lossy", ms=1, lost=5)  # 2.07 points seen, the bound is above 2.5
    assert choose(GOALS, FP32, [lossy]).winner == "fp32"
    assert choose(goals(decide_on="point_estimate"), FP32, [lossy]).winner == "lossy"


def test_several_devices_count_with_their_worst() -> None:
    def on(device: str, name: str, ms: float, lost: int = 0, **more: Any) -> TrialSummary:
        return variant(name, ms, lost=lost, device=device, **more).trials[0]

    control = Measured("fp32", "b", 1000, 1000, (on("a", "fp32", 2), on("b", "fp32", 4)))
    good = Measured("good", "b", 300, 300, (on("a", "good", 1), on("b", "good", 2)))
    uneven = Measured("uneven", "b", 300, 300, (on("a", "uneven", 0.5), on("b", "uneven", 5)))
    unlike = Measured("unlike", "b", 300, 300, (on("a", "unlike", 0.5), on("b", "unlike", 0.5, lost=20)))
    patchy = Measured("patchy", "b", 300, 300, (on("a", "patchy", 0.4), on("b", "patchy", 1, outcome="failed")))
    found = choose(GOALS, control, [good, uneven, unlike, patchy])
    assert found.winner == "good"
    assert found.rejected["uneven"].startswith("not shown to be faster")
    assert found.rejected["unlike"].startswith("lost 8.26 points")
    assert found.rejected["patchy"].startswith("failed on b")
    assert good.p50_ns is not None
    assert good.p50_ns.value == 2e6


def test_regression_is_decided_on_r2() -> None:
    def scored(name: str, ms: float, error: float) -> Measured:
        spread = np.linspace(0, error, 100)
        return variant(name, ms, judgement=Judgement({"r2": 0.8}, squared_errors=0.2 + spread, variance=1.0))

    r2 = Goals(max_r2_drop=0.05, minimise=("p50_ms",))
    found = choose(r2, scored("fp32", 2, 0), [scored("fine", 1, 0.05), scored("bad", 0.5, 0.2)])
    assert found.winner == "fine"
    assert found.rejected["bad"].startswith("lost 0.1000 of R2, at most 0.1")


def test_an_evaluation_set_too_small_for_its_limit_is_refused_with_what_it_could_show() -> None:
    check_resolvable(GOALS, 242, "classification")
    with pytest.raises(ConfigurationError, match=r"smallest loss .* 0\.0123 \(1\.23 points\); .* 598 samples"):
        check_resolvable(goals(max_accuracy_drop_ratio=0.005), 242, "classification")
    check_resolvable(goals(max_accuracy_drop_ratio=0.005, decide_on="point_estimate"), 242, "classification")
    with pytest.raises(ConfigurationError, match="0 samples"):
        check_resolvable(GOALS, 0, "classification")
    with pytest.raises(ConfigurationError, match="the limit is max_r2_drop"):
        check_resolvable(GOALS, 242, "regression")
    with pytest.raises(ConfigurationError, match="29 samples are too few"):
        check_resolvable(Goals(max_r2_drop=0.1), 29, "regression")


def test_an_evaluation_set_of_one_class_is_refused() -> None:
    check_classes(GOALS, np.array([1, 1, 0]))
    check_classes(goals(max_accuracy_drop_ratio=0.1, decide_on="point_estimate"), np.ones(300, int))
    with pytest.raises(ConfigurationError, match="all 300 evaluation samples are of one class"):
        check_classes(GOALS, np.ones(300, int))


def offline(name: str, query_ms: float, **trial: Any) -> Measured:
    ns = query_ms * 1e6
    times: dict[str, Any] = {
        "scenario": "offline",
        "process_medians_ns": (ns, ns * 1.01, ns * 0.99),
        "query_ns": Estimate(ns, ns * 0.98, ns * 1.02),
        "p50_ns": None,
        "p95_ns": None,
    }
    return variant(name, **(times | trial))


def test_offline_the_time_per_query_decides_and_a_rate_can_be_a_limit() -> None:
    wanted = goals(minimise=("query_ms", "wire_bytes"), min_queries_per_second=300)
    found = choose(wanted, offline("fp32", 2.0), [offline("batched", 1.0), offline("slow", 4.0)])
    assert found.winner == "batched"
    assert "time per query 1 ms" in found.because
    assert found.rejected["slow"].startswith("250 queries/s, at least 245; the limit is 300; slower")
    with_unknown = choose(wanted, offline("fp32", 2.0), [offline("batched", 1.0, query_ns=None)])
    assert with_unknown.rejected["batched"] == "queries per second were not measured"


def test_beside_serving_is_never_compared_with_a_pause() -> None:
    beside = variant("u8s8", ms=1.0, serving_policy="coexist")
    found = choose(GOALS, FP32, [beside])
    assert found.winner == "fp32"
    assert found.rejected["u8s8"].startswith("measured as single_stream coexist, the control as single_stream pause")
    assert choose(GOALS, variant("fp32", serving_policy="coexist"), [beside]).winner == "u8s8"


def test_a_control_that_was_measured_in_two_ways_is_compared_with_nothing() -> None:
    trials = (*FP32.trials, *variant("fp32", serving_policy="coexist").trials)
    mixed = Measured("fp32", "x" * 8, 1, 1, trials)
    found = choose(GOALS, mixed, [variant("u8s8", ms=1.0)])
    assert found.winner is None
    assert "not compared with each other: single_stream coexist and single_stream pause" in found.because


@pytest.mark.parametrize("otherwise", [{"threads": 2}, {"settings": ScenarioSettings(streams=2)}])
def test_one_sitting_with_other_terms_is_no_comparison(otherwise: dict[str, Any]) -> None:
    found = choose(GOALS, FP32, [variant("u8s8", ms=1.0, **otherwise)])
    assert "no device has usable trials of both" in found.rejected["u8s8"]


@pytest.mark.parametrize(
    ("changes", "scenario", "said"),
    [
        ({"minimise": ("p50_ms",)}, "offline", "give no p50_ms; take query_ms"),
        ({"minimise": ("wire_bytes",), "max_p95_ms": 3.0}, "offline", "take min_queries_per_second"),
        ({"minimise": ("wire_bytes", "query_ms")}, "server", "give no query_ms; take p50_ms or p95_ms"),
        ({"min_queries_per_second": 3.0}, "paced", "set trials.scenario: offline"),
    ],
)
def test_a_goal_that_the_scenario_cannot_answer_is_refused(changes: dict[str, Any], scenario: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        goals(**changes).check_scenario(scenario)
    goals().check_scenario("multi_stream")


def test_a_sitting_that_the_pause_cut_short_does_not_cost_the_control_its_other_ones() -> None:
    spent: dict[str, Any] = {"outcome": "failed", "because": "pause_spent: over", "process_medians_ns": ()}
    cut = variant("fp32", trial="t-fp32.s2", **spent).trials
    control = Measured("fp32", "x" * 8, 1000, 1000, (*FP32.trials, *cut))
    late = variant("late", trial="t-late.s2", **spent)
    found = choose(GOALS, control, [variant("u8s8", ms=1.0), late])
    assert found.winner == "u8s8"
    assert found.rejected["late"] == "failed on d-1: pause_spent: over"
    assert choose(GOALS, Measured("fp32", "x" * 8, 1, 1, cut), []).winner is None
