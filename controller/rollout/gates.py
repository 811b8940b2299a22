"""The gates of a wave: PASS, FAIL or INCONCLUSIVE, with reasons. Pure, and valid however often they are asked.

Decides: the failure gate (a census of the wave's devices), the error-rate gate (canaries against a hold-out) and the
latency gate (95th percentile against a limit). Leaves out: who is counted (`view.outcome_of`), what follows (`decide`).

The census needs no statistics: it counts every device of the wave. The others test with e-processes. For n queries of
which x failed, the mixture M(p) = B(x + 1/2, n - x + 1/2) / (B(1/2, 1/2) p^x (1 - p)^(n - x)) is a martingale that
starts at 1 if p is the true share, so by Ville's inequality it ever exceeds 1/a with a chance of at most a, no matter
when and how often it is looked at. For two groups the product, at its smallest over all pairs that the null hypothesis
allows, is an e-process. Only the counts matter, so that late or merged metrics change nothing. Limit: queries are taken
as exchangeable within a group; errors that come in bursts make the chance of a wrong ruling larger.
Sources: Ville 1939; Robbins, Ann. Math. Stat. 41 (1970) 1397-1409 (mixtures); Ramdas, Grünwald, Vovk and Shafer,
Statistical Science 38 (2023) 576-601 (e-processes, safe anytime-valid inference); Turner, Ly and Grünwald, J. Stat.
Planning and Inference 230 (2024) 106116 (two proportions).
"""

from collections.abc import Sequence
from math import exp, inf, lgamma, log, log1p

from controller.rollout.policy import ErrorRateGate, GatePolicy, LatencyGate
from controller.rollout.view import ClassMetrics, Outcome, QueryGroup, Ruling, Verdict
from wire.sketch import SketchData

TAIL_RATIO = 0.05
"""p95 <= limit says that at most this share of the queries takes longer."""


def failure_gate(policy: GatePolicy, device_class: str, outcomes: Sequence[Outcome], closed: bool = False) -> Ruling:
    """Rule on the failures of one class in one wave.

    Args:
        policy: Limit, minimum sample, quorum.
        device_class: For the ruling.
        outcomes: Of every device of the class in the wave.
        closed: The wave's deadline has passed: who did not acknowledge is out of reach.
    Returns:
        FAIL as soon as the ratio is above the limit at the minimum sample, or will be however the rest ends. PASS with
        the minimum sample (or all devices that can count, where they are fewer) and the quorum. Else INCONCLUSIVE.
    """
    count = {outcome: sum(each is outcome for each in outcomes) for outcome in Outcome}
    failed, ended = count[Outcome.FAILED], count[Outcome.FAILED] + count[Outcome.COMMITTED]
    countable = len(outcomes) - count[Outcome.INCOMPATIBLE] - count[Outcome.ELSEWHERE]
    reachable = countable - (count[Outcome.UNREACHABLE] if closed else 0)
    needed = min(policy.min_sample, countable)
    seen = f"{failed} of {ended} failed, {countable} in the wave can count"
    inputs: dict[str, object] = {
        **{outcome.value: number for outcome, number in count.items()},
        "max_failure_ratio": policy.max_failure_ratio,
        "needed": needed,
        "quorum_ratio": policy.quorum_ratio,
        "closed": closed,
    }

    def ruled(verdict: Verdict, because: str) -> Ruling:
        return Ruling("failure", device_class, verdict, f"{seen}; {because}", inputs)

    limit = f"the limit is {policy.max_failure_ratio:.0%}"
    if countable == 0:
        return ruled(Verdict.INCONCLUSIVE, "no device of the class could try it: no evidence")
    if failed > policy.max_failure_ratio * countable:
        return ruled(Verdict.FAIL, f"{limit}, and the rest cannot bring it down")
    if ended >= max(needed, 1) and failed > policy.max_failure_ratio * ended:
        return ruled(Verdict.FAIL, f"{limit}, with the minimum sample of {needed}")
    if ended < needed or ended == 0:
        return ruled(Verdict.INCONCLUSIVE, f"{needed} must have ended")
    if ended < policy.quorum_ratio * reachable - 1e-9:
        return ruled(Verdict.INCONCLUSIVE, f"{ended} of {reachable} have ended, {policy.quorum_ratio:.0%} must have")
    return ruled(Verdict.PASS, limit)


