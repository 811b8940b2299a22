"""Conversions end to end where no converter environment is needed, and with a converter that is told what to make."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from controller.compress.cache import PassCache
from controller.convert.environments import Environment
from controller.convert.making import export
from controller.convert.making.make import ConvertContext, ConvertRequest, convert
from controller.convert.making.queries import GOLDEN, PROBE
from controller.errors import ConversionFailed, ConverterMissing, UnusableData, UnusableModel
from controller.models.folder import ModelFolder
from tests.unit.controller.compress.small_models import MODEL_YAML, write_folder
from tests.unit.controller.compress.small_tflite import FEATURES, expected, rows, write_tflite

# Queries go in as they are: kernels that would have to be compiled first are compared in test_preprocess.py.
SERIES_YAML = MODEL_YAML.replace(
    MODEL_YAML[MODEL_YAML.index("pre:") : MODEL_YAML.index("post:")], "pre: {kind: tensor}\n"
)
SERIES_YAML = SERIES_YAML.replace(", layout: NCL", "")
ROWS_YAML = """\
schema: 1
name: rows
version: "1"
kind: classification
formats:
  tflite: {file: rows.tflite}
pre: {kind: tensor}
post: {kind: classification}
data: {npz: samples.npz}
"""
TORCH = 'torch: {factory: "net.py:build", state: rows.safetensors}\n'


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cache and samples of all tests here: what was computed once is not computed again."""
    return tmp_path_factory.mktemp("convert")


@pytest.fixture
def context(shared: Path) -> ConvertContext:
    return ConvertContext(PassCache(shared / "cache"), shared / "datasets")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "small", SERIES_YAML)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A model of one layer in TFLite."""
    root = tmp_path / "rows"
    root.mkdir()
    write_tflite(root / "rows.tflite")
    inputs = rows(60)
    np.savez(root / "samples.npz", inputs=inputs, labels=expected(inputs).argmax(axis=1))
    (root / "model.yaml").write_text(ROWS_YAML)
    return root


@pytest.mark.parametrize(
    ("target", "precision", "least_db"),
    [
        ("onnx", "fp16", 45),
        pytest.param("onnx", "int8", 15, marks=pytest.mark.long),
        pytest.param("tensorrt", "fp16", 45, marks=pytest.mark.long),
        ("tensorrt", "int8", 15),
    ],
)
def test_onnx_is_stored_in_fewer_bits_and_answers_the_same(
    small: Path, context: ConvertContext, target: str, precision: str, least_db: float
) -> None:
    kept = convert(ConvertRequest(ModelFolder.load(small), target, precision), context)
    made = kept.conversion
    assert kept.because is None
    assert made.parity is not None
    assert made.parity.sqnr_db is not None
    assert made.parity.sqnr_db > least_db
    assert made.parity.samples == GOLDEN + PROBE
    assert kept.path == small / "conversions" / f"{target}-{precision}" / "model.onnx"
    stored = {weight.data_type for weight in onnx.load(kept.path).graph.initializer if np.prod(weight.dims) > 32}
    assert stored == {onnx.TensorProto.FLOAT16 if precision == "fp16" else onnx.TensorProto.INT8}
    assert (made.format, made.engine, made.source) == ("onnx", "onnxruntime", "onnx")
    assert made.engine_options == ({"provider": "tensorrt"} if target == "tensorrt" else {})
    assert "onnxruntime" in made.converter
    assert ("opset 20: needs TensorRT 10" in made.notes) == (target == "tensorrt")
    model = ModelFolder.load(small)
    assert model.converted(target, precision) == kept
    assert list(model.formats) == ["onnx"]


@pytest.mark.parametrize(("precision", "least_db"), [pytest.param("fp16", 50, marks=pytest.mark.long), ("int8", 15)])
def test_tflite_is_stored_in_fewer_bits(table: Path, context: ConvertContext, precision: str, least_db: float) -> None:
    kept = convert(ConvertRequest(ModelFolder.load(table), "tflite", precision), context)
    assert kept.because is None
    assert kept.conversion.parity is not None
    assert kept.conversion.parity.sqnr_db is not None
    assert kept.conversion.parity.sqnr_db > least_db
    assert kept.conversion.converter.keys() >= {"ai-edge-quantizer"}


@pytest.mark.parametrize("precision", ["fp16", pytest.param("int8", marks=pytest.mark.long)])
def test_what_tensorrt_would_refuse_is_not_converted_for_it(
    small: Path, context: ConvertContext, precision: str
) -> None:
    model = onnx.load(small / "small.onnx")
    model.opset_import[0].version = 21
    onnx.save(model, small / "small.onnx")
    with pytest.raises(UnusableModel, match="parser would refuse the file: opset 21; 9 to 20 are read"):
        convert(ConvertRequest(ModelFolder.load(small), "tensorrt", precision), context)
    assert not (small / "conversions").exists()


@pytest.mark.long
def test_the_same_conversion_gives_the_same_file(small: Path, context: ConvertContext, tmp_path: Path) -> None:
    first = convert(ConvertRequest(ModelFolder.load(small), "tensorrt", "int8"), context).conversion
    other = ConvertContext(PassCache(tmp_path / "cache"), tmp_path / "datasets")
    assert convert(ConvertRequest(ModelFolder.load(small), "tensorrt", "int8"), other).conversion.sha256 == first.sha256
    assert list((small / "conversions").glob(".*")) == []


def converter(monkeypatch: pytest.MonkeyPatch, make: Callable[[Mapping[str, Any]], dict[str, Any]]) -> list[str]:
    """Put a function in the place of the workers; return the list of those that were asked."""
    asked: list[str] = []

    def run(_environment: Environment, worker: str, order: Mapping[str, Any], *_: object) -> dict[str, Any]:
        asked.append(worker)
        return {"outcome": "ok", "file": "model.tflite", "versions": {"made-by": "a test"}, "notes": [], **make(order)}

    monkeypatch.setattr(export, "required", lambda name: Environment(name, Path("python"), Path(name), {"torch": "1"}))
    monkeypatch.setattr(export, "run_worker", run)
    return asked


def rightly(order: Mapping[str, Any]) -> dict[str, Any]:
    """Do what a converter from torch does for the model of one layer."""
    folder = Path(order["folder"])
    write_tflite(folder / "model.tflite")
    np.save(folder / "source.npy", expected(np.load(order["inputs"])))
    return {"source_outputs": ["source.npy"]}


def wrongly(order: Mapping[str, Any]) -> dict[str, Any]:
    """Give a file whose weights are another network's: it loads, runs, and answers wrongly."""
    result = rightly(order)
    path = Path(order["folder"]) / "model.tflite"
    random = np.random.default_rng(9)
    content = bytearray(path.read_bytes())
    weights = random.normal(0, 0.5, (4, FEATURES)).astype(np.float32).tobytes()
    place = content.index(np.load(_weights(path)).tobytes())
    content[place : place + len(weights)] = weights
    path.write_bytes(content)
    return result


