"""The gates: what they rule, and how often they rule wrongly however often they are asked."""

import math

import numpy as np
import pytest

from controller.rollout.gates import error_rate_gate, failure_gate, latency_gate, log_e, over_limit, two_sample_log_e
from controller.rollout.policy import ErrorRateGate, GatePolicy, LatencyGate
from controller.rollout.view import ClassMetrics, Outcome, QueryGroup, Verdict
from wire.sketch import Sketch

C, F, W, U = Outcome.COMMITTED, Outcome.FAILED, Outcome.WORKING, Outcome.UNREACHABLE
N, E = Outcome.INCOMPATIBLE, Outcome.ELSEWHERE
PASS, FAIL, OPEN = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
STRICT = GatePolicy(max_failure_ratio=0.0, min_sample=1, quorum_ratio=1.0)
TENTH = GatePolicy(max_failure_ratio=0.1, min_sample=5, quorum_ratio=0.8)


@pytest.mark.parametrize(
    ("policy", "outcomes", "closed", "verdict"),
    [
        (STRICT, [C], False, PASS),
        (STRICT, [F], False, FAIL),
        (STRICT, [F, W, W, W], False, FAIL),  # nothing can bring a limit of 0 down again
        (STRICT, [C, W], False, OPEN),
        (STRICT, [C, U], False, OPEN),
        (STRICT, [C, U], True, PASS),  # out of reach is no failure
        (STRICT, [C, W], True, OPEN),  # it acknowledged: it can be waited for
        (STRICT, [U], True, OPEN),  # nobody answered: neither good nor bad news
        (STRICT, [N], True, OPEN),  # nobody could try
        (STRICT, [C, N, E], False, PASS),
        (STRICT, [F, N], False, FAIL),
        (TENTH, [C] * 4, False, PASS),  # fewer than the minimum sample, but all there are
        (TENTH, [C] * 4 + [W] * 6, False, OPEN),
        (TENTH, [C] * 7 + [W] * 3, False, OPEN),  # quorum
        (TENTH, [C] * 8 + [W] * 2, False, PASS),
        (TENTH, [C] * 9 + [F], False, PASS),  # right at the limit
        (TENTH, [C] * 8 + [F] * 2, False, FAIL),
        (TENTH, [F] * 2 + [W] * 8, False, FAIL),  # with certainty: at best 2 of 10
        (TENTH, [F] + [W] * 9, False, OPEN),  # 1 of 10 can still be
        (TENTH, [C] * 4 + [F] + [W] * 5, False, FAIL),  # 1 of 5 at the minimum sample
        (TENTH, [C] * 3 + [F] + [W] * 6, False, OPEN),
        (TENTH, [], False, OPEN),
    ],
)
def test_the_failure_gate(policy: GatePolicy, outcomes: list[Outcome], closed: bool, verdict: Verdict) -> None:
    ruling = failure_gate(policy, "c", outcomes, closed)
    assert ruling.verdict is verdict
    failed, ended = outcomes.count(F), outcomes.count(F) + outcomes.count(C)
    assert f"{failed} of {ended} failed" in ruling.because
    assert ruling.inputs["failed"] == failed


def test_a_certain_failure_stays_one_however_the_wave_goes_on() -> None:
    for failed in range(11):
        for committed in range(11 - failed):
            now = failure_gate(TENTH, "c", [F] * failed + [C] * committed + [W] * (10 - failed - committed))
            if failed > 1:
                assert now.verdict is FAIL


def group(errors: int, queries: int) -> QueryGroup:
    return QueryGroup(1, queries, errors)


@pytest.mark.parametrize(
    ("canary", "compared", "verdict"),
    [
        ((0, 10), (0, 10), OPEN),
        ((0, 2000), (0, 2000), PASS),
        ((300, 1000), (0, 1000), FAIL),
        ((60, 1000), (50, 1000), OPEN),  # right at the margin
        ((50, 20_000), (50, 20_000), PASS),
        ((0, 0), (0, 100), OPEN),
        ((5, 10), (0, 0), OPEN),
    ],
)
def test_the_error_rate_gate(canary: tuple[int, int], compared: tuple[int, int], verdict: Verdict) -> None:
    gate = ErrorRateGate(margin_ratio=0.01)
    ruling = error_rate_gate(gate, "c", ClassMetrics(group(*canary), group(*compared)))
    assert ruling.verdict is verdict
    assert error_rate_gate(gate, "c", None).verdict is OPEN
    assert error_rate_gate(gate, "c", ClassMetrics(group(*canary), None)).verdict is OPEN


def test_a_comparison_with_the_past_is_labelled() -> None:
    ruling = error_rate_gate(ErrorRateGate(margin_ratio=0.1), "c", ClassMetrics(group(1, 50), group(0, 50), False))
    assert "not concurrent" in ruling.because
    assert ruling.inputs["concurrent"] is False


