"""What must hold for all fleets: units and names do not matter, and no record's conditions break the view."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.trial.fleetwide.causes import diagnose
from controller.trial.fleetwide.components import fit
from controller.trial.fleetwide.document import class_document
from controller.trial.fleetwide.effects import Value, outlying
from controller.trial.fleetwide.observed import Cell, observe
from controller.trial.fleetwide.prediction import predict
from controller.trial.fleetwide.readings import read
from controller.trial.fleetwide.survey import survey_classes
from tests.unit.controller.trial.fleetwide.kit import record

KEYS = (
    "before", "after", "temperatures_celsius", "cooling", "cpufreq-cpu0", "throttled_bits", "frequencies_khz",
    "governor", "frequency_max_khz", "steal_ticks", "total_ticks", "psi_cpu_some_avg10", "drift_ratio",
    "disturbed_ratio", "cpu_model", "power_mode", "power_source", "serving_policy",
)  # fmt: skip
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
)
CONDITIONS = st.dictionaries(st.sampled_from(KEYS), JSON, max_size=8)
LOGS = st.floats(-0.5, 0.5)


@settings(max_examples=40, deadline=None)
@given(CONDITIONS, CONDITIONS)
def test_no_conditions_break_the_readings(first: dict[str, Any], second: dict[str, Any]) -> None:
    own = read([record("x", "fp32", readings=first, conditions=second)])
    rest = [read([record("y", "fp32", readings=second)])]
    for slower in (True, False):
        found = diagnose(own, rest, slower=slower)
        assert all(len(each) < 200 for each in found.evidence)


@settings(max_examples=15, deadline=None)
@given(CONDITIONS, st.lists(st.floats(0.01, 100.0), min_size=1, max_size=6))
def test_every_fleet_has_a_document(conditions: dict[str, Any], factors: list[float]) -> None:
    records = [
        record(f"d{number}", variant, each, readings=conditions, conditions=conditions)
        for number, each in enumerate(factors)
        for variant in ("fp32", "int8")
    ]
    for survey in survey_classes([("pi5", each) for each in records]):
        json.dumps(class_document(survey), allow_nan=False)


@settings(max_examples=15, deadline=None)
@given(st.floats(0.1, 50.0), st.lists(LOGS, min_size=2, max_size=4), st.integers(0, 2**32 - 1))
def test_a_unit_only_shifts(factor: float, devices: list[float], seed: int) -> None:
    chance = np.random.default_rng(seed)
    samples = [[np.exp(17 + level + chance.normal(0, 0.05, 40)) for _ in range(3)] for level in devices]

    def cells(scale: float) -> list[Cell]:
        return [
            Cell(f"d{number}", "v", False, tuple(observe(scale * each) for each in theirs))  # type: ignore[arg-type]
            for number, theirs in enumerate(samples)
        ]

    one, other = fit(cells(1.0)), fit(cells(factor))
    assert [each.variance for each in one.components] == pytest.approx(
        [each.variance for each in other.components], rel=1e-6, abs=1e-12
    )
    first, second = (predict(model, cells(scale), tails=True) for model, scale in ((one, 1.0), (other, factor)))
    assert first.p95_ns is not None
    assert second.p95_ns is not None
    assert second.p95_ns.value == pytest.approx(factor * first.p95_ns.value, rel=1e-3)
    assert first.p50_ns.value <= first.p95_ns.value


@settings(max_examples=60, deadline=None)
@given(st.lists(LOGS, min_size=2, max_size=9), st.randoms(use_true_random=False))
def test_who_stands_out_does_not_depend_on_the_order(logs: list[float], order: Any) -> None:
    values = {f"d{number}": Value(each, 0.0) for number, each in enumerate(logs)}
    names = list(values)
    order.shuffle(names)
    assert outlying({name: values[name] for name in names}) == outlying(values)
