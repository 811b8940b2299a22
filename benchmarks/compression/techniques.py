"""Each shipped recipe for ONNX on each reference model: made, judged on the evaluation samples, and timed in turns.

Decides: which recipes are techniques of their own, and that time is measured against the fp32 baseline in the same
process, three times. Leaves out: recipes for other engines (the benchmark `engines`), and rows (`rows.py`).
"""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.common import Claim, at_most, repository
from benchmarks.compression.rows import Row, Shelf, key_of, load
from controller.compress.build import build_wanted
from controller.compress.cache import PassCache
from controller.compress.evaluate import EvaluationContext, OfflineResult, evaluate
from controller.compress.passes import PASSES, find_pass
from controller.compress.process.run import modules_digest
from controller.compress.recipe import Recipe
from controller.compress.search.timing.clock import HostClock, Laps
from controller.compress.shipped import shipped_recipes
from controller.compress.variant import BASELINE, FailedVariant, Variant, Wanted, baseline_variant, recipe_document
from controller.errors import UnusableModel
from controller.models.folder import ModelFolder
from controller.models.samples import LabelledData, calibration_samples, evaluation_samples, golden_inputs

MODELS = ("leaf_outline", "fashion", "soil_carbon")
FORM = "onnx"
PROCESSES = 3
Say = Callable[[str], None]


class Bench:
    """Where everything is kept, and which recipes are tried."""

    def __init__(self, state: Path, quick: bool) -> None:
        self.cache, self.datasets = PassCache(state / "cache"), state / "datasets"
        self.state, self.quick = state, quick

    def recipes(self) -> list[Recipe]:
        """Return the recipes for ONNX; without those that train where this is to be quick."""
        every = [each for each in shipped_recipes().values() if each.formats == (FORM,) and not each.conversion]
        return [each for each in every if not (self.quick and trains(each))]


def trains(recipe: Recipe) -> bool:
    """Return whether a pass of it trains."""
    return any(find_pass(name).needs.training for name in recipe.pass_names if name in PASSES)


def technique_rows(name: str, bench: Bench, shelf: Shelf, say: Say) -> Iterator[Row]:
    """Yield the baseline's row and one for each recipe; those that are kept are not measured again."""
    judge = judge_of(name, bench)
    for recipe, key in row_keys(name, judge):
        row = shelf.row(key)
        if row is None:
            row = judge.row(recipe)
            shelf.keep(key, row)
            say(f"{name}: {row.recipe}: {row.because or row.counted()}")
        yield row


def judge_of(name: str, bench: Bench) -> "Judge":
    """Return the judge of a reference model."""
    return Judge(ModelFolder.load(repository() / "models" / name), bench)


def row_keys(name: str, judge: "Judge") -> Iterator[tuple[Recipe | None, str]]:
    """Yield the baseline, as None, and each recipe, with what decides its row."""
    for recipe in (None, *judge.bench.recipes()):
        document = None if recipe is None else recipe_document(recipe)
        yield recipe, key_of(name, document, judge.samples.digest, recipe_code(recipe))


def recipe_code(recipe: Recipe | None) -> list[str]:
    """Return the digests of the passes' sources: a pass that changed is measured again."""
    passes = [find_pass(each) for each in (recipe.pass_names if recipe else ())]
    return [modules_digest(type(each).__module__, *each.needs.sources) for each in passes]


class Judge:
    """One model: its baseline, its samples, and what is made of it."""

    def __init__(self, model: ModelFolder, bench: Bench) -> None:
        self.model, self.bench = model, bench
        self.samples: LabelledData = evaluation_samples(model, bench.datasets)
        golden = golden_inputs(model, bench.datasets)
        self.context = EvaluationContext(bench.cache, golden)
        self.clock = HostClock(bench.state / "clock.lock", golden)
        self.baseline = baseline_variant(model)
        self.judged = evaluate(self.baseline, self.samples, None, self.context)

    def row(self, recipe: Recipe | None) -> Row:
        """Return what comes of a recipe, or of nothing."""
        if recipe is None:
            return self._row(BASELINE, self.baseline, self.judged, 0.0)
        started = time.monotonic()
        made = self.made(recipe, self.bench.cache)
        if isinstance(made, FailedVariant):
            return Row(self.model.name, recipe.name, because=made.because)
        took_s = time.monotonic() - started
        try:
            result = evaluate(made, self.samples, self.judged.outputs(), self.context)
        except UnusableModel as exc:
            return Row(self.model.name, recipe.name, because=str(exc))
        return self._row(recipe.name, made, result, took_s)

    def made(self, recipe: Recipe, cache: PassCache) -> Variant | FailedVariant:
        """Return what comes of a recipe, from the cache where it is there."""
        wanted = [Wanted(recipe, FORM, recipe.engines_of(FORM)[0])]
        calibration = calibration_samples(self.model, self.bench.datasets)
        return build_wanted(self.model, wanted, calibration, cache, _quiet, datasets=self.bench.datasets)[0]

    def _row(self, name: str, variant: Variant, result: OfflineResult, took_s: float) -> Row:
        return Row(
            self.model.name,
            name,
            score=result.accuracy,
            right=None if result.correct is None else int(result.correct.sum()),
            samples=result.samples,
            sqnr_db=result.sqnr_db,
            parameters=result.parameters,
            macs=result.macs,
            disk_bytes=result.disk_bytes,
            wire_bytes=result.wire_bytes,
            wire_ratio=result.wire_bytes / self.judged.wire_bytes,
            made_s=round(took_s, 1),
            load=load(),
            **self.times(variant),
        )

    def times(self, variant: Variant) -> dict[str, Any]:
        """Return a variant's times beside the baseline's, as a row has them; or why it was not timed."""
        try:
            return _times(self.clock.sitting([self.baseline, variant], PROCESSES)[1])
        except UnusableModel as exc:
            return {"untimed": f"not timed: {exc}"}


def _times(laps: Laps) -> dict[str, Any]:
    return {
        "untimed": "",
        "p50_ms": laps.median_ns / 1e6,
        "time_ratio": laps.ratio,
        "time_low": min(laps.ratios),
        "time_high": max(laps.ratios),
    }


def technique_claims(rows: Sequence[Row]) -> list[Claim]:
    """Return that every cell holds a number or what is against it."""
    empty = [
        row for row in rows if not row.because and (row.score is None or (row.time_ratio is None and not row.untimed))
    ]
    lacking = [row for row in rows if "controller model converters install" in row.because]
    how = f"{len(rows)} rows: {sum(not row.because for row in rows)} variants, the rest with what is against it"
    missing = "recipes that train and the environment torch is not installed" if lacking else "nothing was missing here"
    return [
        at_most("techniques without a row", len(empty), 0, "", how),
        at_most("techniques that were not run", len(lacking), 0, "", missing),
    ]


def _quiet(_name: str, _what: str) -> None:
    """Take no notice of single steps."""
