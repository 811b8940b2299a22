"""Two trials against each other: is the second one faster, and may the two be compared at all? Pure.

Decides: what makes a comparison worthless (no verdict is given), and what only weakens it (said beside the verdict).
Leaves out: the statistics (`wire/statistics`) and the choice of a deploy (`controller/choose`), which compares within
one device and sitting only.

    compare_trials(baseline, int8).verdict  # "faster"
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from controller.choose.limits import paired_loss
from controller.choose.measured import TrialSummary
from controller.choose.paired import LossBound
from controller.trial.figures import figures, finite
from wire.statistics import Comparison, Verdict, compare
from wire.trial import TrialRecord

LOSS_CONFIDENCE = 0.95
"""One-sided, of the bound on the accuracy lost: that of a deploy's goals, where they do not say otherwise."""


@dataclass(frozen=True, eq=False)
class Side:
    """One trial. `group`: what it was measured in turns with, on its device; empty where it was measured alone."""

    record: TrialRecord
    summary: TrialSummary
    device_class: str
    group: str = ""


@dataclass(frozen=True, eq=False)
class TrialComparison:
    """What the second trial is against the first. No verdict where `withheld` says why; `cautions` weaken one."""

    first: Side
    second: Side
    speed: Comparison | None
    interleaved: bool
    withheld: tuple[str, ...] = ()
    cautions: tuple[str, ...] = ()
    loss: LossBound | None = None

    @property
    def verdict(self) -> Verdict | None:
        """Of the second trial; None where it is withheld."""
        return None if self.speed is None else self.speed.verdict

    def document(self) -> dict[str, Any]:
        """Return the comparison as plain values; `ratio` is the second one's time over the first one's."""
        return {
            "verdict": self.verdict,
            "interleaved": self.interleaved,
            **_speed(self.speed),
            "withheld": list(self.withheld),
            "cautions": list(self.cautions),
            "loss": None
            if self.loss is None
            else {"lost": finite(self.loss.lost), "upper": finite(self.loss.upper), "confidence": self.loss.confidence},
            "first": _side(self.first),
            "second": _side(self.second),
        }


def compare_trials(first: Side, second: Side) -> TrialComparison:
    """Compare the second trial with the first; the order asked is the order of the ratio."""
    interleaved = _interleaved(first, second)
    withheld = (*_unusable(first), *_unusable(second), *_incommensurable(first, second))
    speed = None if withheld else compare(first.summary.process_medians_ns, second.summary.process_medians_ns)
    return TrialComparison(
        first, second, speed, interleaved, withheld, _cautions(first, second, interleaved), _loss(first, second)
    )


def _interleaved(first: Side, second: Side) -> bool:
    one, other = ((side.record.device, side.record.workload, side.group) for side in (first, second))
    return bool(first.group) and one == other


def _unusable(side: Side) -> list[str]:
    summary = side.summary
    if summary.outcome != "measured":
        return [f"{summary.trial} was not measured: {summary.outcome}, {summary.because or 'no reason given'}"]
    if summary.void:
        return [f"{summary.trial} is void: {', '.join(summary.void)}"]
    return [] if summary.process_medians_ns else [f"{summary.trial} has no samples"]


def _incommensurable(first: Side, second: Side) -> list[str]:
    one, other = first.summary, second.summary
    found = []
    if one.scenario != other.scenario:
        found.append(f"the scenarios measure different things: {one.scenario} and {other.scenario}")
    if one.serving_policy != other.serving_policy:
        found.append(
            f"one was measured beside serving, the other was not ({one.serving_policy} and {other.serving_policy}): "
            "such numbers are compared with themselves only"
        )
    return found


_TERMS: tuple[tuple[str, Callable[[Side], object]], ...] = (
    ("device", lambda side: side.record.device),
    ("class", lambda side: side.device_class),
    ("workload", lambda side: side.record.workload),
    ("grade", lambda side: side.record.grade),
    ("threads", lambda side: side.record.threads),
    ("agent version", lambda side: side.record.agent_version),
)
"""What should be alike -> where it stands."""


def _cautions(first: Side, second: Side, interleaved: bool) -> tuple[str, ...]:
    found = [
        f"another {name}: {one or 'none'} and {other or 'none'}"
        for name, of in _TERMS
        if (one := of(first)) != (other := of(second))
    ]
    if first.record.trial == second.record.trial:
        found.append("both are the same trial: it is compared with itself")
    found += _other_settings(first, second)
    if first.record.emulated or second.record.emulated:
        which = "both" if first.record.emulated and second.record.emulated else "one of them"
        found.append(f"emulated: the limits of {which} are imposed by configuration, the processor is the host's")
    if not interleaved:
        found.append("not interleaved: what changed between the two sittings counts as a difference")
    return tuple(found)


def _other_settings(first: Side, second: Side) -> list[str]:
    one, other = (side.record.settings.model_dump() for side in (first, second))
    return [
        f"another setting of the scenario: {name} {one.get(name)} and {other.get(name)}"
        for name in sorted(one.keys() | other.keys())
        if one.get(name) != other.get(name)
    ]


def _loss(first: Side, second: Side) -> LossBound | None:
    """Return what the second lost against the first on the same samples; None where one has no labelled answers."""
    one, other = first.summary.judgement, second.summary.judgement
    if one is None or other is None or _answered(first) != _answered(second):
        return None
    try:
        return paired_loss(one, other, LOSS_CONFIDENCE)
    except ValueError:  # too few samples for a bound on R2, or answers that are not finite
        return None


def _answered(side: Side) -> tuple[object, ...]:
    predictions, judgement = side.record.predictions, side.summary.judgement
    by_class = judgement is not None and judgement.correct is not None
    return (predictions.evaluation, predictions.samples, by_class) if predictions else ()


def _speed(speed: Comparison | None) -> dict[str, Any]:
    names = ("ratio", "lower", "upper", "detectable_ratio", "level")
    return {name: None if speed is None else finite(getattr(speed, name)) for name in names}


def _side(side: Side) -> dict[str, Any]:
    record, summary = side.record, side.summary
    return {
        "trial": record.trial,
        "device": record.device,
        "device_class": side.device_class,
        "workload": record.workload,
        "variant": record.variant,
        "bundle": record.bundle,
        "outcome": record.outcome,
        "grade": record.grade,
        "scenario": record.scenario,
        "settings": record.settings.model_dump(mode="json"),
        "threads": record.threads,
        "serving_policy": summary.serving_policy,
        "emulated": record.emulated,
        "flags": list(summary.flags),
        "void": list(summary.void),
        **figures(record, summary),
    }
