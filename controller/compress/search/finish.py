"""What comes of a search: the front made again as it would be deployed, timed properly, picked from, and judged.

Decides: the pick, on the validation samples, by the rules of `controller/choose`; the numbers that are reported, on the
evaluation samples, which nothing before this looked at. Leaves out: the report's form (`controller/report/compress`).

Files of the front are made again with all calibration samples, as `model compress --recipe` and a deploy do: what is
reported is what the recipe gives. Those that were trained stay as they were found, unless there were several folds: no
fold's network is the one that was judged, and all samples train it.
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf

from controller.choose.choose import Choice, choose
from controller.choose.goals import Goals
from controller.choose.intervals.loss import Claim, claim
from controller.choose.measured import Estimate, Judgement, Measured, TrialSummary
from controller.choose.paired import smallest_resolvable
from controller.choose.regression import FEWEST_SAMPLES
from controller.choose.speed import SpeedUp, median_latency, speed_up
from controller.compress.evaluate import EvaluationContext, OfflineResult, evaluate
from controller.compress.search.cost import is_trained
from controller.compress.search.examine import Bench, examine, judgement_of, made_of
from controller.compress.search.front import best_of, front_of, most_of
from controller.compress.search.study import Row
from controller.compress.search.timing.clock import Clock, Laps
from controller.compress.variant import BASELINE, FailedVariant, Variant, baseline_variant
from controller.models.samples import LabelledData, calibration_samples

MOST_FINAL = 6
"""Members of the front that are made again and timed properly."""

PROCESSES = 5
"""Fresh processes of the last sitting: the process is the unit of replication."""

CONFIDENCE = 0.95
"""Of each bound by itself."""


@dataclass(frozen=True)
class Final:
    """One variant of the end. row: null for the baseline. judgement: on the validation samples. result, claim: on the
    evaluation samples."""

    variant: Variant
    row: Row | None
    judgement: Judgement
    laps: Laps
    result: OfflineResult
    memory_bytes: int | None = None
    claim: Claim | None = None

    @property
    def p50_ns(self) -> Estimate:
        """Median inference [ns]."""
        found = median_latency(self.laps.ns)
        assert found is not None  # a sitting has a process at least
        return found

    @property
    def speed_up(self) -> SpeedUp:
        """Against the baseline, from the ratios of the same rounds: what slows both down is in neither."""
        return speed_up([1.0] * len(self.laps.ratios), self.laps.ratios)


@dataclass(frozen=True)
class Finished:
    """finals: the baseline, then the front, fastest first. decided_on: `bound` or `point_estimate`. lost: members of
    the front that could not be made again, with the reason."""

    finals: tuple[Final, ...]
    choice: Choice
    decided_on: str
    lost: dict[str, str]

    @property
    def winner(self) -> str | None:
        """The variant that is taken; null where nothing keeps the limit."""
        return self.choice.winner


def finish(
    bench: Bench,
    rows: Sequence[Row],
    clock: Clock,
    evaluation: LabelledData,
    told: Callable[[str], None],
    *,
    first: Sequence[Row] = (),
) -> Finished:
    """Make, time, pick and judge.

    Args:
        bench: Of the search.
        rows: What it found.
        clock: Times the front and the baseline beside each other.
        evaluation: The samples that the report's numbers come from.
        told: Is told what is done.
        first: Rows that are among the finals in any case, before those of the front.
    Raises:
        UnusableModel: The baseline cannot be judged or timed.
    """
    chosen = _chosen(rows, first)
    told(f"making the {len(chosen)} best again, with all calibration samples")
    made, lost = _made_again(bench, chosen)
    told("timing them beside the baseline")
    laps = clock.sitting([baseline_variant(bench.model), *(one.variant for one in made)], PROCESSES)
    told(f"judging them on {len(evaluation)} evaluation samples")
    finals = _judged(bench, made, laps, evaluation, clock)
    choice, decided_on = pick(finals, bench.limit, evaluation.kind)
    return Finished(tuple(finals), choice, decided_on, lost)


def seconds_needed(rows: Sequence[Row], folds: int = 1) -> float:
    """Return about how long the end takes [s]: files to make, workers to judge them, and turns in each process."""
    again = most_of(front_of(rows), MOST_FINAL)
    made = [0.0 if folds == 1 and is_trained(row.as_recipe()) else row.wall_s / folds for row in again]
    return sum(made) + (len(made) + 1) * PROCESSES * 0.7 if made else 0.0


def _chosen(rows: Sequence[Row], first: Sequence[Row]) -> list[Row]:
    ordered = {row.variant: row for row in (*first, *most_of(front_of(rows), MOST_FINAL))}
    return list(ordered.values())[: max(MOST_FINAL, len({row.variant for row in first}))]


@dataclass(frozen=True)
class _Made:
    """A member of the front with its file, and its answers to the validation samples."""

    row: Row
    variant: Variant
    judgement: Judgement


def _made_again(bench: Bench, rows: Sequence[Row]) -> tuple[list[_Made], dict[str, str]]:
    """Return the front's members, and why others are lost."""
    calibration = calibration_samples(bench.model, bench.datasets)
    made, lost = list[_Made](), dict[str, str]()
    for row in rows:
        recipe = row.as_recipe()
        found = examine(recipe, bench)  # all of it is kept: nothing is run again
        stays = is_trained(recipe) and len(bench.folds) == 1
        variant = found.variant if stays else made_of(recipe, bench, calibration, None)
        if isinstance(variant, Variant) and found.results:
            made.append(_Made(row, variant, judgement_of(found.results)))
        else:
            because = variant.because if isinstance(variant, FailedVariant) else found.failed or found.hopeless
            lost[row.variant] = because
    return made, lost


