"""What a candidate is worth before it is timed: made, held against the baseline on the validation samples.

Decides: which candidates are hopeless after a few samples, and what several folds say together. A candidate that
fails costs itself alone. Leaves out: time (`clock.py`) and what is tried next (`study.py`). All values can be sent to
another process.

    examine(recipe, bench).loss  # 0.0025: a quarter of a point of accuracy lost on the validation samples
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controller.choose.intervals.evidence import Evidence, RightOrWrong, SquaredErrors
from controller.choose.intervals.loss import paired_bound
from controller.choose.measured import Judgement
from controller.compress.build import build_wanted
from controller.compress.cache import PassCache
from controller.compress.evaluate import EvaluationContext, OfflineResult, evaluate
from controller.compress.recipe import Recipe
from controller.compress.search.split import Fold, part_of, validation_rows
from controller.compress.variant import FailedVariant, Variant, Wanted, baseline_variant
from controller.errors import UnusableModel
from controller.models.folder import ModelFolder
from controller.models.samples import LabelledData

PROBE = 128
"""Samples of the first look. It is a process more, so that it is taken where the whole look costs many times that."""

PROBE_PAYS_MACS = 50e9
"""Of the whole look, all samples together: some seconds."""

HOPELESS_DB = 8.0
"""Outputs this far from the baseline's are another function: whether a worse one, the labels say."""

SURE = 0.975


@dataclass(frozen=True)
class Look:
    """Samples, and what the baseline answers to them."""

    samples: LabelledData
    baseline: OfflineResult


@dataclass(frozen=True)
class Bench:
    """What all candidates of one search are held against.

    looks: the whole validation part of each fold. probe: some of the first; null: it is too small for a first look.
    limit: the largest loss that is asked for, a ratio.
    """

    model: ModelFolder
    cache: PassCache
    datasets: Path
    folds: tuple[Fold, ...]
    looks: tuple[Look, ...]
    probe: Look | None
    golden: NDArray[Any]
    limit: float
    seed: int = 0

    @property
    def samples(self) -> int:
        """Validation samples of all folds together."""
        return sum(len(look.samples) for look in self.looks)


@dataclass(frozen=True)
class Finding:
    """What became of one candidate.

    variant: of the first fold. results: one a fold; empty where it failed or was hopeless. loss: of accuracy or R2, a
    ratio, below 0 where something was gained. failed, hopeless: the reason; empty where it is not.
    """

    recipe: Recipe
    variant: Variant | None = None
    results: tuple[OfflineResult, ...] = ()
    loss: float | None = None
    failed: str = ""
    hopeless: str = ""
    wall_s: float = 0.0
    notes: tuple[str, ...] = field(default=())


def open_bench(
    model: ModelFolder, cache: PassCache, datasets: Path, folds: tuple[Fold, ...], golden: NDArray[Any], *, limit: float
) -> Bench:
    """Return the bench of a model, its baseline judged.

    Raises:
        UnusableModel: The baseline cannot be run or judged.
    """
    context = EvaluationContext(cache, golden)
    looks = tuple(_look(model, fold.validation, context) for fold in folds)
    first, probe = folds[0].validation, None
    if len(first) > 3 * PROBE and looks[0].baseline.macs * len(first) >= PROBE_PAYS_MACS:
        rows = validation_rows(first, seed=1)
        probe = _look(model, part_of(first, rows[np.linspace(0, len(rows) - 1, PROBE).astype(int)], "probe"), context)
    return Bench(model, cache, datasets, folds, looks, probe, golden, limit)


def _look(model: ModelFolder, samples: LabelledData, context: EvaluationContext) -> Look:
    return Look(samples, evaluate(baseline_variant(model), samples, None, context))


def examine(recipe: Recipe, bench: Bench) -> Finding:
    """Make a candidate and judge it; whatever is wrong with it is in the finding."""
    started, found = time.monotonic(), Finding(recipe)
    try:
        found = _examined(recipe, bench)
    except UnusableModel as exc:
        found = Finding(recipe, failed=str(exc))
    return replace(found, wall_s=time.monotonic() - started)


def _examined(recipe: Recipe, bench: Bench) -> Finding:
    made = [made_of(recipe, bench, fold.calibration, fold.training) for fold in bench.folds]
    for each in made:
        if isinstance(each, FailedVariant):
            return Finding(recipe, failed=each.because)
    variants = [each for each in made if isinstance(each, Variant)]
    context = EvaluationContext(bench.cache, bench.golden)
    if bench.probe is not None:
        seen = _judged(variants[0], bench.probe, context)
        if reason := hopeless(bench.probe, seen, bench.limit):
            return _found(recipe, variants[0], [bench.probe], [seen], reason)
    results = [_judged(each, look, context) for each, look in zip(variants, bench.looks, strict=True)]
    why = hopeless(bench.looks[0], results[0], bench.limit)
    return _found(recipe, variants[0], bench.looks, results, why)


def made_of(
    recipe: Recipe, bench: Bench, calibration: NDArray[Any], training: LabelledData | None
) -> Variant | FailedVariant:
    """Make one variant, for the first engine of its format; a pass that was run before is not run again."""
    form, places = recipe.formats[0], {"datasets": bench.datasets, "training": training}
    wanted = Wanted(recipe, form, recipe.engines_of(form)[0])
    return build_wanted(bench.model, [wanted], calibration, bench.cache, lambda *_: None, **places)[0]  # type: ignore[arg-type]


def _judged(variant: Variant, look: Look, context: EvaluationContext) -> OfflineResult:
    return evaluate(variant, look.samples, look.baseline.outputs(), context)


def _found(
    recipe: Recipe, variant: Variant, looks: Sequence[Look], results: Sequence[OfflineResult], why: str
) -> Finding:
    every = sum(len(look.samples) for look in looks)
    lost = [
        (look.baseline.accuracy - result.accuracy) * len(look.samples)
        for look, result in zip(looks, results, strict=True)
    ]
    return Finding(recipe, variant, tuple(results), sum(lost) / every, hopeless=why, notes=results[0].notes)


def hopeless(look: Look, result: OfflineResult, limit: float) -> str:
    """Return why a candidate needs no further look, or nothing.

    Its outputs are far from the baseline's, and it surely loses more than the limit. Either alone is no reason: a
    trained student answers otherwise and well, and a small loss needs many samples to be seen.
    """
    if result.sqnr_db is None or result.sqnr_db >= HOPELESS_DB:
        return ""
    least = least_loss(look.baseline.evidence, result.evidence, SURE)
    if least is None or least <= limit:
        return ""
    return (
        f"hopeless: outputs {result.sqnr_db:.1f} dB from the baseline's, at least {100 * least:.1f} points lost on "
        f"{len(look.samples)} samples"
    )


def least_loss(control: Evidence, variant: Evidence, confidence: float) -> float | None:
    """Return the lower confidence bound of the loss: what the control at most lost against the variant, negated."""
    try:
        return -paired_bound(variant, control, confidence).upper
    except ValueError:
        return None  # too few samples for a bound of this kind


def judgement_of(results: Sequence[OfflineResult]) -> Judgement:
    """Return the answers to the validation samples of all folds, as the choice takes them."""
    evidence = [each.evidence for each in results]
    right = [each.correct for each in evidence if isinstance(each, RightOrWrong)]
    errors = [each for each in evidence if isinstance(each, SquaredErrors)]
    return Judgement(
        results[0].metrics,
        correct=np.concatenate(right) if right else None,
        squared_errors=np.concatenate([each.errors for each in errors]) if errors else None,
        variance=float(np.mean([each.variance for each in errors])) if errors else None,
    )
