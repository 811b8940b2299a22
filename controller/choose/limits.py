"""Whether a variant keeps the limits, each on the bound that speaks against it.

Decides: which limits are broken and by how much, and that an evaluation set too small for its limit is refused. Leaves
out: the choice among those that keep them (`choose`). Pure.
"""

from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import NDArray

from controller.choose import attacked
from controller.choose.goals import Goals
from controller.choose.intervals.smallest import smallest_visible
from controller.choose.measured import Judgement, Measured
from controller.choose.paired import LossBound, PairedTable, loss_bound, samples_needed
from controller.choose.regression import FEWEST_SAMPLES, r2_loss_bound
from controller.choose.speed import SpeedUp, fleet_speed_up
from controller.choose.wording import bytes_text, loss_text, ms_text
from controller.errors import ConfigurationError
from controller.models.labels.kinds import ModelKind


@dataclass(frozen=True)
class Violation:
    """A limit that is not kept. `excess` is value / limit; None where the value is not known at all."""

    limit: str
    text: str
    excess: float | None


@dataclass(frozen=True)
class Judged:
    """One variant against the limits. `excluded`: none of its numbers can be used."""

    variant: str
    excluded: str | None = None
    loss: LossBound | None = None
    speed_up: SpeedUp | None = None
    violations: tuple[Violation, ...] = ()

    @property
    def feasible(self) -> bool:
        """Whether it was measured and keeps every limit."""
        return self.excluded is None and not self.violations


def check_resolvable(goals: Goals, samples: int, kind: ModelKind) -> None:
    """Refuse a limit that the evaluation set cannot decide; call it before anything is measured.

    Args:
        goals: Of one class.
        samples: Size of the evaluation set.
        kind: Of the model.
    Raises:
        ConfigurationError: The limit is of another kind than the model, or smaller than what the samples can show.
    """
    accuracy = goals.max_accuracy_drop_ratio is not None
    if accuracy != (kind == "classification"):
        wanted = "max_accuracy_drop_ratio" if kind == "classification" else "max_r2_drop"
        raise ConfigurationError(f"goals: the model does {kind}, so the limit is {wanted}; rename it")
    if goals.decide_on == "point_estimate":
        return
    if kind == "regression":
        if samples < FEWEST_SAMPLES:
            raise ConfigurationError(
                f"goals: {samples} samples are too few for a bound on R2; {_way_out(FEWEST_SAMPLES)}"
            )
        return
    smallest = smallest_visible(kind, max(samples, 1), goals.confidence)
    if samples < 1 or goals.largest_loss < smallest:
        raise ConfigurationError(
            f"goals.max_accuracy_drop_ratio: {goals.largest_loss:g} cannot be shown with {samples} samples: the "
            f"smallest loss that they can exclude at {goals.confidence:.0%} is {smallest:.4f} "
            f"({100 * smallest:.2f} points); " + _way_out(samples_needed(goals.largest_loss, goals.confidence))
        )


def check_classes(goals: Goals, labels: NDArray[np.int64]) -> None:
    """Refuse an evaluation set of a single class: no loss would be seen of a variant that always answers it.

    Args:
        goals: Of one class of devices.
        labels: True class of each sample, shape (n,).
    Raises:
        ConfigurationError: All are alike, and the limit is decided on a bound.
    """
    if goals.decide_on == "bound" and len(np.unique(labels)) < 2:
        raise ConfigurationError(
            f"goals: all {len(labels)} evaluation samples are of one class, so that a variant that always answers it "
            f"would lose nothing; give samples of two classes or more, or set decide_on: point_estimate"
        )


def judge(goals: Goals, control: Measured, candidate: Measured) -> Judged:
    """Return how `candidate` stands to the limits; the control is judged on all but the loss."""
    excluded = candidate.excluded
    if excluded is not None:
        return Judged(candidate.variant, excluded)
    own = candidate.variant == control.variant
    if (otherwise := _otherwise(control, candidate)) is not None:
        return Judged(candidate.variant, otherwise)
    violations = [
        *_latency(goals, candidate),
        *_rate(goals, candidate),
        *_memory(goals, candidate),
        *_size(goals, candidate),
    ]
    if own:
        return Judged(candidate.variant, violations=tuple(violations))
    before, after = _medians(control), _medians(candidate)
    if not before.keys() & after.keys():
        return Judged(candidate.variant, "no device has usable trials of both this variant and the control at one time")
    loss = _loss(goals, control, candidate)
    return Judged(
        candidate.variant,
        loss=loss,
        speed_up=fleet_speed_up(before, after),
        violations=(*_accuracy(goals, loss), *_under_attack(goals, control, candidate), *violations),
    )


def _way_out(samples: int) -> str:
    return f"raise the limit, give {samples} samples or more, or set decide_on: point_estimate"


