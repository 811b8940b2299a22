"""The controller's pre-processing in numpy: by hand, and the same as the agent's kernels."""

from typing import Any

import numpy as np
import pytest

from agent.errors import BadQuery
from agent.inference.pre import Place, make_pre
from controller.errors import UnusableData
from controller.models.preprocess import prepare
from wire.spec import MinMax, NoNormalisation, PreSpec, Robust, SeriesPre, TablePre, TensorPre, TensorSpec, ZScore

RANDOM = np.random.default_rng(11)


def series_pre(layout: Any = "NCL", channels: int = 2, length: int = 5, **fields: Any) -> SeriesPre:
    shape = (-1, channels, length) if layout == "NCL" else (-1, length, channels)
    spec = TensorSpec(name="x", shape=shape)
    return SeriesPre(channels=channels, length=length, layout=layout, input=spec, **fields)


def table_pre(**fields: Any) -> TablePre:
    return TablePre(features=3, input=TensorSpec(name="x", shape=(-1, 3)), **fields)


TRAINED = ZScore(statistics="training", mean=(1.0, 2.0, 3.0), deviation=(2.0, 0.0, 0.5), epsilon=0.1)
TRAINED_ROBUST = Robust(statistics="training", median=(1.0, 2.0, 3.0), interquartile_range=(2.0, 0.0, 0.5), epsilon=0.1)
BOUNDS: dict[str, Any] = {"statistics": "training", "minimum": (-1.0, 0.0), "maximum": (2.0, 0.0), "low": -1.0}
QUARTILES: dict[str, Any] = {"statistics": "training", "median": (8.0, 9.0), "interquartile_range": (2.0, 4.0)}


def test_a_window_is_normalised_by_its_own_mean_and_deviation() -> None:
    pre = series_pre(channels=1, length=4, normalise=ZScore(ddof=0))
    assert prepare(pre, np.array([[[1.0, 1.0, 3.0, 3.0]]])).tolist() == [[[-1, -1, 1, 1]]]


def test_ddof_one_divides_by_n_minus_one() -> None:
    pre = series_pre(channels=1, length=2, normalise=ZScore(ddof=1))
    assert prepare(pre, np.array([[[0.0, 2.0]]]))[0, 0].tolist() == pytest.approx([-(0.5**0.5), 0.5**0.5])


def test_a_window_that_never_varies_is_zero() -> None:
    pre = series_pre(channels=1, length=3, normalise=ZScore())
    assert prepare(pre, np.full((1, 1, 3), 7.0)).tolist() == [[[0, 0, 0]]]


def test_training_statistics_have_a_floor() -> None:
    assert prepare(table_pre(normalise=TRAINED), np.array([[3.0, 2.5, 3.0]])).tolist() == [[1.0, 5.0, 0.0]]


def test_nan_rules() -> None:
    nan = np.nan
    assert prepare(series_pre(channels=1, length=3, nan="zero"), np.array([[[1, nan, 3]]])).tolist() == [[[1, 0, 3]]]
    filled = prepare(series_pre(channels=1, length=5, nan="interpolate"), np.array([[[nan, 1, nan, 3, nan]]]))
    assert filled.tolist() == [[[1, 1, 2, 3, 3]]]
    rows = prepare(table_pre(nan="mean", normalise=TRAINED), np.array([[nan, nan, 3.5]]))
    assert rows.tolist() == [[0.0, 0.0, 1.0]]


@pytest.mark.parametrize(
    ("pre", "queries", "says"),
    [
        (series_pre(), np.zeros((1, 2, 4)), "length 5 are needed, got 4"),
        (series_pre(), np.zeros((1, 3, 5)), "shape"),
        (series_pre(), np.full((1, 2, 5), np.nan), "nan: error"),
        (series_pre(nan="interpolate"), np.full((1, 2, 5), np.nan), "nothing to interpolate from"),
        (table_pre(), np.zeros((1, 4)), "3 features are needed"),
        (table_pre(), np.full((1, 3), np.nan), "nan: error"),
        (table_pre(nan="mean", normalise=TRAINED), np.array([[np.inf, 1.0, -np.inf]]), "infinite"),
        (series_pre(nan="zero"), np.full((1, 2, 5), np.inf), "infinite"),
        (series_pre(difference=1), np.zeros((1, 2, 5)), "length 6 are needed, got 5"),
        (series_pre(resize="stream"), np.zeros((1, 2, 4)), "from 5 points on, these series have 4"),
    ],
)
def test_what_the_pipeline_refuses(pre: PreSpec, queries: Any, says: str) -> None:
    with pytest.raises(UnusableData, match=says):
        prepare(pre, queries)


