"""A series into the model's input: differences, statistics, and the ring of a stream."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import BadQuery
from agent.inference.pre import Place
from agent.inference.pre.series import Series
from controller.models.preprocess import prepare
from tests.unit.agent.inference.series.plain import Doubles, made, series_pre
from wire.spec import MinMax, SeriesPre, TablePre, TensorSpec, ZScore

RANDOM = np.random.default_rng(8)
STREAM: dict[str, Any] = {"channels": 1, "length": 4, "resize": "stream"}


def points(*values: float) -> Doubles:
    return np.array([values])


def answered(stream: Series, *values: float) -> list[float]:
    found: list[float] = stream.prepare(points(*values)).reshape(-1).tolist()
    return found


@pytest.mark.parametrize("missing", ["zero", "forward", "interpolate"])
@pytest.mark.parametrize("difference", [0, 1, 3])
@pytest.mark.parametrize("normalise", [ZScore(), MinMax(low=-1.0)])
def test_a_stream_answers_as_if_its_window_had_come_at_once(difference: int, missing: str, normalise: Any) -> None:
    pre = series_pre(length=6, resize="stream", difference=difference, nan=missing, normalise=normalise)
    stream, needed = made(pre), 6 + difference
    recording = RANDOM.normal(5, 2, (2, 60))
    recording[RANDOM.uniform(size=recording.shape) < 0.2] = np.nan
    end = 0
    for count in (1, 3, needed - 1, 2, 20, 1, 1, 12):
        end += count
        if end < needed:
            with pytest.raises(BadQuery, match=rf"{end} of {needed} points so far"):
                stream.prepare(recording[:, end - count : end])
            continue
        window = recording[np.newaxis, :, end - needed : end]
        given_now: Any = stream.prepare(recording[:, end - count : end])
        np.testing.assert_allclose(given_now, prepare(pre, window), rtol=1e-5, atol=1e-6)


def test_points_that_are_refused_leave_the_ring_as_it_was() -> None:
    stream = made(series_pre(**STREAM))
    assert answered(stream, 1, 2, 3, 4) == [1, 2, 3, 4]
    for wrong in (points(np.nan), points(5, np.inf), np.zeros((2, 1)), np.zeros((1, 0)), np.array([["a"]])):
        with pytest.raises(BadQuery):
            stream.prepare(wrong)
    assert answered(stream, 5) == [2, 3, 4, 5]


def test_missing_points_are_taken_even_where_no_answer_comes_of_them() -> None:
    stream = made(series_pre(**STREAM, nan="forward"))
    for _ in range(3):
        with pytest.raises(BadQuery, match="points so far"):
            stream.prepare(points(np.nan))
    with pytest.raises(BadQuery, match="4 values are not finite"):
        stream.prepare(points(np.nan))
    assert answered(stream, 7) == [7, 7, 7, 7]
    assert answered(stream, np.nan, 8) == [7, 7, 7, 8]


def test_a_whole_window_leaves_nothing_of_what_was_there_and_forgetting_empties_the_ring() -> None:
    stream = made(series_pre(**STREAM))
    answered(stream, 1, 2, 3, 4)
    assert answered(stream, 6, 7, 8, 9) == [6, 7, 8, 9]
    stream.forget()
    with pytest.raises(BadQuery, match="1 of 4 points so far"):
        stream.prepare(points(10))


def test_rows_of_a_batch_take_whole_windows_only() -> None:
    row = np.zeros((1, 1, 4), dtype=np.float32)
    stream = made(series_pre(**STREAM), rows={"x": row})
    stream.prepare(points(1, 2, 3, 4))
    assert row.reshape(-1).tolist() == [1, 2, 3, 4]
    with pytest.raises(BadQuery, match=r"shape \(1, 4\), given \(1, 1\)"):
        stream.prepare(points(5))


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 9), st.integers(0, 4), st.sampled_from(["NCL", "NLC"]), st.integers(0, 2**31))
def test_queries_are_differenced_after_they_are_resampled(length: int, order: int, layout: str, seed: int) -> None:
    shape = (-1, 2, length) if layout == "NCL" else (-1, length, 2)
    tensor = TensorSpec(name="x", shape=shape)
    pre = series_pre(length=length, difference=order, resize="linear", layout=layout, input=tensor)
    query = np.random.default_rng(seed).normal(size=(2, 11))
    found: Any = made(pre).prepare(query)
    np.testing.assert_allclose(found, prepare(pre, query[np.newaxis]), rtol=1e-5, atol=1e-5)


def test_a_query_is_as_long_as_its_differences_need() -> None:
    with pytest.raises(BadQuery, match=r"shape \(2, 7\), given \(2, 5\)"):
        made(series_pre(difference=2)).prepare(np.zeros((2, 5)))


def test_a_constant_window_becomes_low() -> None:
    pre = series_pre(normalise=MinMax(low=-1.0, high=1.0))
    assert made(pre).prepare(np.full((2, 5), 1e9)).tolist() == [[[-1.0] * 5] * 2]


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_a_range_is_quantised(dtype: str) -> None:
    scale = {"scale": 1 / 255, "zero_point": -128 if dtype == "int8" else 0}
    tensor = TensorSpec.model_validate({"name": "x", "shape": (-1, 1, 5), "dtype": dtype, "quantisation": scale})
    pre = SeriesPre(channels=1, length=5, normalise=MinMax(), input=tensor)
    levels = Series(pre, Place({"x": (-1, 1, 5)})).prepare(points(0, 51, 102, 204, 255)).reshape(-1).astype(int)
    assert (levels - scale["zero_point"]).tolist() == [0, 51, 102, 204, 255]


@pytest.mark.parametrize(
    ("normalise", "says"),
    [
        (
            {"method": "z_score", "statistics": "training", "mean": [1.0], "deviation": [1.0]},
            "1 channels where.*2: mean",
        ),
        (
            {"method": "min_max", "statistics": "training", "minimum": [1.0], "maximum": [2.0]},
            "minimum has one for each",
        ),
        ({"method": "robust", "statistics": "training", "median": [1], "interquartile_range": [2]}, "median has one"),
    ],
)
def test_training_statistics_stand_for_each_channel(normalise: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        series_pre(normalise=normalise)


@pytest.mark.parametrize("normalise", [{}, {"method": "min_max", "statistics": "training", "minimum": [1, 1, 1]}])
def test_the_mean_rule_of_rows_needs_a_mean_or_a_median(normalise: dict[str, Any]) -> None:
    more = {"maximum": [2, 2, 2]} if normalise else {"method": "z_score"}
    with pytest.raises(ValueError, match="needs training statistics"):
        TablePre.model_validate(
            {"features": 3, "nan": "mean", "normalise": {**normalise, **more}, "input": {"name": "x", "shape": [-1, 3]}}
        )
