"""What is read from an ONNX file's bytes is what the onnx package reads; a damaged file is refused."""

import contextlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from agent.errors import EngineFailed
from agent.inference.engines.providers.graph import read_graph

MODELS = Path(__file__).parents[5] / "models"


def saved(*operators: onnx.NodeProto, constants: tuple[onnx.TensorProto, ...] = (), **shapes: list[int | str]) -> bytes:
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(list(operators), "g", inputs, [output], list(constants))
    return bytes(helper.make_model(graph).SerializeToString())


def constant(dtype: type[np.generic]) -> onnx.NodeProto:
    return helper.make_node("Constant", [], ["y"], value=numpy_helper.from_array(np.ones(3, dtype), "value"))


@pytest.mark.parametrize("file", ["leaf_outline/leaf_outline.onnx", "soil_carbon/soil_carbon.onnx"])
def test_the_reference_models_are_read_as_the_package_reads_them(file: str) -> None:
    content = (MODELS / file).read_bytes()
    graph = onnx.load_from_string(content).graph
    found = read_graph(content)
    assert list(found.inputs) == [value.name for value in graph.input]
    (shape,) = found.inputs.values()
    assert shape == tuple(axis.dim_value or -1 for axis in graph.input[0].type.tensor_type.shape.dim)
    assert (found.half, found.quantised) == (False, False)


def test_half_precision_is_seen_in_weights_and_in_constants() -> None:
    weight = numpy_helper.from_array(np.ones(3, np.float16), "w")
    assert read_graph(saved(helper.make_node("Identity", ["x"], ["y"]), constants=(weight,), x=[1])).half
    assert read_graph(saved(constant(np.float16))).half
    assert not read_graph(saved(constant(np.float32))).half


@pytest.mark.parametrize("kind", ["QuantizeLinear", "DequantizeLinear"])
def test_a_quantised_graph_is_seen(kind: str) -> None:
    assert read_graph(saved(helper.make_node(kind, ["x", "s"], ["y"]), x=[1], s=[])).quantised


def test_weights_are_no_inputs() -> None:
    weight = numpy_helper.from_array(np.ones(3, np.float32), "w")
    content = saved(helper.make_node("Add", ["x", "w"], ["y"]), constants=(weight,), x=["n", 3], w=[3])
    assert read_graph(content).inputs == {"x": (-1, 3)}


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x08", b"\x3a\x7f"])
def test_what_is_no_model_is_refused(content: bytes) -> None:
    with pytest.raises(EngineFailed, match="not an ONNX file"):
        read_graph(content)


@given(st.integers(0, 10_000), st.integers(0, 255))
def test_a_damaged_file_is_read_or_refused_and_nothing_else(place: int, byte: int) -> None:
    content = bytearray((MODELS / "soil_carbon/soil_carbon.onnx").read_bytes())
    content[place % len(content)] = byte
    with contextlib.suppress(EngineFailed):  # anything else fails the test
        read_graph(bytes(content))
