"""The converters from Keras and SavedModel in their own environment. Long: each starts a process with TensorFlow."""

from pathlib import Path

import numpy as np
import pytest

from controller.compress.cache import PassCache
from controller.convert.environments import Environment
from controller.convert.making.make import ConvertContext, ConvertRequest, convert
from controller.models.folder import ModelFolder
from tests.unit.controller.convert.workers.kit import installed, script, work

pytestmark = pytest.mark.long

MAKE = """\
import sys, keras
keras.utils.set_random_seed(1)
x = given = keras.Input((16, 16, 3))
x = keras.layers.Conv2D(8, 3, padding="same", activation="relu")(x)
x = keras.layers.BatchNormalization()(x)
x = keras.layers.DepthwiseConv2D(3, padding="same")(x)
x = keras.layers.GlobalAveragePooling2D()(x)
model = keras.Model(given, keras.layers.Dense(4)(x))
model.save(sys.argv[1] + "/net.keras")
model.export(sys.argv[1] + "/net_saved", verbose=False)
code = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Lambda(lambda x: x * 2), keras.layers.Flatten()])
code.save(sys.argv[1] + "/code.keras")
"""
YAML = """\
schema: 1
name: pictures
version: "1"
kind: classification
tensorflow: {{model: {model}}}
pre: {{kind: image, height: 16, width: 16, layout: NHWC}}
post: {{kind: classification, activation: softmax}}
data: {{npz: samples.npz}}
"""


@pytest.fixture(scope="module")
def tensorflow() -> Environment:
    return installed("tensorflow")


@pytest.fixture(scope="module")
def made(tensorflow: Environment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Keras file, a SavedModel of the same network, and one that brings code."""
    root = tmp_path_factory.mktemp("keras")
    script(tensorflow, MAKE, root)
    random = np.random.default_rng(1)
    pictures = random.integers(0, 256, (60, 16, 16, 3), dtype=np.uint8)
    np.savez(root / "samples.npz", inputs=pictures, labels=random.integers(0, 4, 60))
    return root


@pytest.mark.parametrize("name", ["net.keras", "net_saved"])
def test_keras_becomes_onnx_and_tflite(made: Path, name: str, tmp_path: Path) -> None:
    (made / "model.yaml").write_text(YAML.format(model=name))
    context = ConvertContext(PassCache(tmp_path / "cache"), tmp_path / "datasets")
    for target, precision in (("onnx", "float"), ("tflite", "float"), ("tflite", "int8"), ("tflite", "fp16")):
        kept = convert(ConvertRequest(ModelFolder.load(made), target, precision), context)
        assert kept.because is None, (target, precision, kept.because)
        assert kept.conversion.source == "tensorflow"
    model = ModelFolder.load(made)
    assert sorted(model.formats) == ["onnx", "tflite"]
    assert model.pipeline("onnx").pre.input.shape == (-1, 16, 16, 3)
    assert model.pipeline("tflite").pre.input.shape == (1, 16, 16, 3)
    assert "tensorflow-cpu" in model.converted("tflite", "int8").conversion.converter


def test_a_file_that_brings_code_is_refused(tensorflow: Environment, made: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "inputs.npy", np.zeros((1, 16, 16, 3), np.float32))
    wanted = {
        "model": str(made / "code.keras"), "inputs": str(tmp_path / "inputs.npy"), "folder": str(tmp_path),
        "opset": 18, "precision": "float",
    }  # fmt: skip
    result = work(tensorflow, "from_tensorflow.to_onnx", wanted)
    assert result["outcome"] == "unusable"
    assert "lambdas are refused: they are code" in result["error"]
    result = work(tensorflow, "from_tensorflow.to_tflite", {**wanted, "model": str(made)})
    assert result["outcome"] == "unusable"
    assert "is no SavedModel that can be read" in result["error"]