def _judged(
    bench: Bench, made: Sequence[_Made], laps: Sequence[Laps], evaluation: LabelledData, clock: Clock
) -> list[Final]:
    context = EvaluationContext(bench.cache, bench.golden)
    control = baseline_variant(bench.model)
    known = evaluate(control, evaluation, None, context)
    seen = judgement_of([look.baseline for look in bench.looks])
    finals = [Final(control, None, seen, laps[0], known, clock.peak_memory(control))]
    for one, lap in zip(made, laps[1:], strict=True):
        result = evaluate(one.variant, evaluation, known.outputs(), context)
        said = claim(evaluation.kind, known.evidence, result.evidence, CONFIDENCE)
        memory = clock.peak_memory(one.variant)
        finals.append(Final(one.variant, one.row, one.judgement, lap, result, memory, said))
    return finals


def pick(finals: Sequence[Final], limit: float, kind: str) -> tuple[Choice, str]:
    """Choose among the finals on the validation samples; on the bound of what is lost where these can show it.

    Where no bound keeps the limit, what was seen decides; which of the two it was is returned beside.
    """
    if kind not in ("classification", "regression"):
        return _plain(finals), "point_estimate"
    control, *others = [_measured(each, finals[0]) for each in finals]
    if limit > 0 and _resolves(finals[0].judgement.samples, limit, kind):
        choice = choose(_goals(limit, kind, "bound"), control, others)
        if choice.winner not in (None, BASELINE):
            return choice, "bound"
    return choose(_goals(limit, kind, "point_estimate"), control, others), "point_estimate"


def _plain(finals: Sequence[Final]) -> Choice:
    """Return the choice for kinds whose loss the rules for devices do not compare."""
    best = best_of([each.row for each in finals if each.row is not None])
    if best is None:
        return Choice(BASELINE, "no variant keeps the limit")
    others = [each.variant.name for each in finals if each.variant.name != best.variant]
    because = "the fastest that keeps the limit; of those nearly as fast, the smallest"
    return Choice(best.variant, because, dict.fromkeys(others, f"slower than {best.variant}, or larger"))


def _resolves(samples: int, limit: float, kind: str) -> bool:
    return samples >= FEWEST_SAMPLES if kind == "regression" else smallest_resolvable(samples, CONFIDENCE) <= limit


def _goals(limit: float, kind: str, decide_on: str) -> Goals:
    name = "max_r2_drop" if kind == "regression" else "max_accuracy_drop_ratio"
    return Goals.model_validate(
        {name: limit, "decide_on": decide_on, "confidence": CONFIDENCE, "minimise": ["p50_ms", "wire_bytes"]}
    )


def _measured(final: Final, control: Final) -> Measured:
    """Return a final as the choice takes it.

    Its processes' medians are ratios to the baseline's in the same process, times the baseline's usual one: so the
    choice compares in pairs.
    """
    usual = statistics.geometric_mean(control.laps.ns)
    medians = tuple(usual * ratio for ratio in final.laps.ratios)
    trial = TrialSummary(
        trial="host",
        device="host",
        variant=final.variant.name,
        bundle="",
        control=final.row is None,
        outcome="measured",
        grade="search",
        process_medians_ns=medians,
        p50_ns=Estimate(statistics.geometric_mean(medians), 0.0, inf),
        peak_memory_bytes=final.memory_bytes,
        judgement=final.judgement,
    )
    return Measured(final.variant.name, "", final.result.wire_bytes, final.result.disk_bytes, (trial,))