@pytest.mark.parametrize("share", [0.002, 0.05, 0.4])
def test_looking_often_rarely_fails_a_canary_at_the_margin(share: float) -> None:
    """Ville: at most 5 % ever, at the worst point of the null hypothesis, over 27 looks."""
    random, margin, wrong = np.random.default_rng(11), 0.01, 0
    for _ in range(300):
        canary = np.cumsum(random.random(400) < share + margin)
        hold_out = np.cumsum(random.random(400) < share)
        looks = range(9, 400, 15)
        wrong += any(
            two_sample_log_e((int(canary[n]), n + 1), (int(hold_out[n]), n + 1), margin, True) >= math.log(20)
            for n in looks
        )
    assert wrong / 300 <= 0.05


def test_looking_often_rarely_passes_a_canary_that_is_worse() -> None:
    random, margin, wrong = np.random.default_rng(12), 0.05, 0
    for _ in range(300):
        canary = np.cumsum(random.random(1000) < 0.02 + margin)
        hold_out = np.cumsum(random.random(1000) < 0.02)
        wrong += any(
            two_sample_log_e((int(canary[n]), n + 1), (int(hold_out[n]), n + 1), margin, False) >= math.log(20)
            for n in range(9, 1000, 30)
        )
    assert wrong / 300 <= 0.05


def test_a_bad_canary_is_found() -> None:
    random, found = np.random.default_rng(13), 0
    gate = ErrorRateGate(margin_ratio=0.01)
    for _ in range(100):
        bad, good = int(random.binomial(500, 0.1)), int(random.binomial(500, 0.01))
        found += error_rate_gate(gate, "c", ClassMetrics(group(bad, 500), group(good, 500))).verdict is FAIL
    assert found >= 90


def test_the_mixture_is_a_martingale_that_starts_at_one() -> None:
    """Its mean over all outcomes of n queries is exactly 1 at the true share."""
    for share in (0.01, 0.3):
        for n in (1, 7, 40):
            mean = sum(
                math.comb(n, x) * share**x * (1 - share) ** (n - x) * math.exp(log_e(x, n, share)) for x in range(n + 1)
            )
            assert mean == pytest.approx(1)


@pytest.mark.parametrize("higher", [True, False])
def test_the_smallest_product_is_found(higher: bool) -> None:
    canary, compared = ((40, 100), (5, 100)) if higher else ((5, 100), (40, 100))
    found = two_sample_log_e(canary, compared, 0.1, higher)
    grid = [log_e(*canary, share + 0.1) + log_e(*compared, share) for share in np.linspace(1e-6, 0.9 - 1e-6, 20_001)]
    assert found == pytest.approx(min(grid), abs=1e-4)
    assert found <= min(grid) + 1e-9
    assert two_sample_log_e(compared, canary, 0.1, higher) == 0


def sketch(values: list[float]) -> Sketch:
    made = Sketch()
    for value in values:
        made.add(value)
    return made


def test_a_sketch_counts_what_is_surely_and_possibly_over() -> None:
    found = over_limit(sketch([1.0] * 50 + [10.0] * 7 + [20.0] * 3).data(), 10.0)
    assert found[0] == 3
    assert found[1] in (3, 10)
    collapsed = sketch([1.0] * 50 + [10.0] * 7 + [20.0] * 3)
    collapsed.collapse_to(4)  # 16 %: the limit's bucket goes from 8.9 to 11.3 now
    assert over_limit(collapsed.data(), 10.0) == (3, 10)
    assert over_limit(sketch([10.5] * 4).data(), 10.0) == (4, 4)
    assert over_limit(sketch([9.5] * 4).data(), 10.0) == (0, 0)


@pytest.mark.parametrize(
    ("slow", "fast", "verdict"), [(0, 20, OPEN), (0, 400, PASS), (40, 60, FAIL), (5, 95, OPEN), (0, 0, OPEN)]
)
def test_the_latency_gate(slow: int, fast: int, verdict: Verdict) -> None:
    values = sketch([5.0] * fast + [15.0] * slow)
    metrics = ClassMetrics(QueryGroup(1, slow + fast, 0, values.data()))
    ruling = latency_gate(LatencyGate(max_p95_ms=10.0), "c", metrics)
    assert ruling.verdict is verdict
    assert latency_gate(LatencyGate(max_p95_ms=10.0), "c", None).verdict is OPEN


def test_looking_often_rarely_rules_on_a_latency_right_at_the_limit() -> None:
    random, wrong = np.random.default_rng(14), 0
    for _ in range(400):
        over = np.cumsum(random.random(500) < 0.05)
        wrong += any(log_e(int(over[n]), n + 1, 0.05) >= math.log(20) for n in range(500))
    assert wrong / 400 <= 0.05
