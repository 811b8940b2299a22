"""Channels with weights next to nothing keep their bias in an integer network."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from controller.compress.cache import PassCache
from controller.compress.passes.base import Artifact, PassContext
from controller.compress.passes.quantize_static import PASS
from controller.compress.recipe import QuantizeStatic
from tests.unit.controller.compress.small_models import conv_model, run, series

DEAD, EMPTY, BIASES = 3, 5, {3: 1.5, 5: -0.7}


def with_dead_channels() -> onnx.ModelProto:
    model = conv_model()
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor).copy()
        if tensor.name == "w2":
            values[DEAD] *= 1e-9
            values[EMPTY] = 0
        if tensor.name == "b2":
            values[DEAD], values[EMPTY] = BIASES[DEAD], BIASES[EMPTY]
        if tensor.name == "head":  # that the two channels are heard
            values[:, [DEAD, EMPTY]] = 1.0
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return model


@pytest.mark.parametrize("scheme", ["u8u8", "s8s8", "u8s8"])
def test_a_bias_is_what_it_was_in_steps_that_kernels_count_in(scheme: str, tmp_path: Path) -> None:
    model = with_dead_channels()
    onnx.save(model, tmp_path / "float.onnx")
    np.save(tmp_path / "calibration.npy", series(64, seed=2)[0])
    (tmp_path / "out").mkdir()
    context = PassContext(tmp_path / "out", PassCache(tmp_path / "c"), tmp_path / "calibration.npy", "64 series")
    asked = QuantizeStatic.model_validate({"scheme": scheme}).model_dump()
    made = onnx.load(PASS.run(Artifact("onnx", tmp_path / "float.onnx"), asked, context).path)
    bias, own, product = stored_bias(made)
    for channel, expected in BIASES.items():
        assert bias[channel] == pytest.approx(expected, rel=1e-4)
    assert np.allclose(own, product, rtol=1e-5)
    if scheme == "u8u8":  # exact on every processor, so that the engine's own integers can be held against floats
        inputs, _ = series(30, seed=3)
        assert np.abs(run(made, inputs) - run(model, inputs)).max() < 0.15 * np.abs(run(model, inputs)).max()


def stored_bias(model: onnx.ModelProto) -> tuple[NDArray[np.float64], NDArray[np.float32], NDArray[np.float32]]:
    """Return the second convolution's biases, their scales, and the products of input's and weight's scale."""
    known = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    made = {each.output[0]: each for each in model.graph.node if each.op_type == "DequantizeLinear"}
    convolution = next(each for each in model.graph.node if each.name == "conv_2")
    source, weight, bias = (made[name] for name in convolution.input)
    scales = known[bias.input[1]]
    return known[bias.input[0]] * scales.astype(np.float64), scales, known[source.input[1]] * known[weight.input[1]]
