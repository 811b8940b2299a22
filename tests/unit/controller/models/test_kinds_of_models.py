"""A small model of each kind of pre-processing: imported, loaded by the device's pipeline, answering as plain numpy."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from agent.inference.engines.onnxruntime import OnnxRuntimeEngine
from agent.inference.pipeline import make_pipeline
from controller.compress.build import build_variants
from controller.compress.cache import PassCache
from controller.compress.recipe import Recipe
from controller.compress.variant import FailedVariant
from controller.errors import ConfigurationError, UnusableModel
from controller.models.folder import ModelFolder
from controller.models.importing import ImportRequest, import_model
from controller.models.preprocess import prepare
from controller.models.preprocess.text import token_inputs
from tests.unit.agent.inference.text import kit
from wire.spec import Pipeline, TextPre

pytestmark = pytest.mark.usefixtures("children_here")

RANDOM = np.random.default_rng(12)
OUTPUTS = 2


@dataclass(frozen=True)
class Kind:
    """Declared pre-processing, the model's input without its batch axis, and queries."""

    pre: dict[str, Any]
    shape: tuple[int, ...]
    queries: NDArray[Any]
    onnx_type: int = TensorProto.FLOAT
    close: dict[str, Any] = field(default_factory=lambda: {"rtol": 1e-4, "atol": 1e-4})


KINDS = {
    "series": Kind(
        {"kind": "series", "channels": 2, "length": 6, "difference": 1, "normalise": {"method": "robust"}},
        (2, 6),
        RANDOM.normal(20, 3, (5, 2, 7)),
    ),
    "table": Kind(
        {
            "kind": "table",
            "features": 3,
            "nan": "mean",
            "normalise": {"method": "z_score", "statistics": "training", "mean": [1, 2, 3], "deviation": [2, 0, 4]},
        },
        (3,),
        np.array([[1.0, np.nan, 5.0], [0.5, 2.0, np.nan]] * 3),
    ),
    "audio": Kind(
        {"kind": "audio", "samples": 1600, "features": "mfcc", "convention": "kaldi"},
        (8, 13),
        (RANDOM.normal(0, 3000, (5, 1600, 1))).astype(np.int16),
        close={"rtol": 1e-3, "atol": 1e-2},
    ),
    "image": Kind(
        {"kind": "image", "height": 4, "width": 5, "mean": [0.5], "deviation": [0.25]},
        (3, 4, 5),
        RANDOM.integers(0, 256, (5, 9, 8, 3)).astype(np.uint8),
    ),
    "text": Kind(
        {"kind": "text", "length": kit.LENGTH, "pad_id": 7},
        (kit.LENGTH,),
        kit.queries(["very good", "bad", "größe unheard good", "plain", "bad bad"]),
        TensorProto.INT64,
    ),
    "tensor": Kind({"kind": "tensor"}, (2, 3), RANDOM.normal(0, 1, (5, 2, 3))),
    "tensor of whole numbers": Kind(
        {"kind": "tensor"}, (4,), RANDOM.integers(-(2**31), 2**31, (5, 4)), TensorProto.INT32, {"rtol": 1e-5}
    ),
}


