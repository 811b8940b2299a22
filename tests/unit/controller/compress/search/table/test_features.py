"""What of a file takes time: counts that were reckoned by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from controller.compress.search.table.features import features_of


def written(path: Path, operators: list[onnx.NodeProto], weights: dict[str, Any], out: list[int]) -> Path:
    graph = helper.make_graph(
        operators, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", *out])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


def test_convolutions_are_told_apart_by_their_groups(tmp_path: Path) -> None:
    operators = [
        helper.make_node("Conv", ["x", "deep"], ["c"], group=2, pads=[1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Conv", ["r", "full"], ["y"]),
    ]
    weights = {"deep": np.ones((2, 1, 3), np.float32), "full": np.ones((4, 2, 1), np.float32)}
    found = features_of("onnx", written(tmp_path / "m.onnx", operators, weights, [4, 8]))
    assert found["macs.depthwise.float32"] == pytest.approx(2 * 8 * 3 / 1e6)
    assert found["macs.conv.float32"] == pytest.approx(4 * 8 * 2 / 1e6)
    assert found["elements.other.float32"] == pytest.approx(2 * 2 * 8 / 1e6)
    assert (found["operators.depthwise"], found["operators.conv"], found["operators.other"]) == (1, 1, 1)
    assert found["query"] == 1


def test_an_operator_between_scales_is_int8_and_scales_are_no_operators(tmp_path: Path) -> None:
    scales = ["scale", "zero"]
    operators = [
        helper.make_node("QuantizeLinear", ["x", *scales], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", *scales], ["xd"]),
        helper.make_node("DequantizeLinear", ["wq", *scales], ["wd"]),
        helper.make_node("Conv", ["xd", "wd"], ["y"]),
    ]
    weights = {
        "wq": np.ones((4, 2, 1), np.uint8), "scale": np.float32(0.1).reshape(()), "zero": np.uint8(0).reshape(()),
    }  # fmt: skip
    found = features_of("onnx", written(tmp_path / "m.onnx", operators, weights, [4, 8]))
    assert found["macs.conv.int8"] == pytest.approx(4 * 8 * 2 / 1e6)
    assert not [name for name in found if "other" in name or "float32" in name]


def test_of_other_formats_only_the_query_counts(tmp_path: Path) -> None:
    assert features_of("executorch", tmp_path / "m.pte") == {"query": 1.0}