def error_rate_gate(gate: ErrorRateGate, device_class: str, metrics: ClassMetrics | None) -> Ruling:
    """Rule on the canaries' share of failed queries against the hold-out's.

    Returns:
        FAIL where "at most `margin_ratio` higher" is refused at the confidence, PASS where "at least that much higher"
        is; else INCONCLUSIVE. A comparison with the time before the wave is labelled so.
    """
    compared = metrics.compared if metrics else None
    if metrics is None or compared is None or compared.queries == 0 or metrics.canary.queries == 0:
        because = "no queries on both sides: nothing to compare"
        return Ruling("error_rate", device_class, Verdict.INCONCLUSIVE, because, {"margin_ratio": gate.margin_ratio})
    canary = metrics.canary
    worse = two_sample_log_e(_counts(canary), _counts(compared), gate.margin_ratio, higher=True)
    better = two_sample_log_e(_counts(canary), _counts(compared), gate.margin_ratio, higher=False)
    verdict = _verdict(worse, better, gate.confidence)
    side = "a concurrent hold-out" if metrics.concurrent else "the time before the wave (not concurrent)"
    because = (
        f"{canary.errors} of {canary.queries} queries failed against {compared.errors} of {compared.queries} in "
        f"{side}; margin {gate.margin_ratio:g}; e-value {_e(worse)} that it is exceeded, {_e(better)} that it is kept, "
        f"{1 / (1 - gate.confidence):.0f} needed"
    )
    inputs: dict[str, object] = {
        "canary": _counts(canary),
        "compared": _counts(compared),
        "concurrent": metrics.concurrent,
        "margin_ratio": gate.margin_ratio,
        "log_e_worse": worse,
        "log_e_better": better,
    }
    return Ruling("error_rate", device_class, verdict, because, inputs)


def latency_gate(gate: LatencyGate, device_class: str, metrics: ClassMetrics | None) -> Ruling:
    """Rule on the canaries' 95th percentile against the limit, from their merged sketch.

    A sketch's bucket has a width; queries in the bucket of the limit are counted for neither side.
    """
    sketch = metrics.canary.latency_ms if metrics else None
    if sketch is None or sketch.count == 0:
        because = "no latencies of the canaries yet"
        return Ruling("latency", device_class, Verdict.INCONCLUSIVE, because, {"max_p95_ms": gate.max_p95_ms})
    surely, possibly = over_limit(sketch, gate.max_p95_ms)
    n = sketch.count
    slow = log_e(surely, n, TAIL_RATIO) if surely > TAIL_RATIO * n else 0.0
    fast = log_e(possibly, n, TAIL_RATIO) if possibly < TAIL_RATIO * n else 0.0
    because = (
        f"{surely} to {possibly} of {n} queries took longer than {gate.max_p95_ms:g} ms, {TAIL_RATIO:.0%} may; "
        f"e-value {_e(slow)} that it is exceeded, {_e(fast)} that it is kept, {1 / (1 - gate.confidence):.0f} needed"
    )
    inputs: dict[str, object] = {"surely": surely, "possibly": possibly, "queries": n, "max_p95_ms": gate.max_p95_ms}
    return Ruling("latency", device_class, _verdict(slow, fast, gate.confidence), because, inputs)


def log_e(events: int, trials: int, share: float) -> float:
    """Return the logarithm of the mixture martingale against "the share is `share`", in (0, 1)."""
    rest = trials - events
    mixture = _log_beta(events + 0.5, rest + 0.5) - _log_beta(0.5, 0.5)
    return mixture - _log_likelihood(events, trials, share)


def two_sample_log_e(canary: tuple[int, int], compared: tuple[int, int], margin: float, higher: bool) -> float:
    """Return the log e-value against "canary - compared <= margin" (`higher`) or ">= margin" (not `higher`).

    Args:
        canary: Errors and queries; the second above 0.
        compared: The same of the other group.
        margin: In (0, 1).
        higher: Which of both is refused.
    Returns:
        0 where the counts lie within the hypothesis; else the smallest product over its edge.
    """
    gap = canary[0] / canary[1] - compared[0] / compared[1]
    if (gap <= margin) if higher else (gap >= margin):
        return 0.0

    def at(share: float) -> float:
        return log_e(*canary, share + margin) + log_e(*compared, share)

    low, high = 1e-12, 1 - margin - 1e-12
    while high - low > 1e-10:  # the sum is convex in the share: thirds close in on its minimum
        third = (high - low) / 3
        low, high = (low, high - third) if at(low + third) < at(high - third) else (low + third, high)
    return at((low + high) / 2)


def over_limit(sketch: SketchData, limit: float) -> tuple[int, int]:
    """Return how many values of a sketch surely, and possibly, lie above `limit` (> 0)."""
    place = log(limit) / sketch.log_gamma  # bucket i holds (gamma^(i-1), gamma^i]
    counts = sketch.counts()
    surely = sum(count for index, count in counts.items() if index - 1 >= place)
    return surely, sum(count for index, count in counts.items() if index > place)


def _verdict(worse: float, better: float, confidence: float) -> Verdict:
    threshold = -log1p(-confidence)
    if worse >= threshold:
        return Verdict.FAIL
    return Verdict.PASS if better >= threshold else Verdict.INCONCLUSIVE


def _counts(group: QueryGroup) -> tuple[int, int]:
    return group.errors, group.queries


def _log_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)


def _log_likelihood(events: int, trials: int, share: float) -> float:
    rest = trials - events
    if (events and share <= 0) or (rest and share >= 1):
        return -inf
    return (events * log(share) if events else 0.0) + (rest * log1p(-share) if rest else 0.0)


def _e(log_value: float) -> str:
    return f"{exp(log_value):.3g}" if log_value < 50 else "above 1e21"
