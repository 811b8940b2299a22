"""The TFLite passes: what LiteRT gives for their files, and which files they refuse."""

from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from controller.compress.cache import PassCache
from controller.compress.metrics import sqnr_db
from controller.compress.passes import find_pass
from controller.compress.passes.base import Artifact, Capabilities, PassContext
from controller.convert.tflite import read_tflite
from controller.errors import UnusableModel
from tests.unit.controller.compress.small_tflite import expected, rows, write_tflite

EVERYTHING = Capabilities(frozenset({"litert"}), frozenset({"tflite"}))


@pytest.fixture
def context(tmp_path: Path) -> PassContext:
    folder = tmp_path / "out"
    folder.mkdir()
    np.save(tmp_path / "calibration.npy", rows(64))
    return PassContext(folder, PassCache(tmp_path / "cache"), tmp_path / "calibration.npy", "64 rows")


def run_tflite(path: Path, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return de-quantised outputs, the inputs quantised as the file says."""
    signature = read_tflite(path).signature
    source, result = signature.input(), signature.output()
    interpreter = Interpreter(model_path=str(path))
    interpreter.allocate_tensors()
    outputs = []
    for row in inputs:
        if source.quantisation is not None:
            integers = np.round(row / source.quantisation.scale) + source.quantisation.zero_point
            row = np.clip(integers, -128, 127).astype(np.int8)
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], row[np.newaxis])
        interpreter.invoke()
        raw = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0].astype(np.float32)
        if result.quantisation is not None:
            raw = (raw - result.quantisation.zero_point) * result.quantisation.scale
        outputs.append(raw)
    return np.stack(outputs)


@pytest.mark.parametrize(
    ("mode", "precision", "least_sqnr_db"),
    [("static", "int8", 30.0), ("dynamic", "int8-dynamic", 35.0), ("weight_only", "int8-weights", 35.0)],
)
def test_a_quantised_file_says_what_the_float_one_says(
    mode: str, precision: str, least_sqnr_db: float, context: PassContext, tmp_path: Path
) -> None:
    artifact = Artifact("tflite", write_tflite(tmp_path / "float.tflite"))
    made = find_pass("tflite_quantize").run(artifact, {"mode": mode, "calibration": "minmax", "samples": 64}, context)
    inputs = rows(40, seed=8) * 0.7  # inside the calibrated range
    noise = sqnr_db(expected(inputs), run_tflite(made.path, inputs))
    assert made.precision == precision
    assert noise is not None
    assert noise >= least_sqnr_db


def test_static_quantisation_sees_every_calibration_sample(context: PassContext, tmp_path: Path) -> None:
    """The quantiser goes over its samples twice.

    An iterator that is spent after the first round would calibrate nothing.
    """
    artifact = Artifact("tflite", write_tflite(tmp_path / "float.tflite"))
    made = find_pass("tflite_quantize").run(
        artifact, {"mode": "static", "calibration": "minmax", "samples": 64}, context
    )
    source = read_tflite(made.path).signature.input().quantisation
    assert source is not None
    calibration = rows(64)
    assert calibration[:1].max() - calibration[:1].min() < 0.8 * (calibration.max() - calibration.min())
    assert source.scale == pytest.approx((calibration.max() - calibration.min()) / 255, rel=1e-3)


def test_the_float_file_is_taken_as_it_is(context: PassContext, tmp_path: Path) -> None:
    path = write_tflite(tmp_path / "float.tflite")
    made = find_pass("tflite_float").run(Artifact("tflite", path), {}, context)
    assert made.path.read_bytes() == path.read_bytes()


def test_a_quantised_file_is_not_called_float(context: PassContext, tmp_path: Path) -> None:
    artifact = Artifact("tflite", write_tflite(tmp_path / "float.tflite"))
    quantised = find_pass("tflite_quantize").run(
        artifact, {"mode": "static", "calibration": "minmax", "samples": 8}, context
    )
    with pytest.raises(UnusableModel, match="1 operators are quantised already"):
        find_pass("tflite_float").run(Artifact("tflite", quantised.path), {}, context)


@pytest.mark.parametrize("name", ["tflite_float", "tflite_quantize"])
def test_a_tflite_pass_takes_no_onnx(name: str, tmp_path: Path) -> None:
    chosen = find_pass(name)
    assert "takes tflite files" in str(chosen.applies(EVERYTHING, Artifact("onnx", tmp_path / "m.onnx")))
    assert chosen.applies(EVERYTHING, Artifact("tflite", tmp_path / "m.tflite")) is None
