"""Models that take state and give it: carried from query to query, fresh where a stream begins."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from pydantic import ValidationError

from agent.errors import BadBundle, BatchFixed, EngineFailed
from agent.inference.batch import open_batch
from agent.inference.bundle import Bundle
from agent.inference.engines.onnxruntime import OnnxRuntimeEngine
from agent.inference.pipeline import Pipeline, StateBuffer, make_pipeline
from wire import spec

H, H_OUT = spec.TensorSpec(name="h", shape=(2, -1, 4)), spec.TensorSpec(name="h_out", shape=(2, -1, 4))


def leaky_model(path: Path, gives: int = 2) -> Path:
    """Write `h_out` = 0.5 `h` + chunk, and the level, which is its sum over all but the batch."""
    operators = [
        helper.make_node("Mul", ["h", "half"], ["kept"]),
        helper.make_node("Add", ["kept", "chunk"], ["both"]),
        helper.make_node("ReduceSum", ["both", "axes"], ["sum"], keepdims=0),
        helper.make_node("Reshape", ["sum", "flat"], ["level"]),
        helper.make_node("Slice", ["both", "from", "to", "first"], ["h_out"]),
    ]
    graph = helper.make_graph(
        operators,
        "leaky",
        [
            helper.make_tensor_value_info("h", TensorProto.FLOAT, [2, "n", 4]),
            helper.make_tensor_value_info("chunk", TensorProto.FLOAT, ["n", 4]),
        ],
        [
            helper.make_tensor_value_info("h_out", TensorProto.FLOAT, [None, "n", 4]),
            helper.make_tensor_value_info("level", TensorProto.FLOAT, ["n", 1]),
        ],
        [
            numpy_helper.from_array(np.array(0.5, np.float32), "half"),
            *(
                numpy_helper.from_array(np.array(values), name)
                for name, values in {"axes": [0, 2], "flat": [-1, 1], "from": [0], "to": [gives], "first": [0]}.items()
            ),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def specification(**changes: Any) -> spec.Pipeline:
    pre = spec.TensorPre(input=spec.TensorSpec(name="chunk", shape=(-1, 4)))
    post = spec.RegressionPost(output=spec.TensorSpec(name="level", shape=(-1, 1)))
    return spec.Pipeline(**{"pre": pre, "post": post, "state": (spec.StateTensor(input=H, output=H_OUT),), **changes})


def opened(path: Path, pipeline: spec.Pipeline | None = None) -> Pipeline:
    return make_pipeline(pipeline or specification(), OnnxRuntimeEngine.load(path, {}, threads=1))


def levels(pipeline: Pipeline, count: int) -> list[float]:
    return [float(pipeline.raw(np.ones(4, np.float32))[0]) for _ in range(count)]


def test_state_goes_from_one_query_to_the_next_and_a_stream_begins_fresh(tmp_path: Path) -> None:
    pipeline = opened(leaky_model(tmp_path / "m.onnx"))
    assert levels(pipeline, 3) == [8.0, 12.0, 14.0]
    pipeline.forget()
    assert levels(pipeline, 2) == [8.0, 12.0]


def test_two_pipelines_share_no_state(tmp_path: Path) -> None:
    path = leaky_model(tmp_path / "m.onnx")
    one, other = opened(path), opened(path)
    levels(one, 3)
    assert levels(other, 1) == [8.0]


def test_state_that_nothing_feeds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadBundle, match=r"takes 2 inputs \(h, chunk\): the specification feeds 1"):
        opened(leaky_model(tmp_path / "m.onnx"), specification(state=None))


def test_an_input_is_fed_once(tmp_path: Path) -> None:
    chunk = spec.TensorSpec(name="chunk", shape=(-1, 4))
    twice = (*(specification().state or ()), spec.StateTensor(input=chunk, output=chunk))
    level = spec.StateTensor(input=chunk, output=spec.TensorSpec(name="level", shape=(-1, 1)))
    with pytest.raises(BadBundle, match="'chunk'"):
        opened(leaky_model(tmp_path / "m.onnx"), specification(state=twice))
    with pytest.raises(BadBundle, match="feeds 3"):
        opened(leaky_model(tmp_path / "m.onnx"), specification(state=(*(specification().state or ()), level)))


def test_state_of_another_size_than_is_taken_is_refused() -> None:
    state = StateBuffer(np.zeros((2, 1, 4), np.float32), 1, 0)
    with pytest.raises(EngineFailed, match=r"gives state of shape \(1, 1, 4\) and takes \(2, 1, 4\)"):
        state.take([np.zeros((1, 1)), np.ones((1, 1, 4), np.float32)])
    assert state.buffer.sum() == 0


def test_state_of_an_output_of_another_shape_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadBundle, match=r"'h_out'.*\(2, -1, 4\), the model \(1, -1, 4\)"):
        opened(leaky_model(tmp_path / "m.onnx", gives=1))


def test_integer_state_begins_at_its_zero_point(tmp_path: Path) -> None:
    pipeline = opened(leaky_model(tmp_path / "m.onnx"))
    pipeline.carried = (replace(pipeline.carried[0], start=-7),)
    pipeline.forget()
    assert (pipeline.carried[0].buffer == -7).all()


def test_a_model_with_state_takes_no_batch(tmp_path: Path) -> None:
    bundle: Bundle = None  # type: ignore[assignment]  # it is refused before the bundle is looked at
    with pytest.raises(BatchFixed, match="one at a time"):
        open_batch(bundle, opened(leaky_model(tmp_path / "m.onnx")), 2, [np.ones(4, np.float32)])


@pytest.mark.parametrize(
    "other",
    [
        H_OUT.model_copy(update={"dtype": "float16"}),
        H_OUT.model_copy(update={"shape": (2, 4)}),
        H_OUT.model_copy(update={"quantisation": spec.Quantisation(scale=1, zero_point=0)}),
    ],
)
def test_state_whose_ends_differ_is_no_specification(other: spec.TensorSpec) -> None:
    with pytest.raises(ValidationError, match="state"):
        spec.StateTensor(input=H, output=other)