def _weights(path: Path) -> Path:
    from tests.unit.controller.compress.small_tflite import weights

    np.save(path.with_suffix(".npy"), weights()[0])
    return path.with_suffix(".npy")


@pytest.fixture
def torch_model(tmp_path: Path) -> Path:
    """The model of one layer with an ONNX file, and torch beside it."""
    root = tmp_path / "rows"
    root.mkdir()
    (root / "net.py").write_text("def build(): ...\n")
    (root / "rows.safetensors").write_bytes(b"weights")
    inputs = rows(60)
    np.savez(root / "samples.npz", inputs=inputs, labels=expected(inputs).argmax(axis=1))
    onnx.save(_layer(), root / "rows.onnx")
    (root / "model.yaml").write_text(
        ROWS_YAML.replace("tflite: {file: rows.tflite}", "onnx: {file: rows.onnx}") + TORCH
    )
    return root


def _layer(sign: float = 1.0) -> onnx.ModelProto:
    from onnx import TensorProto, helper

    from tests.unit.controller.compress.small_tflite import weights

    matrix, bias = weights()
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["row", "matrix", "bias"], ["scores"], transB=1)],
        "rows",
        [helper.make_tensor_value_info("row", TensorProto.FLOAT, ["n", FEATURES])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 4])],
        [numpy_helper.from_array(sign * matrix, "matrix"), numpy_helper.from_array(sign * bias, "bias")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.usefixtures("children_here")
def test_a_float_conversion_that_keeps_parity_is_the_models_file(
    torch_model: Path, context: ConvertContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = converter(monkeypatch, rightly)
    kept = convert(ConvertRequest(ModelFolder.load(torch_model), "tflite"), context)
    assert asked == ["from_torch.to_tflite"]
    assert kept.because is None
    assert kept.conversion.parity is not None
    assert (kept.conversion.parity.sqnr_db or 200) > 100
    assert kept.conversion.converter == {"made-by": "a test"}
    assert (kept.conversion.ends.input, kept.conversion.ends.output) == ("row", "scores")
    assert ModelFolder.load(torch_model).file("tflite") == kept.path
    (torch_model / "rows.safetensors").write_bytes(b"other weights")
    assert "tflite" not in ModelFolder.load(torch_model).formats


@pytest.mark.usefixtures("children_here")
def test_a_wrong_conversion_is_kept_flagged_and_never_offered(
    torch_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    converter(monkeypatch, wrongly)
    own = ConvertContext(PassCache(tmp_path / "cache"), tmp_path / "datasets")
    kept = convert(ConvertRequest(ModelFolder.load(torch_model), "tflite"), own)
    assert kept.path.is_file()
    assert "at least 70 are needed" in str(kept.conversion.flagged)
    assert kept.conversion.parity is not None
    assert kept.conversion.parity.sqnr_db is not None
    assert kept.conversion.parity.sqnr_db < 10
    model = ModelFolder.load(torch_model)
    assert list(model.formats) == ["onnx"]
    with pytest.raises(UnusableModel, match="never deployed"):
        model.converted("tflite", "float")
    # What is made of a wrong float file is wrong too.
    half = convert(ConvertRequest(model, "tflite", "fp16"), own)
    assert half.because is not None
    assert {kept.conversion.name for kept in model.conversions() if kept.because} == {"tflite-float", "tflite-fp16"}


@pytest.mark.usefixtures("children_here")
@pytest.mark.long
def test_a_right_conversion_takes_the_place_of_a_wrong_one(
    torch_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    converter(monkeypatch, wrongly)
    convert(ConvertRequest(ModelFolder.load(torch_model), "tflite"), _fresh(tmp_path / "one"))
    converter(monkeypatch, rightly)
    assert convert(ConvertRequest(ModelFolder.load(torch_model), "tflite"), _fresh(tmp_path / "two")).because is None
    assert "tflite" in ModelFolder.load(torch_model).formats
    assert [path.name for path in (torch_model / "conversions").iterdir()] == ["tflite-float"]


@pytest.mark.usefixtures("children_here")
def test_a_source_that_is_another_network_than_the_models_file_is_told(
    torch_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnx.save(_layer(sign=-1.0), torch_model / "rows.onnx")
    converter(monkeypatch, rightly)
    kept = convert(ConvertRequest(ModelFolder.load(torch_model), "tflite"), _fresh(tmp_path / "own"))
    assert "its source, torch, gives other answers than rows.onnx" in str(kept.because)


@pytest.mark.usefixtures("children_here")
def test_a_file_that_does_not_run_is_flagged(
    torch_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def truncated(order: Mapping[str, Any]) -> dict[str, Any]:
        result = rightly(order)
        np.save(Path(order["folder"]) / "source.npy", np.full((1, 4), np.nan, np.float32))
        return result

    converter(monkeypatch, truncated)
    kept = convert(ConvertRequest(ModelFolder.load(torch_model), "tflite"), _fresh(tmp_path / "own"))
    assert "the source gives NaN or infinite outputs" in str(kept.because)
    assert kept.conversion.unproven == "it could not be compared"


@pytest.mark.parametrize(
    ("failure", "kind", "says"),
    [
        (
            {"outcome": "unusable", "error": "no TFLite form of aten.fft"},
            UnusableModel,
            "to_tflite .*: no TFLite form of",
        ),
        (ConversionFailed("took 9 GiB of memory, and was killed"), ConversionFailed, "9 GiB"),
    ],
)
def test_a_converter_that_gives_nothing_leaves_nothing(
    torch_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Any, kind: type[Exception], says: str
) -> None:
    def fail(_order: Mapping[str, Any]) -> dict[str, Any]:
        if isinstance(failure, Exception):
            raise failure
        return dict(failure)

    converter(monkeypatch, fail)
    with pytest.raises(kind, match=says):
        convert(ConvertRequest(ModelFolder.load(torch_model), "tflite"), _fresh(tmp_path / "own"))
    assert not (torch_model / "conversions").exists()


def test_a_missing_environment_names_its_command(
    torch_model: Path, context: ConvertContext, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("THRESHER_CONVERTERS", str(tmp_path / "none"))
    with pytest.raises(ConverterMissing, match="controller model converters install torch"):
        convert(ConvertRequest(ModelFolder.load(torch_model), "executorch"), context)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("state: rows.safetensors", "state: ../other.safetensors"), "lies outside the model's folder"),
        (("state: rows.safetensors", "state: none.safetensors"), "is not there; put it back"),
    ],
)
def test_a_source_is_read_from_the_models_folder_alone(
    torch_model: Path, context: ConvertContext, monkeypatch: pytest.MonkeyPatch, change: tuple[str, str], says: str
) -> None:
    (torch_model.parent / "other.safetensors").write_bytes(b"weights")
    path = torch_model / "model.yaml"
    path.write_text(path.read_text().replace(*change))
    asked = converter(monkeypatch, rightly)
    with pytest.raises(UnusableModel, match=says):
        convert(ConvertRequest(ModelFolder.load(torch_model), "tflite"), context)
    assert asked == []


def test_int8_needs_samples(small: Path, context: ConvertContext) -> None:
    path = small / "model.yaml"
    path.write_text("".join(line for line in path.read_text().splitlines(True) if not line.startswith("data:")))
    with pytest.raises(UnusableData, match="small@1 names no samples: add `data`"):
        convert(ConvertRequest(ModelFolder.load(small), "onnx", "int8"), context)


@pytest.mark.long
def test_a_model_without_samples_is_compared_on_made_up_queries(small: Path, context: ConvertContext) -> None:
    path = small / "model.yaml"
    path.write_text("".join(line for line in path.read_text().splitlines(True) if not line.startswith("data:")))
    kept = convert(ConvertRequest(ModelFolder.load(small), "onnx", "fp16"), context)
    assert kept.because is None
    assert kept.conversion.parity is not None
    assert kept.conversion.parity.samples == GOLDEN + PROBE


def _fresh(root: Path) -> ConvertContext:
    shutil.rmtree(root, ignore_errors=True)
    return ConvertContext(PassCache(root / "cache"), root / "datasets")