@pytest.mark.parametrize("pre", [table_pre(nan="mean", normalise=TRAINED), series_pre(nan="zero")])
def test_the_agent_refuses_infinite_values_too(pre: PreSpec) -> None:
    query = np.full((3,) if pre.kind == "table" else (2, 5), np.inf, dtype=np.float32)
    with pytest.raises(BadQuery, match="infinite"):
        make_pre(pre, Place({pre.input.name: pre.input.shape})).prepare(query)


def with_gaps(*shape: int) -> Any:
    queries = RANDOM.normal(3, 5, shape).astype(np.float32)
    queries[RANDOM.uniform(size=shape) < 0.2] = np.nan
    return queries


@pytest.mark.parametrize(
    ("pre", "queries"),
    [
        (series_pre(normalise=ZScore(ddof=1)), RANDOM.normal(9, 3, (6, 2, 5))),
        (series_pre("NLC", normalise=ZScore()), RANDOM.normal(9, 3, (6, 2, 5))),
        (series_pre("NLC", normalise=NoNormalisation(), nan="zero"), with_gaps(6, 2, 5)),
        (series_pre(normalise=ZScore(), nan="interpolate"), with_gaps(6, 2, 5)),
        (series_pre(resize="linear", normalise=ZScore()), RANDOM.normal(0, 1, (6, 2, 9))),
        (series_pre(resize="linear"), RANDOM.normal(0, 1, (6, 2, 3))),
        (table_pre(normalise=TRAINED), RANDOM.normal(0, 3, (6, 3))),
        (table_pre(normalise=TRAINED, nan="mean"), with_gaps(6, 3)),
        (table_pre(normalise=TRAINED, nan="zero"), with_gaps(6, 3)),
        (table_pre(normalise=ZScore()), RANDOM.normal(0, 3, (6, 3))),
        (table_pre(normalise=TRAINED, nan="mean"), np.array([[np.nan, 1.0, np.nan]])),
        (series_pre(nan="interpolate"), np.array([[[np.nan, 1.0, 2.0, np.nan, 5.0], [np.nan] * 4 + [2.0]]])),
        (series_pre(normalise=MinMax(low=-1.0)), RANDOM.normal(9, 3, (6, 2, 5))),
        (series_pre(normalise=MinMax()), np.full((1, 2, 5), 1e6)),
        (series_pre(normalise=MinMax(**BOUNDS)), RANDOM.normal(0, 1, (6, 2, 5))),
        (series_pre("NLC", normalise=Robust()), RANDOM.normal(9, 3, (6, 2, 5))),
        (series_pre(normalise=Robust(**QUARTILES)), RANDOM.normal(9, 3, (6, 2, 5))),
        (series_pre(nan="forward", normalise=Robust()), with_gaps(6, 2, 5)),
        (series_pre(difference=2, normalise=ZScore()), RANDOM.normal(9, 3, (6, 2, 7))),
        (series_pre(difference=1, resize="linear", nan="interpolate"), with_gaps(6, 2, 9)),
        (series_pre(difference=4, resize="stream", nan="forward"), with_gaps(6, 2, 20)),
        (table_pre(normalise=MinMax()), RANDOM.normal(0, 3, (6, 3))),
        (table_pre(normalise=Robust()), RANDOM.normal(0, 3, (6, 3))),
        (table_pre(normalise=TRAINED_ROBUST, nan="mean"), with_gaps(6, 3)),
        (TensorPre(input=TensorSpec(name="x", shape=(-1, 2, 5))), RANDOM.normal(0, 1, (6, 2, 5))),
    ],
)
def test_the_agents_kernels_give_the_same(pre: PreSpec, queries: Any) -> None:
    sent = np.asarray(queries, dtype=np.float32)
    kernels = make_pre(pre, Place({pre.input.name: pre.input.shape}))
    on_device = np.concatenate([np.array(kernels.prepare(query)) for query in sent])
    assert np.allclose(prepare(pre, sent), on_device, rtol=1e-5, atol=1e-6)
