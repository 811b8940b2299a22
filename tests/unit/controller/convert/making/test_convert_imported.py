"""Conversions of what was imported as it is: a model that takes and gives state, TFLite files stored in fewer bits."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from controller.compress.cache import PassCache
from controller.compress.passes import find_pass
from controller.compress.passes.base import Artifact, PassContext
from controller.convert.making.make import ConvertContext, ConvertRequest, convert
from controller.convert.tflite import read_tflite
from controller.errors import UnusableModel
from controller.models.folder import ModelFolder
from controller.models.samples import calibration_samples
from tests.unit.controller.compress.small_tflite import expected, rows, write_tflite
from tests.unit.controller.models.sources.small_graphs import FLOAT, graph, linear, save

pytestmark = pytest.mark.usefixtures("children_here")

LEAK = 0.97
YAML = """\
schema: 1
name: given
version: "1"
kind: classification
formats: {FORMATS}
pre: {kind: tensor}
post: {kind: classification}
data: {npz: s.npz}
"""


def folder(root: Path, formats: str, inputs: NDArray[np.float32], labels: NDArray[np.int64]) -> ModelFolder:
    np.savez(root / "s.npz", inputs=inputs, labels=labels)
    (root / "model.yaml").write_text(YAML.replace("{FORMATS}", formats))
    return ModelFolder.load(root)


@pytest.fixture
def context(tmp_path: Path) -> ConvertContext:
    return ConvertContext(PassCache(tmp_path / "cache"), tmp_path / "datasets")


def leaky_scores() -> onnx.ModelProto:
    """Return scores of a leaky sum of chunks; the sum is state."""
    weights = {
        "leak": np.float32(LEAK),
        "w": np.random.default_rng(0).normal(0, 0.5, (4, 3)).astype(np.float32),
    }
    operators = [
        helper.make_node("Mul", ["h", "leak"], ["kept"]),
        helper.make_node("Add", ["kept", "chunk"], ["h_out"]),
        helper.make_node("MatMul", ["h_out", "w"], ["scores"]),
    ]
    ends = [("chunk", FLOAT, ["n", 4]), ("h", FLOAT, ["n", 4])]
    return graph(operators, ends, [("scores", FLOAT, ["n", 3]), ("h_out", FLOAT, ["n", 4])], weights)


def test_int8_of_a_model_with_state_is_calibrated_along_its_stream(context: ConvertContext, tmp_path: Path) -> None:
    save(leaky_scores(), tmp_path / "m.onnx")
    inputs = np.random.default_rng(1).normal(size=(300, 4)).astype(np.float32)
    formats = "{onnx: {file: m.onnx, input: chunk, output: scores, state: {h: h_out}}}"
    model = folder(tmp_path, formats, inputs, np.arange(300) % 3)
    kept = convert(ConvertRequest(model, "onnx", "int8"), context)
    assert kept.because is None
    assert kept.conversion.ends.state == {"h": "h_out"}
    sums, state = [], np.zeros(4)
    calibrating = calibration_samples(model, context.datasets)
    for chunk in calibrating:
        state = LEAK * state + chunk
        sums.append(state)
    found = onnx.load(kept.path).graph
    (scale,) = (each.input[1] for each in found.node if each.op_type == "QuantizeLinear" and "h_out" in each.input[0])
    values = {each.name: numpy_helper.to_array(each) for each in found.initializer}
    # What int8 reaches is the range of the sums along the stream, not that of the chunks: less would saturate.
    assert 255 * float(values[scale]) == pytest.approx(np.ptp(sums), rel=0.02)
    assert np.ptp(sums) > 1.5 * np.ptp(calibrating)


def stored_as(mode: str, root: Path) -> ModelFolder:
    """Return a model that is a bare TFLite file whose weights were quantised before."""
    inputs = rows(60)
    np.save(root / "calibration.npy", inputs)
    (root / "out").mkdir()
    given = PassContext(root / "out", PassCache(root / "passes"), root / "calibration.npy", "60 rows")
    parameters = {"mode": mode, "calibration": "minmax", "samples": 60}
    made = find_pass("tflite_quantize").run(Artifact("tflite", write_tflite(root / "f.tflite")), parameters, given)
    made.path.rename(root / "m.tflite")
    return folder(root, "{tflite: {file: m.tflite}}", inputs, expected(inputs).argmax(axis=1))


def test_a_tflite_file_with_weights_in_eight_bits_is_quantised_again(context: ConvertContext, tmp_path: Path) -> None:
    model = stored_as("weight_only", tmp_path)
    assert read_tflite(model.file("tflite")).precision == "int8-weights"
    kept = convert(ConvertRequest(model, "tflite", "int8"), context)
    assert kept.because is None
    assert read_tflite(kept.path).precision == "int8"
    assert any("weights restored from int8-weights" in note for note in kept.conversion.notes)


def test_a_tflite_file_with_integer_activations_stays_what_it_is(context: ConvertContext, tmp_path: Path) -> None:
    model = stored_as("static", tmp_path)
    for precision in ("int8", "fp16"):
        with pytest.raises(UnusableModel, match=r"this one is int8(?:, |: )import the float file"):
            convert(ConvertRequest(model, "tflite", precision), context)
    with pytest.raises(UnusableModel, match="no converter here reads TFLite"):
        convert(ConvertRequest(model, "onnx", "float"), context)
    assert list(model.formats) == ["tflite"]
    assert not list((model.root / "conversions").glob("*"))


@pytest.mark.parametrize(("target", "precision"), [("tensorrt", "int8"), ("tensorrt", "fp16"), ("onnx", "int8")])
def test_an_onnx_file_that_is_quantised_already_is_not_quantised_again(
    target: str, precision: str, context: ConvertContext, tmp_path: Path
) -> None:
    quantised = linear()
    scale = {"scale": np.float32(0.1), "zero": np.int8(0)}
    quantised.graph.initializer.extend(numpy_helper.from_array(np.asarray(each), name) for name, each in scale.items())
    quantised.graph.node[0].input[0] = "restored"
    quantised.graph.node.insert(0, helper.make_node("DequantizeLinear", ["stored", "scale", "zero"], ["restored"]))
    quantised.graph.node.insert(0, helper.make_node("QuantizeLinear", ["row", "scale", "zero"], ["stored"]))
    save(quantised, tmp_path / "m.onnx")
    inputs = np.random.default_rng(1).normal(size=(40, 4)).astype(np.float32)
    model = folder(tmp_path, "{onnx: {file: m.onnx}}", inputs, np.arange(40) % 3)
    with pytest.raises(UnusableModel, match=r"float32 .*, this one is int8"):
        convert(ConvertRequest(model, target, precision), context)
    assert not list((model.root / "conversions").glob("*"))
