"""Names that onnx2tf does not keep come back in the TFLite file, which computes what it computed."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from agent.inference.engines.litert import LiteRtEngine
from controller.convert.tflite import read_tflite
from controller.convert.workers.from_onnx import to_tflite

MODEL = Path(__file__).parents[5] / "models/soil_carbon/soil_carbon.tflite"
QUERY = np.linspace(0, 1, 17, dtype=np.float32).reshape(1, 17)


def names(path: Path) -> tuple[str, str]:
    signature = read_tflite(path).signature
    return signature.inputs[0].name, signature.outputs[0].name


def save_onnx(path: Path, first: str, last: str) -> None:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 17]) for name in (first, last)]
    graph = helper.make_graph([helper.make_node("Relu", [first], [last])], "named", [ends[0]], [ends[1]])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)


def written_as(path: Path, first: str, last: str) -> None:
    """Write a file whose ends are called as onnx2tf would call them."""
    was = dict(zip(names(MODEL), map(to_tflite._as_written, (first, last)), strict=True))
    path.write_bytes(to_tflite._renamed(MODEL.read_bytes(), was))


@pytest.mark.parametrize(
    ("first", "last"), [("serving_default_x:0", "StatefulPartitionedCall:1"), ("/sensors", "/head/y:0"), ("x", "y:0")]
)
def test_inputs_and_outputs_are_called_as_in_the_onnx_file(tmp_path: Path, first: str, last: str) -> None:
    save_onnx(tmp_path / "named.onnx", first, last)
    written, named = tmp_path / "written.tflite", tmp_path / "named.tflite"
    written_as(written, first, last)
    to_tflite._name_as_before(written, tmp_path / "named.onnx", named)
    assert names(named) == (first, last)
    before, after = (LiteRtEngine.load(path, {}, 1).infer([QUERY])[0] for path in (MODEL, named))
    assert np.array_equal(before, after)


def test_a_file_whose_names_were_kept_stays_as_it_is(tmp_path: Path) -> None:
    save_onnx(tmp_path / "named.onnx", *names(MODEL))
    to_tflite._name_as_before(MODEL, tmp_path / "named.onnx", tmp_path / "named.tflite")
    assert (tmp_path / "named.tflite").read_bytes() == MODEL.read_bytes()