def write_folder(folder: Path, kind: Kind) -> Path:
    """Write a folder whose model multiplies its flat input with what `weights` gives."""
    folder.mkdir()
    nodes = [
        helper.make_node("Cast", ["x"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["real"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", kind.onnx_type, ["n", *kind.shape])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", OUTPUTS])
    graph = helper.make_graph(nodes, "sums", [x], [y], [numpy_helper.from_array(weights(kind), "w")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "m.onnx")
    kit.save_tokeniser(folder / "tokenizer.json")
    np.savez(folder / "samples.npz", inputs=kind.queries, labels=np.zeros((len(kind.queries), OUTPUTS)))
    described = {
        "schema": 1,
        "name": "sums",
        "version": "1",
        "kind": "regression",
        "formats": {"onnx": {"file": "m.onnx"}},
        "pre": kind.pre,
        "post": {"kind": "regression"},
        "data": {"npz": "samples.npz"},
    }
    (folder / "model.yaml").write_text(yaml.safe_dump(described))
    return folder


def weights(kind: Kind) -> NDArray[np.float32]:
    return np.random.default_rng(3).normal(size=(int(np.prod(kind.shape)), OUTPUTS)).astype(np.float32)


def plain_inputs(pipeline: Pipeline, query: NDArray[Any], root: Path) -> NDArray[Any]:
    """Return the model's input for a query, by the controller's plain numpy."""
    if isinstance(pipeline.pre, TextPre):
        return token_inputs(pipeline.pre, query[np.newaxis], root)["x"]
    return prepare(pipeline.pre, query[np.newaxis])


@pytest.mark.parametrize("name", KINDS)
def test_an_imported_model_answers_on_a_device_as_plain_numpy_does(name: str, tmp_path: Path) -> None:
    kind = KINDS[name]
    model = import_model(ImportRequest(write_folder(tmp_path / "source", kind)), tmp_path / "models")
    declared = model.pipeline("onnx")
    engine = OnnxRuntimeEngine.load(model.file("onnx"), {}, threads=1)
    device = make_pipeline(declared, engine, folder=model.root)
    query = kind.queries[0]
    expected = plain_inputs(declared, query, model.root).reshape(1, -1).astype(np.float64) @ weights(kind)
    assert np.ptp(expected) > 0
    np.testing.assert_allclose(device.answer(query).values, expected[0], **kind.close)


@pytest.mark.parametrize("name", ["series", "table", "audio"])
def test_measured_numbers_into_whole_ones_are_refused_with_both_types(name: str, tmp_path: Path) -> None:
    known = KINDS[name]
    kind = Kind(known.pre, known.shape, known.queries, TensorProto.INT64)
    folder = write_folder(tmp_path / "source", kind)
    with pytest.raises(UnusableModel, match="'x' is int64, expected is one of float32, float16"):
        import_model(ImportRequest(folder), tmp_path / "models")
    with pytest.raises(UnusableModel, match=r"goes into float32, float16, int8 or uint8, the input 'x' is int64"):
        ModelFolder.load(folder).pipeline("onnx")


@pytest.mark.parametrize(
    ("name", "changed", "says"),
    [
        ("series", {"normalise": {"method": "robust", "epsilon": float("nan")}}, "epsilon.*finite number, given nan"),
        ("series", {"normalise": {"method": "min_max", "low": float("-inf")}}, "low.*finite number, given -inf"),
        ("text", {"pad_id": 2**63}, r"pad_id.*less than or equal to \d+, given 9223372036854775808"),
    ],
)
def test_numbers_that_are_none_are_told_where_the_yaml_is_read(
    name: str, changed: dict[str, Any], says: str, tmp_path: Path
) -> None:
    known = KINDS[name]
    folder = write_folder(tmp_path / "source", Kind({**known.pre, **changed}, known.shape, known.queries))
    with pytest.raises(ConfigurationError, match=says):
        ModelFolder.load(folder)


def test_padding_that_the_input_does_not_hold_is_told_when_the_model_is_read(tmp_path: Path) -> None:
    known = KINDS["text"]
    kind = Kind({**known.pre, "pad_id": 2**31}, known.shape, known.queries, TensorProto.INT32)
    with pytest.raises(UnusableModel, match="pad_id is 2147483648: the input 'x' is int32, at most 2147483647"):
        ModelFolder.load(write_folder(tmp_path / "source", kind)).pipeline("onnx")


def test_calibration_is_refused_where_whole_numbers_go_in(tmp_path: Path) -> None:
    kind = KINDS["tensor of whole numbers"]
    model = ModelFolder.load(write_folder(tmp_path / "source", kind))
    recipe = Recipe.model_validate(
        {"version": 1, "name": "int8", "formats": ["onnx"], "passes": [{"quantize_static": {"scheme": "u8u8"}}]}
    )
    (failed,) = build_variants(model, [recipe], kind.queries, PassCache(tmp_path / "cache"), lambda *_: None)
    assert isinstance(failed, FailedVariant)
    assert "one float input, and this one takes whole numbers; use quantize_dynamic" in failed.because
