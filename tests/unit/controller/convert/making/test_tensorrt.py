"""Files for TensorRT: what its parser takes, as far as a graph tells, and int8 placed as it wants it."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from controller.compress.passes.base import ENDS_FILE
from controller.convert.making.steps.tensorrt_int8 import quantise_for_tensorrt
from controller.convert.making.steps.tensorrt_rules import faults, notes
from controller.convert.parity import compare
from controller.errors import UnusableData, UnusableModel
from tests.unit.controller.compress.small_models import conv_model, run, series


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The small model, and its int8 form."""
    root = tmp_path_factory.mktemp("tensorrt")
    onnx.save(conv_model(), root / "float.onnx")
    np.save(root / "calibration.npy", series(64, seed=2)[0])
    (root / ENDS_FILE).write_text('{"input": "series", "state": {}}')
    told = quantise_for_tensorrt(root / "float.onnx", root / "int8.onnx", root / "calibration.npy")
    assert told == ("calibrated on 64 samples",)
    return root / "float.onnx", root / "int8.onnx"


def test_int8_is_symmetric_and_stands_before_weighted_operators_only(files: tuple[Path, Path]) -> None:
    model = onnx.load(files[1])
    assert faults(model) == ()
    assert notes(model) == ("opset 20: needs TensorRT 10",)
    makers = {name: each for each in model.graph.node for name in each.output}
    constants = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    readers = Counter(name for each in model.graph.node for name in each.input)
    weighted = [each for each in model.graph.node if each.op_type in ("Conv", "Gemm")]
    assert len(weighted) == 3
    for each in weighted:
        data, weight = (makers[name] for name in each.input[:2])
        assert (data.op_type, weight.op_type) == ("DequantizeLinear", "DequantizeLinear")
        assert constants[weight.input[1]].shape == (constants[weight.input[0]].shape[0],)  # a scale a channel
        assert constants[each.input[2]].dtype == np.float32  # the bias is not quantised
        assert all(makers.get(name, each).op_type != "QuantizeLinear" for name in each.output)
    quantisers = [each for each in model.graph.node if each.op_type == "QuantizeLinear"]
    assert len(quantisers) == 3
    assert all(readers[each.output[0]] == 1 for each in quantisers)


def test_int8_answers_as_its_source_does(files: tuple[Path, Path]) -> None:
    inputs = series(60, seed=5)[0]
    parity = compare(run(files[0], inputs), run(files[1], inputs), "classification")
    assert parity.sqnr_db is not None
    assert parity.sqnr_db > 20
    assert parity.top1_agreement_ratio is not None
    assert parity.top1_agreement_ratio > 0.95


def test_without_samples_or_weights_there_is_no_int8(tmp_path: Path, files: tuple[Path, Path]) -> None:
    with pytest.raises(UnusableData, match=r"add `data` to model\.yaml"):
        quantise_for_tensorrt(files[0], tmp_path / "out.onnx", None)
    onnx.save(graph([helper.make_node("Relu", ["x"], ["y"])]), tmp_path / "relu.onnx")
    np.save(tmp_path / "calibration.npy", np.ones((2, 4), np.float32))
    (tmp_path / ENDS_FILE).write_text('{"input": "x", "state": {}}')
    with pytest.raises(UnusableModel, match="none of Conv, ConvTranspose, Gemm, MatMul in it"):
        quantise_for_tensorrt(tmp_path / "relu.onnx", tmp_path / "out.onnx", tmp_path / "calibration.npy")


def graph(operators: list[onnx.NodeProto], constants: dict[str, Any] | None = None, opset: int = 17) -> onnx.ModelProto:
    weights = [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()]
    made = helper.make_graph(
        operators,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        weights,
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def pair(zero: Any, scale: float = 0.1) -> onnx.ModelProto:
    constants = {"s": np.asarray(scale, np.float32)} | ({"z": zero} if zero is not None else {})
    ends = ["s", "z"] if zero is not None else ["s"]
    quantise = helper.make_node("QuantizeLinear", ["x", *ends], ["q"], name="quantise")
    return graph([quantise, helper.make_node("DequantizeLinear", ["q", *ends], ["y"], name="restore")], constants)


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (pair(np.int8(0)), None),
        (pair(np.int8(3)), "'quantise': its zero point is int8 3, int8 0 is needed"),
        (pair(np.uint8(0)), "zero point is uint8 0, int8 0"),
        (pair(None), "without a zero point its type is uint8"),
        (pair(np.int8(0), scale=0.0), "a scale is not above 0"),
        (pair(np.int8(0), scale=np.inf), "a scale is not above 0"),
        (graph([helper.make_node("QLinearMatMul", ["x"] * 8, ["y"])]), "parser lacks: QLinearMatMul"),
        (graph([helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft")]), "other domains: com.microsoft:Gelu"),
        (graph([helper.make_node("Relu", ["x"], ["y"])], opset=21), "opset 21; 9 to 20 are read"),
        (
            graph([helper.make_node("Relu", ["x"], ["y"])], {"n": np.array([2**40])}),
            "'n' holds integers of more than 32",
        ),
        (graph([helper.make_node("Relu", ["x"], ["y"])], {"n": np.array([2**63 - 1, -1])}), None),
    ],
)
def test_what_the_parser_would_refuse(model: onnx.ModelProto, says: str | None) -> None:
    found = faults(model)
    assert found == () if says is None else any(says in fault for fault in found)


def test_what_only_costs_speed_is_a_note() -> None:
    half = graph(
        [
            helper.make_node("DequantizeLinear", ["w", "s", "z"], ["r"]),
            helper.make_node("MatMul", ["x", "r"], ["m"], name="product"),
            helper.make_node("QuantizeLinear", ["m", "s", "z"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
            helper.make_node("Relu", ["d"], ["y"], name="active"),
        ],
        {"w": np.ones((4, 4), np.int8), "s": np.float32(0.1), "z": np.int8(0)},
    )
    assert faults(half) == ()
    assert [note.partition(":")[0] for note in notes(half)] == [
        "computed in float, since only one side is quantised",
        "quantised between a weighted operator and its activation, which are then not fused",
    ]
    assert notes(graph([helper.make_node("Relu", ["x"], ["y"])])) == ()