def _otherwise(control: Measured, candidate: Measured) -> str | None:
    """Return how the candidate was measured otherwise than the control: beside serving, or in another scenario."""
    if candidate.kinds <= control.kinds:
        return None
    mine, theirs = (" and ".join(sorted(" ".join(kind) for kind in each.kinds)) for each in (candidate, control))
    return f"measured as {mine}, the control as {theirs}: such numbers are compared with themselves only"


def _medians(measured: Measured) -> dict[str, tuple[float, ...]]:
    """Return the process medians by sitting: a device that is slower today is slower for the control too."""
    return {f"{trial.sitting} {trial.terms}": trial.process_medians_ns for trial in measured.usable}


def _loss(goals: Goals, control: Measured, candidate: Measured) -> LossBound | None:
    """Return the worst bound over the devices, each against the control's answers on the same device."""
    known = control.judgements
    pairs = [(known[device], each) for device, each in candidate.judgements.items() if device in known]
    bounds = [paired_loss(*pair, goals.confidence) for pair in pairs]
    return max(bounds, key=lambda bound: bound.upper) if bounds else None


def paired_loss(control: Judgement, variant: Judgement, confidence: float) -> LossBound:
    """Return what a variant lost against the control on the same samples, with its one-sided upper bound.

    Raises:
        ConfigurationError: The two were judged in different ways.
    """
    if control.correct is not None and variant.correct is not None:
        return loss_bound(PairedTable.of(control.correct, variant.correct), confidence)
    if control.squared_errors is None or variant.squared_errors is None or control.variance is None:
        raise ConfigurationError("control and variant were judged in different ways; measure both again")
    return r2_loss_bound(control.squared_errors, variant.squared_errors, control.variance, confidence)


def _accuracy(goals: Goals, loss: LossBound | None) -> list[Violation]:
    name = "max_accuracy_drop_ratio" if goals.max_accuracy_drop_ratio is not None else "max_r2_drop"
    if loss is None:
        return [Violation(name, "accuracy was not measured on a device that measured the control's", None)]
    value = loss.upper if goals.decide_on == "bound" else loss.lost
    if value <= goals.largest_loss:
        return []
    unit = "points" if name == "max_accuracy_drop_ratio" else "R2"
    excess = value / goals.largest_loss if goals.largest_loss else inf
    return [Violation(name, f"{loss_text(loss, unit)}; the limit is {_shown(goals.largest_loss, unit)}", excess)]


def _under_attack(goals: Goals, control: Measured, candidate: Measured) -> list[Violation]:
    found = attacked.broken(goals, control, candidate)
    return [] if found is None else [Violation(attacked.LIMIT, *found)]


def _shown(value: float, unit: str) -> str:
    return f"{100 * value:.2f} points" if unit == "points" else f"{value:.3f}"


def _latency(goals: Goals, candidate: Measured) -> list[Violation]:
    if goals.max_p95_ms is None:
        return []
    p95 = candidate.p95_ns
    if p95 is None:
        return [Violation("max_p95_ms", "p95 is not known: too few single queries, take a higher grade", None)]
    upper = p95.upper / 1e6
    if upper <= goals.max_p95_ms:
        return []
    text = f"p95 {ms_text(p95.value)}, at most {ms_text(p95.upper)}; the limit is {goals.max_p95_ms:g} ms"
    return [Violation("max_p95_ms", text, upper / goals.max_p95_ms)]


def _rate(goals: Goals, candidate: Measured) -> list[Violation]:
    least = goals.min_queries_per_second
    if least is None:
        return []
    query = candidate.query_ns
    if query is None:
        return [Violation("min_queries_per_second", "queries per second were not measured", None)]
    lower = 1e9 / query.upper
    if lower >= least:
        return []
    text = f"{1e9 / query.value:.3g} queries/s, at least {lower:.3g}; the limit is {least:g}"
    return [Violation("min_queries_per_second", text, least / lower if lower else inf)]


def _memory(goals: Goals, candidate: Measured) -> list[Violation]:
    if goals.max_memory_bytes is None:
        return []
    peak = candidate.peak_memory_bytes
    if peak is None:
        return [Violation("max_memory_bytes", "peak memory was not measured", None)]
    return _over("max_memory_bytes", "peak memory", peak, goals.max_memory_bytes)


def _size(goals: Goals, candidate: Measured) -> list[Violation]:
    if goals.max_wire_bytes is None:
        return []
    return _over("max_wire_bytes", "on the wire", candidate.wire_bytes, goals.max_wire_bytes)


def _over(limit: str, what: str, value: int, allowed: int) -> list[Violation]:
    if value <= allowed:
        return []
    return [Violation(limit, f"{what} {bytes_text(value)}; the limit is {bytes_text(allowed)}", value / allowed)]
