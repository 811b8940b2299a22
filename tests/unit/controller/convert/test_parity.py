"""Parity: the measures, their limits, and what no measure is taken of."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from controller.convert.making.routes import PRECISIONS
from controller.convert.parity import LIMITS, LOWEST_SQNR_DB, WEIGHT_LIMITS_DB, Limits, Parity, compare, fault

SOURCE = np.array([[3.0, 1.0], [0.0, 2.0], [5.0, 4.0]])


def test_equal_outputs_have_no_noise() -> None:
    parity = compare(SOURCE, SOURCE.astype(np.float32), "classification")
    assert parity == Parity(None, 1.0, 0.0, 3)
    assert fault(parity, Limits(200.0, 1.0)) is None


def test_noise_and_agreement() -> None:
    given = SOURCE + np.array([[0.0, 0.0], [0.0, 0.0], [-2.0, 0.0]])
    parity = compare(SOURCE, given, "classification")
    assert parity.sqnr_db == pytest.approx(10 * np.log10(55 / 4))
    assert parity.top1_agreement_ratio == pytest.approx(2 / 3)
    assert parity.largest_difference == 2.0


@pytest.mark.parametrize("kind", ["regression", "detection", "segmentation"])
def test_only_classes_have_a_largest_output(kind: str) -> None:
    assert compare(SOURCE, SOURCE + 0.1, kind).top1_agreement_ratio is None  # type: ignore[arg-type]


def test_outputs_are_compared_one_row_a_query() -> None:
    maps = np.arange(24.0).reshape(2, 3, 2, 2)
    assert compare(maps, maps.reshape(2, 12), "segmentation").sqnr_db is None


def test_a_source_of_zeros_gives_a_number_that_json_carries() -> None:
    parity = compare(np.zeros((2, 2)), np.ones((2, 2)), "regression")
    assert parity.sqnr_db == LOWEST_SQNR_DB
    assert json.loads(json.dumps(asdict(parity), allow_nan=False))["samples"] == 2


@pytest.mark.parametrize(
    ("outputs", "says"),
    [
        (np.array([[np.nan, 1.0], [1.0, 1.0], [1.0, 1.0]]), r"the conversion gives NaN .* first for query 0"),
        (np.array([[1.0, 1.0], [1.0, 1.0], [1.0, np.inf]]), r"first for query 2"),
        (SOURCE[:2], r"shape \(2, 2\), the source \(3, 2\)"),
        (SOURCE[:, :1], r"shape \(3, 1\)"),
        (np.zeros((0, 2)), "the conversion gave no outputs"),
    ],
)
def test_what_cannot_be_compared_is_told(outputs: np.ndarray, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        compare(SOURCE, outputs, "classification")


def test_either_limit_flags() -> None:
    assert "at least 30 are needed" in str(fault(Parity(29.9, 1.0, 0.5, 10), Limits(30.0, 0.9)))
    assert "in 80.0% of 10 queries, at least 90.0%" in str(fault(Parity(40.0, 0.8, 0.5, 10), Limits(30.0, 0.9)))
    assert fault(Parity(30.0, 0.9, 0.5, 10), Limits(30.0, 0.9)) is None
    assert fault(Parity(30.0, None, 0.5, 10), Limits(30.0, 0.9)) is None


def test_every_target_and_precision_has_its_limit() -> None:
    wanted = {(target, each) for target, precisions in PRECISIONS.items() for each in precisions if target != "coreml"}
    assert set(LIMITS) == wanted
    assert set(WEIGHT_LIMITS_DB) == set(PRECISIONS["coreml"])
    assert [WEIGHT_LIMITS_DB[each] for each in PRECISIONS["coreml"]] == sorted(WEIGHT_LIMITS_DB.values(), reverse=True)
