"""Recipes that begin with a conversion: kept ones are taken, missing ones made, what is out of reach fails alone."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from controller.compress.build import CONVERTING, build_wanted
from controller.compress.cache import PassCache
from controller.compress.passes import converted
from controller.compress.passes.converted import conversions_of, out_of_reach
from controller.compress.recipe import Recipe
from controller.compress.variant import FailedVariant, Variant, wanted_variants
from controller.convert.conversion import RECORD
from controller.convert.making import make
from controller.convert.parity import LIMITS, Limits
from controller.errors import DiskFull
from controller.models.folder import ModelFolder
from controller.models.samples import calibration_samples
from tests.unit.controller.compress.small_models import MODEL_YAML, write_folder
from tests.unit.controller.convert.making.test_convert import torch_model as torch_model  # a fixture
from tests.unit.controller.convert.test_conversion_records import put

pytestmark = pytest.mark.usefixtures("children_here")

SERIES_YAML = MODEL_YAML.replace(
    MODEL_YAML[MODEL_YAML.index("pre:") : MODEL_YAML.index("post:")], "pre: {kind: tensor}\n"
).replace(", layout: NCL", "")
NO_QUERIES = np.zeros((0, 1, 64), np.float32)


def recipe(form: str, precision: str, *passes: dict[str, Any], name: str = "made") -> Recipe:
    steps = [{"converted": {"precision": precision}}, *passes]
    return Recipe.model_validate({"version": 1, "name": name, "formats": [form], "passes": steps})


SIMPLE = Recipe.model_validate({"version": 1, "name": "simple", "formats": ["onnx"], "passes": [{"simplify": {}}]})


@pytest.fixture
def small(tmp_path: Path) -> ModelFolder:
    return ModelFolder.load(write_folder(tmp_path / "small", SERIES_YAML))


@pytest.fixture
def rows(torch_model: Path) -> ModelFolder:
    """A model with an ONNX file, and torch beside it."""
    return ModelFolder.load(torch_model)


@pytest.fixture(autouse=True)
def _no_converters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THRESHER_CONVERTERS", str(tmp_path / "converters"))


def build(
    model: ModelFolder, root: Path, *recipes: Recipe, datasets: bool = True, said: list[str] | None = None
) -> list[Variant | FailedVariant]:
    wanted, _ = wanted_variants(recipes, model.formats)
    return build_wanted(
        model, wanted, NO_QUERIES, PassCache(root / "cache"),
        lambda _, what: said.append(what) if said is not None else None,
        datasets=root / "datasets" if datasets else None,
    )  # fmt: skip


def test_a_missing_conversion_is_made_once_and_kept(
    small: ModelFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    (made,) = build(small, tmp_path, recipe("onnx", "fp16"), said=said)
    assert isinstance(made, Variant)
    assert (made.name, made.format, made.engine, made.precision) == ("onnx-made", "onnx", "onnxruntime", "float16")
    assert made.lineage == ("converted(precision=fp16)",)
    assert made.model_file == small.root / "conversions/onnx-fp16/model.onnx"
    assert made.notes[0].startswith("converted from onnx, ")
    assert any(what.startswith(CONVERTING) and "onnx -> onnx fp16" in what for what in said)

    def never(*_: object) -> None:
        raise AssertionError("it is kept")

    monkeypatch.setattr(make, "convert", never)
    (again,) = build(small, tmp_path, recipe("onnx", "fp16"))
    assert isinstance(again, Variant)
    assert again.model_file.read_bytes() == made.model_file.read_bytes()


def test_float_is_the_models_own_file_and_passes_may_follow(small: ModelFolder, tmp_path: Path) -> None:
    plain, halved = build(
        small, tmp_path, recipe("onnx", "float"), recipe("onnx", "float", {"float16": {}}, name="half")
    )
    assert isinstance(plain, Variant)
    assert isinstance(halved, Variant)
    assert plain.model_file == small.file("onnx")
    assert (halved.precision, halved.lineage) == (
        "float16",
        ("converted(precision=float)", "float16(keep_io_types=True)"),
    )
    assert not (small.root / "conversions").exists()


def test_a_kept_conversion_is_taken_and_so_is_a_format_that_comes_of_it(rows: ModelFolder, tmp_path: Path) -> None:
    """The model has no TFLite of its own: a recipe converts to it, and another one takes what it made."""
    put(rows.root)
    steps = [{"tflite_quantize": {"mode": "dynamic"}}]
    lite = Recipe.model_validate({"version": 1, "name": "tflite-dynamic", "formats": ["tflite"], "passes": steps})
    first, second = build(rows, tmp_path, recipe("tflite", "float"), lite, datasets=False)
    assert isinstance(first, Variant)
    assert (first.name, first.precision, first.engine) == ("tflite-made", "float32", "litert")
    assert first.notes == ("converted from torch, 120.0 dB from it",)
    assert first.pipeline.pre.input.shape == (1, 16)
    assert isinstance(second, Variant)
    assert second.precision == "int8-dynamic"


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ("executorch", "converter environment torch is not installed: run  controller model converters install torch"),
        ("tflite", "controller model converters install torch"),
    ],
)
def test_a_missing_converter_fails_alone_and_names_the_command(
    rows: ModelFolder, tmp_path: Path, form: str, says: str
) -> None:
    (failed,) = build(rows, tmp_path, recipe(form, "float"))
    assert isinstance(failed, FailedVariant)
    assert failed.pass_name == "converted"
    assert says in failed.because
    assert out_of_reach(rows, form, "float") == failed.because


def test_a_model_without_such_a_source_fails_alone(small: ModelFolder, tmp_path: Path) -> None:
    failed, made = build(small, tmp_path, recipe("executorch", "int8"), SIMPLE)
    assert isinstance(failed, FailedVariant)
    assert "ExecuTorch lowers PyTorch programs only" in failed.because
    assert "import the torch module" in failed.because
    assert out_of_reach(small, "executorch", "int8") == failed.because
    assert isinstance(made, Variant)


def test_int8_without_samples_says_so(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "bare", SERIES_YAML[: SERIES_YAML.index("data:")])
    model = ModelFolder.load(root)
    because = out_of_reach(model, "onnx", "int8")
    assert because is not None
    assert "names no samples: add `data`" in because
    (failed,) = build(model, tmp_path, recipe("onnx", "int8"))
    assert isinstance(failed, FailedVariant)
    assert "names no samples: add `data`" in failed.because


def test_one_that_fails_parity_is_kept_and_never_taken(
    small: ModelFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LIMITS, ("onnx", "fp16"), Limits(500.0, 1.0))
    (failed,) = build(small, tmp_path, recipe("onnx", "fp16"))
    assert isinstance(failed, FailedVariant)
    assert failed.because.startswith("never deployed: ")
    record = json.loads((small.root / "conversions/onnx-fp16" / RECORD).read_text())
    assert record["flagged"] in failed.because
    assert out_of_reach(small, "onnx", "fp16") is None  # it can be made anew: with another release's converter, say


def test_without_a_place_for_samples_nothing_is_made(small: ModelFolder, tmp_path: Path) -> None:
    (failed,) = build(small, tmp_path, recipe("onnx", "fp16"), datasets=False)
    assert isinstance(failed, FailedVariant)
    assert "none is made here" in failed.because
    assert not (small.root / "conversions").exists()


def test_a_folder_that_may_not_be_written_fails_alone_and_a_full_disk_ends_it(
    small: ModelFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "conversions")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(make, "convert", refused)
    (failed,) = build(small, tmp_path, recipe("onnx", "fp16"))
    assert isinstance(failed, FailedVariant)
    assert "cannot be kept in the model's folder" in failed.because
    monkeypatch.setattr(make, "convert", full)
    with pytest.raises(DiskFull):
        build(small, tmp_path, recipe("onnx", "fp16"))


def test_an_own_file_that_is_quantised_is_no_float(small: ModelFolder, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(converted, "file_precision", lambda *_: "int8")
    (failed,) = build(small, tmp_path, recipe("onnx", "float"))
    assert isinstance(failed, FailedVariant)
    assert "is int8, and no float file to begin with" in failed.because


def test_each_conversion_is_named_once() -> None:
    recipes = [
        recipe("executorch", "int8"),
        SIMPLE,
        recipe("executorch", "int8", name="other"),
        recipe("tflite", "float"),
    ]
    assert conversions_of(recipes) == (("executorch", "int8"), ("tflite", "float"))


def test_calibration_is_that_of_the_format(small: ModelFolder, tmp_path: Path) -> None:
    """A pass after the conversion calibrates as it would on the model's own file."""
    calibration = calibration_samples(small, tmp_path / "datasets")
    steps: list[dict[str, Any]] = [{"quantize_static": {"samples": 8}}]
    own = Recipe.model_validate({"version": 1, "name": "own", "formats": ["onnx"], "passes": steps})
    wanted, _ = wanted_variants([own, recipe("onnx", "float", *steps)], small.formats)
    made = build_wanted(small, wanted, calibration, PassCache(tmp_path / "cache"), lambda *_: None)
    files = {one.model_file for one in made if isinstance(one, Variant)}
    assert [one.because for one in made if isinstance(one, FailedVariant)] == []
    assert (len(made), len(files)) == (2, 1)
