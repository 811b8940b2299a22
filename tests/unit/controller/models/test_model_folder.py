"""`model.yaml`: what is accepted, and how each refusal names file and field."""

from collections.abc import Sequence
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from controller.compress.variant import BASELINE, baseline_variant
from controller.errors import ConfigurationError, NotFound, UnusableModel
from controller.models.folder import ModelFolder
from tests.unit.controller.compress.small_models import MODEL_YAML, write_folder
from wire.spec import DetectionPost, output_tensors

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


Outputs = Sequence[tuple[str, tuple[int, ...]]]
BOXES_AND_SCORES: Outputs = [("boxes", (7, 4)), ("scores", (7, 3))]
HEADS = """\
schema: 1
name: finder
version: "1"
kind: detection
formats:
  onnx: {file: finder.onnx}
pre: {kind: tensor}
post: {kind: detection, head: boxes, labels: [leaf, stone, soil]}
"""


def finder(folder: Path, yaml: str = HEADS, outputs: Outputs = BOXES_AND_SCORES) -> Path:
    """Write a folder whose model has outputs of these shapes behind the batch."""
    nodes = [helper.make_node("RandomUniform", [], [name], shape=[1, *shape]) for name, shape in outputs]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3])
    made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, *shape]) for name, shape in outputs]
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(helper.make_graph(nodes, "finder", [x], made)), folder / "finder.onnx")
    (folder / "model.yaml").write_text(yaml)
    return folder


def test_a_head_with_two_outputs_finds_both(tmp_path: Path) -> None:
    post = ModelFolder.load(finder(tmp_path)).pipeline("onnx").post
    assert isinstance(post, DetectionPost)
    assert post.scores is not None
    assert (post.output.name, post.output.shape, post.scores.name) == ("boxes", (1, 7, 4), "scores")


def test_of_more_outputs_the_scores_must_be_named(tmp_path: Path) -> None:
    outputs: Outputs = [("count", (1,)), *BOXES_AND_SCORES]
    yaml = HEADS.replace("finder.onnx}", "finder.onnx, output: boxes}")
    with pytest.raises(UnusableModel, match=r"which output holds the scores.*count, boxes, scores"):
        ModelFolder.load(finder(tmp_path, yaml, outputs)).pipeline("onnx")
    named = yaml.replace("output: boxes}", "output: boxes, scores: scores}")
    post = ModelFolder.load(finder(tmp_path, named, outputs)).pipeline("onnx").post
    assert [tensor.name for tensor in output_tensors(post)] == ["boxes", "scores"]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("head: boxes,", "head: boxes, scores: {name: s, shape: [1]},", "post.scores follows from the model's file"),
        ("head: boxes,", "head: ssd,", "anchors_file"),
        ("head: boxes", "head: yolo, objectness: true, activation: softmax", "objectness"),
        ("head: boxes,", "head: boxes, iou: 0.5,", "post.iou: unknown key"),
    ],
)
def test_a_faulty_head_names_file_and_field(old: str, new: str, says: str, tmp_path: Path) -> None:
    assert old in HEADS
    with pytest.raises(ConfigurationError, match=rf"model\.yaml(.|\n)*{says}"):
        ModelFolder.load(finder(tmp_path, HEADS.replace(old, new, 1)))


def test_scores_of_a_head_that_has_none_are_refused(tmp_path: Path) -> None:
    yaml = HEADS.replace("finder.onnx}", "finder.onnx, scores: s}").replace("head: boxes", "head: yolo")
    with pytest.raises(ConfigurationError, match=r"formats\.onnx\.scores: only the detection heads ssd and boxes"):
        ModelFolder.load(finder(tmp_path, yaml))


@pytest.mark.parametrize(
    ("post", "outputs", "says"),
    [
        ("{kind: detection, head: boxes, labels: [leaf]}", BOXES_AND_SCORES, "3 classes, `labels` has 1"),
        ("{kind: detection, head: yolo}", [("head", (4, 7))], r"shape \(1, 4, 7\).*\(1, 4 \+ classes, anchors\)"),
        ("{kind: detection, head: ssd, anchors_file: a.npy}", BOXES_AND_SCORES, "a.npy is not there"),
        ("{kind: segmentation}", [("map", (3, 5))], r"shape \(1, 3, 5\).*four axes"),
        ("{kind: segmentation, layout: NHWC}", [("map", (3, 5, 1))], "1 classes where it is NHWC"),
    ],
)
def test_outputs_that_do_not_fit_are_refused_before_anything_is_sent(
    post: str, outputs: Outputs, says: str, tmp_path: Path
) -> None:
    kind = "segmentation" if "segmentation" in post else "detection"
    head, _ = HEADS.replace("kind: detection\n", f"kind: {kind}\n").split("post: ")
    with pytest.raises(UnusableModel, match=says):
        ModelFolder.load(finder(tmp_path, f"{head}post: {post}\n", outputs)).pipeline("onnx")
