"""The picks of both searches beside each other on their device, in the same sittings, in turns with the control.

Decides: that a pick's file is made with all calibration samples, as a deploy makes it, and that a class which kept its
control has the control's time. Leaves out: the verdict.
"""

import math
import statistics
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.compression.fleet.arms import ARMS, Arm
from benchmarks.compression.fleet.rules import Rules
from benchmarks.compression.fleet.site import Site, site
from controller.compress.build import build_wanted
from controller.compress.cache import PassCache
from controller.compress.evaluate import EvaluationContext, evaluate
from controller.compress.recipe import Recipe
from controller.compress.search.classes.measurer import Subject
from controller.compress.variant import FailedVariant, Wanted, baseline_variant
from controller.errors import UnusableModel
from controller.models.catalogue import find_model
from controller.models.folder import ModelFolder
from controller.models.samples import calibration_samples, evaluation_samples, golden_inputs
from controller.tuning.measurer import FleetMeasurer
from controller.tuning.site import Asked, opened_fleet, search_settings

Found = Mapping[Arm, Mapping[str, Any]]
"""Arm -> what its devices gave."""


def compared(seed: int, found: Found, folder: Path, shared: Path, rules: Rules) -> dict[str, dict[str, Any]]:
    """Return class -> picks, and the logarithm of the devices' pick's time over the host's pick's in each sitting."""
    classes = {name: _picks(found, name) for name in rules.classes}
    if all(same(picks) for picks in classes.values()):
        return {name: _row(picks, [0.0]) for name, picks in classes.items()}
    rows: dict[str, list[float]] = {name: [] for name in classes}
    place = folder / f"seed-{seed}" / "final"
    with site(place, shared, rules) as there:
        picks = _Picks(there)
        for sitting in range(rules.final_sittings):
            with picks.measurer(f"final-{seed}-{sitting + 1}") as measurer:
                for name, ratio in _sat(measurer, picks, classes).items():
                    rows[name].append(ratio)
    return {name: _row(picks, rows[name]) for name, picks in classes.items()}


def same(picks: Mapping[str, Any]) -> bool:
    """Tell whether both searches found the same."""
    return bool(picks["host"]["recipe"] == picks["devices"]["recipe"])


def _picks(found: Found, name: str) -> dict[str, Any]:
    return {arm: found[arm]["classes"][name] for arm in ARMS}


def _row(picks: Mapping[str, Any], ratios: list[float]) -> dict[str, Any]:
    kept = {arm: {key: each[key] for key in ("pick", "recipe", "ratio", "loss", "wire_bytes", "measured")}
            for arm, each in picks.items()}  # fmt: skip
    return {
        **kept,
        "same": same(picks),
        "log_ratios": ratios,
        "log_ratio": statistics.fmean(ratios) if ratios else None,
    }


class _Picks:
    """Files of picks, and devices that measure them."""

    def __init__(self, there: Site) -> None:
        self._there, place = there, there.workspace
        self.model: ModelFolder = find_model(there.found.fleet_file.workload("main").model, place.models)
        self._cache = PassCache(place.cache)
        self._samples = evaluation_samples(self.model, place.datasets)
        self._golden = golden_inputs(self.model, place.datasets)
        self._calibration = calibration_samples(self.model, place.datasets)
        self._context = EvaluationContext(self._cache, self._golden)
        self.control = self._subject(None)

    def subject(self, pick: Mapping[str, Any]) -> Subject | None:
        """Return a pick; None where the class kept its control."""
        return None if pick["recipe"] is None else self._subject(Recipe.model_validate(pick["recipe"]))

    def _subject(self, recipe: Recipe | None) -> Subject:
        variant = baseline_variant(self.model)
        if recipe is not None:
            form = recipe.formats[0]
            wanted = [Wanted(recipe, form, recipe.engines_of(form)[0])]
            datasets = self._there.workspace.datasets
            made = build_wanted(self.model, wanted, self._calibration, self._cache, _quiet, datasets=datasets)[0]
            if isinstance(made, FailedVariant):
                raise UnusableModel(f"{recipe.name} could not be made again: {made.because}")
            variant = made
        return Subject(variant, evaluate(variant, self._samples, None, self._context).golden_outputs)

    @contextmanager
    def measurer(self, search: str) -> Iterator[FleetMeasurer]:
        """Yield the devices, for sittings of a name of their own."""
        settings = search_settings(self._there.found, "main", self.model)
        asked = Asked(search, math.inf, [self.control], self._golden)
        with opened_fleet(self._there.workspace, self._there.found, settings, asked) as measurer:
            yield measurer


def _sat(measurer: FleetMeasurer, picks: _Picks, classes: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Return class -> the logarithm of the ratio in one sitting; a class whose record is void is left out."""
    wanted, ratios = {}, dict[str, float]()
    for name, pair in classes.items():
        every = {arm: picks.subject(pair[arm]) for arm in ARMS}
        subjects = {each.variant.name: each for each in every.values() if each is not None}
        if not same(pair) and subjects:
            wanted[name] = list(subjects.values())
    readings = measurer.measure(wanted)
    for name, pair in classes.items():
        logs = [0.0 if pair[arm]["pick"] is None else _log(readings.get((name, pair[arm]["pick"]))) for arm in ARMS]
        known = [each for each in logs if each is not None]
        if same(pair):
            ratios[name] = 0.0
        elif len(known) == len(ARMS):
            ratios[name] = known[1] - known[0]
    return ratios


def _log(reading: Any) -> float | None:
    return None if reading is None or reading.ratio is None else math.log(reading.ratio)


def _quiet(_name: str, _what: str) -> None:
    """Take no notice of single steps."""
