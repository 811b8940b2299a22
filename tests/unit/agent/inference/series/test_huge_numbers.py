"""Huge but finite numbers: what is computed from those that are taken is finite, the others are refused by name."""

from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from agent.errors import BadBundle, BadQuery
from agent.inference.kernels.series import LARGEST
from agent.inference.pre import Place, make_pre
from agent.inference.recording import cut_recording
from controller.errors import UnusableData
from controller.models.preprocess import prepare
from tests.unit.agent.inference.series.plain import Doubles, made, series_pre
from wire.spec import MinMax, NoNormalisation, Robust, TablePre, TensorSpec, ZScore
from wire.spec.normalise import LARGEST_NUMBER

RULES: list[Any] = [NoNormalisation(), ZScore(ddof=1), MinMax(low=-1.0), Robust()]
QUANTISED: dict[str, Any] = {"dtype": "int8", "quantisation": {"scale": 0.5, "zero_point": -7}}
HUGE: list[Doubles] = [
    np.array([[1e308, -1e308, 1e308, -1e308, 0.0, 1.0]] * 2),  # its sum fits float64, its squares do not
    np.array([[1e200, -1e200, 1e200, -1e200, 0.0, 1.0]] * 2),
    np.array([[1.7e308] * 6] * 2),
]


def pre_of(rule: Any, tensor: dict[str, Any], **fields: Any) -> Any:
    spec = TensorSpec.model_validate({"name": "x", "shape": (-1, 2, 6 - fields.get("difference", 0)), **tensor})
    return series_pre(length=6 - fields.get("difference", 0), normalise=rule, input=spec, **fields)


def test_both_sides_draw_the_line_at_the_same_number() -> None:
    assert LARGEST == LARGEST_NUMBER


@pytest.mark.parametrize("tensor", [{}, QUANTISED], ids=["float32", "int8"])
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.method)
@pytest.mark.parametrize("query", HUGE, ids=["alternating", "large squares", "level"])
@pytest.mark.parametrize("missing", ["error", "zero", "interpolate", "forward"])
def test_a_series_that_cannot_be_computed_with_is_refused(
    query: Doubles, rule: Any, tensor: dict[str, Any], missing: str
) -> None:
    for fields in ({}, {"difference": 2}, {"resize": "linear"}, {"resize": "stream"}):
        with pytest.raises(BadQuery, match=r"beyond 1e\+100"):
            made(pre_of(rule, tensor, nan=missing, **fields)).prepare(query)


@pytest.mark.parametrize("tensor", [{}, QUANTISED], ids=["float32", "int8"])
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.method)
def test_a_row_that_cannot_be_computed_with_is_refused(rule: Any, tensor: dict[str, Any]) -> None:
    spec = TensorSpec.model_validate({"name": "x", "shape": (-1, 4), **tensor})
    pre = TablePre(features=4, normalise=rule, input=spec)
    with pytest.raises(BadQuery, match=r"2 values are not finite, or beyond 1e\+100"):
        make_pre(pre, Place({"x": (-1, 4)})).prepare(np.array([1e308, -1e308, 1.0, 2.0]))


@pytest.mark.parametrize("rule", RULES[:3], ids=lambda rule: rule.method)
@pytest.mark.parametrize("hop", [1, 6])
def test_a_recording_that_cannot_be_computed_with_is_refused(rule: Any, hop: int) -> None:
    for missing in ("error", "zero"):
        with pytest.raises(BadQuery, match=r"beyond 1e\+100"):
            cut_recording(pre_of(rule, {}, nan=missing), np.repeat(HUGE[0], 4, axis=1), hop)


@settings(max_examples=60)
@given(
    hnp.arrays(np.float64, (2, 6), elements=st.floats(-LARGEST, LARGEST)),
    st.sampled_from(RULES[1:]),
    st.integers(0, 4),
)
def test_what_is_taken_gives_finite_numbers(query: Doubles, rule: Any, difference: int) -> None:
    prepared = made(pre_of(rule, {}, difference=difference))
    # An outlier may be 1e38 times the quartiles' range, which float32 does not hold: it is refused as too large.
    with pytest.raises(BadQuery, match="numbers too large") if too_far(query, rule, difference) else nullcontext():
        found: Any = prepared.prepare(query)
        assert np.isfinite(found).all()
    assert np.isfinite(prepared._statistics.normal).all()


def too_far(query: Doubles, rule: Any, difference: int) -> bool:
    values = np.diff(query, n=difference, axis=1)
    lower, median, upper = np.quantile(values, [0.25, 0.5, 0.75], axis=1, keepdims=True)
    quotients = (values - median) / np.maximum(upper - lower, rule.epsilon)
    return rule.method == "robust" and bool((np.abs(quotients) > np.finfo(np.float32).max).any())


def test_differences_of_huge_numbers_saturate_as_levels_do() -> None:
    levels: Any = made(pre_of(NoNormalisation(), QUANTISED, difference=1)).prepare(np.array([[1e99, -1e99] * 3] * 2))
    assert levels[0, 0].tolist() == [-128, 127, -128, 127, -128]


@pytest.mark.parametrize("query", HUGE, ids=["alternating", "large squares", "level"])
def test_the_controllers_numpy_refuses_the_same(query: Doubles) -> None:
    for rule in RULES:
        with pytest.raises(UnusableData, match=r"beyond 1e\+100"):
            prepare(pre_of(rule, {}), query[np.newaxis])
    with pytest.raises(UnusableData, match="too large for the model's input"):
        prepare(pre_of(NoNormalisation(), {}), np.full((1, 2, 6), 1e60))


@pytest.mark.parametrize(
    ("tensor", "says"),
    [
        ({"dtype": "int64"}, "input 'x' is int64: expected float32, float16, int8, uint8"),
        ({"dtype": "int8"}, "input 'x' is int8: expected its scale and zero point"),
    ],
)
def test_an_input_that_no_numbers_go_into_is_a_bad_bundle(tensor: dict[str, Any], says: str) -> None:
    """The specification refuses them first; what comes past it must not fail at the first query."""
    pre = series_pre()
    changed = pre.model_copy(update={"input": pre.input.model_copy(update=tensor)})
    with pytest.raises(BadBundle, match=says):
        made(changed)
