"""Classification and table kernels against plain numpy."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from agent.inference.kernels.classify import sigmoid, softmax, top_k
from agent.inference.kernels.series import LARGEST
from agent.inference.kernels.table import NAN_RULES, repair_row, rescale

Floats = NDArray[np.float32]
scores_of = st.integers(1, 30).flatmap(
    lambda size: hnp.arrays(np.float32, size, elements=st.floats(-500, 500, width=32, allow_nan=False))
)


@given(scores_of)
def test_softmax(scores: Floats) -> None:
    out = np.zeros_like(scores)
    softmax(scores, out)
    powers = np.exp(scores.astype(np.float64) - scores.max())
    np.testing.assert_allclose(out, powers / powers.sum(), rtol=1e-6, atol=1e-12)


@given(scores_of)
def test_sigmoid_stays_finite_at_both_ends(scores: Floats) -> None:
    out = np.zeros_like(scores)
    sigmoid(scores, out)
    with np.errstate(over="ignore"):
        expected = 1.0 / (1.0 + np.exp(-scores.astype(np.float64)))
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-12)


@given(scores_of, st.integers(1, 30))
def test_top_k_is_a_stable_sort(scores: Floats, k: int) -> None:
    rounded = (np.round(scores / 100) * 100).astype(np.float32)  # so that ties are common
    out = np.zeros(min(k, scores.size), dtype=np.int64)
    top_k(rounded, out)
    expected = sorted(range(scores.size), key=lambda index: (-rounded[index], index))[: out.size]
    assert out.tolist() == expected


def test_nan_counts_as_lowest() -> None:
    out = np.zeros(3, dtype=np.int64)
    top_k(np.array([np.nan, -5.0, 2.0], dtype=np.float32), out)
    assert out.tolist() == [2, 1, 0]


@given(hnp.arrays(np.float64, 6, elements=st.floats(allow_nan=True, allow_infinity=True)))
def test_rows_are_repaired_by_rule(row: NDArray[np.float64]) -> None:
    mean, usable = np.arange(6.0), np.abs(row) <= LARGEST
    for rule, filling in (("zero", np.zeros(6)), ("mean", mean)):
        values = row.copy()
        assert repair_row(values, NAN_RULES[rule], mean) == 0
        np.testing.assert_array_equal(values, np.where(usable, row, filling))
    values = row.copy()
    assert repair_row(values, NAN_RULES["error"], mean) == (~usable).sum()
    np.testing.assert_array_equal(values, row)


def test_rescaling_goes_back_to_units() -> None:
    out = np.zeros(2)
    rescale(np.array([1.5, -2.0], dtype=np.float32), np.array([2.0, 10.0]), np.array([0.5, 1.0]), out)
    assert out.tolist() == [3.5, -19.0]
