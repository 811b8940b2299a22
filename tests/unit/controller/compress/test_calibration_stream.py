"""Ranges observed in a stream equal those over everything at once, whatever the batch."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from controller.compress.calibrate import stream
from controller.compress.calibrate.clipping import Method
from controller.compress.calibrate.ranges import Range
from controller.compress.calibrate.stream import Feed, extremes, observe, observed_tensors
from controller.errors import UnusableModel
from tests.unit.controller.compress.small_models import conv_model, run, series

MINMAX = Method("minmax")


@pytest.fixture
def inferred(tmp_path: Path) -> Path:
    path = tmp_path / "inferred.onnx"
    onnx.save(onnx.shape_inference.infer_shapes(conv_model()), path)
    return path


def every_value(path: Path, name: str, inputs: np.ndarray) -> np.ndarray:
    model = onnx.load(path)
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    return run(model, inputs)


def test_minmax_equals_the_extremes_of_all_samples(inferred: Path) -> None:
    inputs, _ = series(21, seed=4)  # not a multiple of the batch
    ranges = observe(inferred, Feed(inputs), MINMAX)
    assert {"series", "c1", "r1", "r2", "logits"} <= set(ranges)
    for name in ("c1", "r2", "logits"):
        values = every_value(inferred, name, inputs)
        assert ranges[name].low == pytest.approx(values.min(), rel=1e-5, abs=1e-6)
        assert ranges[name].high == pytest.approx(values.max(), rel=1e-5, abs=1e-6)


def test_percentile_lies_inside_minmax_and_near_numpys(inferred: Path) -> None:
    inputs, _ = series(48, seed=4)
    wide, narrow = observe(inferred, Feed(inputs), MINMAX), observe(inferred, Feed(inputs), Method("percentile", 99.0))
    assert all(wide[name].low <= narrow[name].low <= narrow[name].high <= wide[name].high for name in wide)
    values = every_value(inferred, "c1", inputs)
    bin_width = (wide["c1"].high - wide["c1"].low) / 4096
    low, high = np.percentile(values, [0.5, 99.5])
    assert narrow["c1"].low == pytest.approx(low, abs=2 * bin_width)
    assert narrow["c1"].high == pytest.approx(high, abs=2 * bin_width)


@pytest.mark.parametrize("method", [MINMAX, Method("percentile", 99.9)], ids=lambda method: method.name)
def test_no_more_than_one_batch_is_held(inferred: Path, method: Method, monkeypatch: pytest.MonkeyPatch) -> None:
    batches: list[int] = []
    original = np.ascontiguousarray

    def noted(array: np.ndarray, dtype: type | None = None) -> np.ndarray:
        batches.append(len(array))
        return original(array, dtype=dtype)

    monkeypatch.setattr(np, "ascontiguousarray", noted)
    observe(inferred, Feed(series(40, seed=4)[0]), method)
    assert max(batches) <= stream.LARGEST_BATCH
    assert sum(batches) == 40 * (2 if method.counts else 1)


def test_a_model_with_a_fixed_batch_is_fed_one_by_one(tmp_path: Path) -> None:
    path = tmp_path / "fixed.onnx"
    onnx.save(onnx.shape_inference.infer_shapes(conv_model(batch=1)), path)
    inputs, _ = series(5, seed=4)
    ranges = observe(path, Feed(inputs), MINMAX)
    assert ranges["series"] == Range(float(inputs.min()), float(inputs.max()))


def test_an_activation_that_is_not_finite_is_named(tmp_path: Path) -> None:
    inputs, _ = series(20, seed=4)
    inputs[12] = np.nan  # in the second batch: a running minimum alone would drop it
    path = tmp_path / "model.onnx"
    onnx.save(onnx.shape_inference.infer_shapes(conv_model()), path)
    with pytest.raises(UnusableModel, match="activation 'series' is not finite"):
        observe(path, Feed(inputs), MINMAX)


def test_weights_are_not_observed(inferred: Path) -> None:
    assert not {"w1", "w2", "head", "bias"} & set(observed_tensors(onnx.load(inferred)))


def test_a_moving_average_goes_a_tenth_of_the_way_with_each_batch(inferred: Path) -> None:
    inputs, _ = series(24, seed=4)
    seen = extremes(inferred, Feed(inputs), moving=True)["series"]
    lows = [float(batch.min()) for batch in np.split(inputs, 3)]
    expected = lows[0]
    for low in lows[1:]:
        expected += 0.1 * (low - expected)
    assert seen.low == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", ["entropy", "mse"])
def test_clipped_ranges_lie_inside_the_extremes(inferred: Path, name: Any) -> None:
    inputs, _ = series(48, seed=4)
    inputs[7] *= 20
    wide, narrow = (observe(inferred, Feed(inputs), each) for each in (MINMAX, Method(name)))
    for tensor, inside in narrow.items():
        margin = 1e-6 * (wide[tensor].high - wide[tensor].low)
        assert wide[tensor].low - margin <= inside.low <= inside.high <= wide[tensor].high + margin
    assert narrow["series"].high < wide["series"].high
