"""Choose a variant for a device class: limits first, then the Pareto front, then the objective; always with reasons.

Decides: the winner and why each other variant lost. Leaves out: the limits (`limits`), statistics (`paired`,
`regression`, `speed`), and what is measured (`trial`). Pure.

The fp32 control is a candidate like any other: if nothing beats it, it wins. A variant that is not shown to be faster
than the control loses to it, unless the first criterion is a size, or the control itself breaks a limit. Among the
front the choice is lexicographic with tolerance: variants within `tolerance_ratio` of the best in the first criterion
are told apart by the second, and so on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf

from controller.choose.goals import SPEEDS, Criterion, Goals
from controller.choose.limits import Judged, judge
from controller.choose.measured import Measured
from controller.choose.wording import NAMES, bytes_text, loss_text, ms_text


@dataclass(frozen=True)
class Choice:
    """The winner of a class, or None with the limit that is the tightest; a reason for every other variant."""

    winner: str | None
    because: str
    rejected: Mapping[str, str] = field(default_factory=dict)
    front: tuple[str, ...] = ()
    tightest: str | None = None
    judged: Mapping[str, Judged] = field(default_factory=dict)


def choose(goals: Goals, control: Measured, candidates: Sequence[Measured]) -> Choice:
    """Return the choice for one class.

    Args:
        goals: Limits and objective of the class.
        control: The fp32 baseline, measured in the same trials.
        candidates: The other variants; names are unique.
    """
    everyone = [control, *(each for each in candidates if each.variant != control.variant)]
    if (unusable := control.excluded) is not None:
        return _without_control(everyone, control.variant, unusable)
    judged = {each.variant: judge(goals, control, each) for each in everyone}
    rejected = {name: _refusal(found) for name, found in judged.items() if not found.feasible}
    feasible = [each for each in everyone if each.variant not in rejected]
    if not feasible:
        tightest = _tightest(judged)
        return Choice(None, f"no variant keeps all limits; {tightest}", rejected, (), tightest, judged)
    if control.variant not in rejected and goals.minimise[0] in SPEEDS:
        rejected |= _not_faster(judged)
        feasible = [each for each in feasible if each.variant not in rejected]
    return _among(goals, control, feasible, rejected, judged)


def _among(
    goals: Goals, control: Measured, feasible: list[Measured], rejected: dict[str, str], judged: dict[str, Judged]
) -> Choice:
    dominated = _dominated(goals, feasible)
    front = [each for each in feasible if each.variant not in dominated]
    winner, lost_in = _lexicographic(goals, front)
    for each in front:
        if each.variant != winner.variant:
            rejected[each.variant] = _lost(lost_in[each.variant], each, winner)
    because = _because(goals, winner, control, judged[winner.variant], len(feasible))
    return Choice(winner.variant, because, rejected | dominated, tuple(each.variant for each in front), None, judged)


def _without_control(everyone: list[Measured], control: str, unusable: str) -> Choice:
    because = f"the control {control} cannot be compared with ({unusable}); measure again"
    rejected = {each.variant: each.excluded or "no usable control to compare with" for each in everyone}
    return Choice(None, because, rejected)


def _refusal(judged: Judged) -> str:
    if judged.excluded is not None:
        return judged.excluded
    slower = judged.speed_up is not None and judged.speed_up.upper < 1
    broken = [violation.text for violation in judged.violations]
    return "; ".join([*broken, f"slower: {judged.speed_up}"] if slower else broken)


def _not_faster(judged: Mapping[str, Judged]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, each in judged.items():
        if not each.feasible or each.speed_up is None or each.speed_up.lower > 1:
            continue
        word = "slower" if each.speed_up.upper < 1 else "not shown to be faster"
        found[name] = f"{word}: {each.speed_up}"
    return found


def _tightest(judged: Mapping[str, Judged]) -> str:
    """Return the limit that the variant which comes closest to all limits breaks most."""
    near = {
        name: max(each.violations, key=lambda violation: violation.excess or inf)
        for name, each in judged.items()
        if each.violations and all(violation.excess is not None for violation in each.violations)
    }
    if not near:
        return "no variant was measured well enough to say which limit is the tightest"
    name = min(near, key=lambda variant: (near[variant].excess or inf, variant))
    worst = near[name]
    times = f", {worst.excess:.2f} times the limit" if worst.excess and worst.excess < inf else ""
    return f"the tightest limit is {worst.limit}: {name} comes closest{times} ({worst.text})"


def _value(criterion: Criterion, measured: Measured) -> float:
    """Return what is minimised; what is not known counts as worst."""
    match criterion:
        case "p50_ms":
            return inf if measured.p50_ns is None else measured.p50_ns.value
        case "p95_ms":
            return inf if measured.p95_ns is None else measured.p95_ns.value
        case "query_ms":
            return inf if measured.query_ns is None else measured.query_ns.value
        case "wire_bytes":
            return measured.wire_bytes
        case "disk_bytes":
            return measured.disk_bytes
        case "peak_memory_bytes":
            return inf if measured.peak_memory_bytes is None else measured.peak_memory_bytes


def _dominated(goals: Goals, feasible: Sequence[Measured]) -> dict[str, str]:
    values = {each.variant: tuple(_value(criterion, each) for criterion in goals.minimise) for each in feasible}
    found: dict[str, str] = {}
    for name, own in values.items():
        for other, theirs in values.items():
            if theirs != own and all(a <= b for a, b in zip(theirs, own, strict=True)):
                found[name] = f"dominated by {other}: {_side_by_side(goals, own, theirs)}"
                break
    return found


def _side_by_side(goals: Goals, own: Sequence[float], theirs: Sequence[float]) -> str:
    rows = zip(goals.minimise, own, theirs, strict=True)
    return ", ".join(f"{NAMES[name]} {_shown(name, mine)} against {_shown(name, other)}" for name, mine, other in rows)


def _lexicographic(goals: Goals, front: Sequence[Measured]) -> tuple[Measured, dict[str, Criterion]]:
    """Return the winner, and in which criterion each other lost."""
    left, lost_in = list(front), dict[str, Criterion]()
    for criterion in goals.minimise:
        best = min(_value(criterion, each) for each in left)
        keep = [each for each in left if _value(criterion, each) <= best * (1 + goals.tolerance_ratio)]
        lost_in |= {each.variant: criterion for each in left if each.variant not in {one.variant for one in keep}}
        left = keep
    first = goals.minimise[0]
    winner = min(left, key=lambda each: (_value(first, each), each.variant))
    return winner, {each.variant: first for each in left} | lost_in


def _lost(criterion: Criterion, loser: Measured, winner: Measured) -> str:
    mine, best = _value(criterion, loser), _value(criterion, winner)
    return f"{NAMES[criterion]} {_shown(criterion, mine)} against {_shown(criterion, best)} of {winner.variant}"


def _shown(criterion: Criterion, value: float) -> str:
    if value == inf:
        return "unknown"
    return ms_text(value) if criterion in SPEEDS else bytes_text(value)


def _because(goals: Goals, winner: Measured, control: Measured, judged: Judged, feasible: int) -> str:
    numbers = ", ".join(f"{NAMES[each]} {_shown(each, _value(each, winner))}" for each in goals.minimise)
    if winner.variant == control.variant:
        return f"no variant that keeps the limits was shown to be faster than the fp32 control; {numbers}"
    unit = "points" if goals.max_accuracy_drop_ratio is not None else "R2"
    loss = f"; {loss_text(judged.loss, unit)}" if judged.loss else ""
    return f"{judged.speed_up} against the control; {numbers}{loss}; best of {feasible} that keep all limits"
