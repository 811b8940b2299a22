"""A model of pictures in a folder: what its file says of the input is read, and a wrong size is told as one."""

from pathlib import Path

import pytest
import yaml
from onnx import TensorProto, helper, save_model

from controller.errors import UnusableModel
from controller.models.folder import ModelFolder


def write_model(folder: Path, height: int) -> Path:
    """Write a model that averages a picture of 16 by 16 per channel, declared to take `height` rows."""
    graph = helper.make_graph(
        [helper.make_node("GlobalAveragePool", ["x"], ["y"])],
        "average",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 16, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3, 1, 1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    save_model(model, str(folder / "m.onnx"))
    described = {
        "schema": 1,
        "name": "average",
        "version": "1",
        "kind": "regression",
        "formats": {"onnx": {"file": "m.onnx"}},
        "pre": {"kind": "image", "height": height, "width": 16},
        "post": {"kind": "regression"},
    }
    (folder / "model.yaml").write_text(yaml.safe_dump(described))
    return folder


def test_a_model_of_pictures_is_read(tmp_path: Path) -> None:
    pipeline = ModelFolder.load(write_model(tmp_path, 16)).pipeline("onnx")
    assert pipeline.pre.kind == "image"
    assert pipeline.pre.input.shape == (-1, 3, 16, 16)


def test_another_size_is_named_with_both_shapes(tmp_path: Path) -> None:
    with pytest.raises((UnusableModel, ValueError), match=r"3, 16, 16.*3, 8, 16"):
        ModelFolder.load(write_model(tmp_path, 8)).pipeline("onnx")
