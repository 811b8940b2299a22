"""`model.yaml`: what is accepted, and how each refusal names file and field."""

from pathlib import Path

import pytest

from controller.compress.variant import BASELINE, baseline_variant
from controller.errors import ConfigurationError, NotFound, UnusableModel
from controller.models.folder import ModelFolder
from tests.unit.controller.compress.small_models import MODEL_YAML, write_folder

COMMITTED = Path(__file__).parents[4] / "models"


def test_a_folder_gives_its_pipeline(tmp_path: Path) -> None:
    model = ModelFolder.load(write_folder(tmp_path))
    pipeline = model.pipeline("onnx")
    assert model.identity == "small@1"
    assert model.labels == ("slow", "middle", "fast")
    assert pipeline.pre.input.shape == (-1, 1, 64)
    assert pipeline.post.output.name == "logits"
    assert baseline_variant(model).name == BASELINE


def test_the_yaml_itself_may_be_named(tmp_path: Path) -> None:
    assert ModelFolder.load(write_folder(tmp_path) / "model.yaml").name == "small"


def test_the_layout_of_a_format_beats_the_one_of_pre(tmp_path: Path) -> None:
    yaml = MODEL_YAML.replace("layout: NCL", "layout: NLC")
    with pytest.raises(UnusableModel, match=r"takes \(-1, 1, 64\), `pre` declares \(batch, 64, 1\)"):
        ModelFolder.load(write_folder(tmp_path, yaml)).pipeline("onnx")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("schema: 1", "schema: 2", "schema"),
        ("name: small", "name: Small Model", "name"),
        ('version: "1"', "version: ../1", "version"),
        ("kind: classification\n", "kind: detection\n", "kind"),
        ("kind: classification\n", "kind: regression\n", "post.kind is 'classification'"),
        ("layout: NCL", "layouts: NCL", "layouts"),
        ("length: 64", "lenght: 64", "pre.*length"),
        ("channels: 1,", "channels: 1, input: {name: x, shape: [1], dtype: int8},", "pre.input and post.output follow"),
        ("channels: 1,", "channels: 1, chanels: 2,", "pre.chanels: unknown key"),
        ("statistics: window", "statistic: window", "pre.normalise.statistic: unknown key"),
        ("normalise: {method: z_score,", "normalise: {method: zscore,", "pre.normalise"),
        ("labels: [slow", "lables: [slow", "post.lables: unknown key"),
        ("npz: samples.npz", "npzz: samples.npz", "data"),
        ("onnx: {file: small.onnx, layout: NCL}", "pte: {file: small.pte}", "formats"),
    ],
)
def test_a_faulty_yaml_names_file_and_field(old: str, new: str, says: str, tmp_path: Path) -> None:
    assert old in MODEL_YAML
    folder = write_folder(tmp_path, MODEL_YAML.replace(old, new, 1))
    with pytest.raises(ConfigurationError, match=rf"model\.yaml(.|\n)*{says}"):
        ModelFolder.load(folder)


def test_yaml_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"model\.yaml"):
        ModelFolder.load(write_folder(tmp_path, "schema: [1"))


def test_a_missing_model_says_how_to_see_the_others(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="controller model list"):
        ModelFolder.load(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "says"), [("gone.onnx", "is not there"), ("../outside.onnx", "lies outside the model's folder")]
)
def test_a_file_that_is_missing_or_outside_is_refused(name: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "outside.onnx").write_bytes(b"x")
    folder = write_folder(tmp_path / "model", MODEL_YAML.replace("file: small.onnx", f"file: {name}"))
    with pytest.raises(UnusableModel, match=says):
        ModelFolder.load(folder)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("length: 64", "length: 63", r"`pre` declares \(batch, 1, 63\)"),
        ("[slow, middle, fast]", "[slow, fast]", "has 3 outputs, `post.labels` names 2"),
        ("layout: NCL", "layout: NCL, input: other", "no input is called 'other'; the file has series"),
        ("layout: NCL", "layout: NCL, output: other", "no output is called 'other'"),
    ],
)
def test_a_pipeline_that_does_not_fit_the_file_is_refused(old: str, new: str, says: str, tmp_path: Path) -> None:
    model = ModelFolder.load(write_folder(tmp_path, MODEL_YAML.replace(old, new)))
    with pytest.raises(UnusableModel, match=says):
        model.pipeline("onnx")


def test_a_format_that_the_model_lacks_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnusableModel, match=r"small@1 has no tflite file; it has onnx"):
        ModelFolder.load(write_folder(tmp_path)).pipeline("tflite")


@pytest.mark.parametrize("name", ["leaf_outline", "soil_carbon"])
def test_the_reference_models_load(name: str) -> None:
    model = ModelFolder.load(COMMITTED / name)
    for form in model.spec.formats:
        assert model.pipeline(form).pre.input.dtype == "float32"
