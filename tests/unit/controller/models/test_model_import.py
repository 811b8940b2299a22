"""Importing: what a user brings, what is refused and why, and that nothing half is left."""

import errno
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from controller.compress.cache import PassCache
from controller.compress.process.run import EvaluationContext, run_variant
from controller.compress.variant import baseline_variant
from controller.errors import ConfigurationError, DiskFull, NotFound, UnusableData, UnusableModel
from controller.models import importing
from controller.models.catalogue import find_model, list_models, version_order
from controller.models.checking import FACTS
from controller.models.importing import ImportRequest, import_model
from controller.models.samples import calibration_samples, evaluation_samples
from tests.unit.controller.compress.small_models import conv_model, series, write_folder
from tests.unit.controller.compress.small_tflite import FEATURES, rows, write_tflite
from tests.unit.controller.models.sources.small_graphs import recurrent, save

pytestmark = pytest.mark.usefixtures("children_here")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "given" / "My.onnx"
    path.parent.mkdir()
    onnx.save(conv_model(), path)
    return path


@pytest.fixture
def samples(source: Path) -> Path:
    inputs, labels = series(60, seed=3)
    path = source.with_suffix(".npz")
    np.savez(path, inputs=inputs, labels=labels)
    return path


def test_a_bare_onnx_with_samples_becomes_a_model(source: Path, samples: Path, tmp_path: Path) -> None:
    request = ImportRequest(source, name="mine", samples=samples, labels=("slow", "middle", "fast"))
    model = import_model(request, tmp_path / "models")
    assert model.root == (tmp_path / "models" / "mine" / "1").resolve()
    assert (model.identity, model.kind, model.labels) == ("mine@1", "classification", ("slow", "middle", "fast"))
    assert model.pipeline("onnx").pre.kind == "tensor"
    assert len(evaluation_samples(model, tmp_path / "s")) == 48
    facts = json.loads((model.root / FACTS).read_text())
    assert facts["formats"]["onnx"]["macs"] == 64 * 8 * 5 + 64 * 16 * 8 * 5 + 16 * 3
    assert facts["formats"]["onnx"]["input"]["shape"] == [-1, 1, 64]
    assert facts["samples"] == {"evaluation": 48, "calibration": 12}
    assert "multiply-accumulates" in (model.root / "CARD.md").read_text()
    assert not [path for path in model.root.iterdir() if path.name.startswith(".")]


def test_the_same_again_is_the_same_and_another_is_the_next(source: Path, samples: Path, tmp_path: Path) -> None:
    request = ImportRequest(source, name="mine", samples=samples)
    assert import_model(request, tmp_path / "models").version == "1"
    assert import_model(request, tmp_path / "models").version == "1"
    other = conv_model()
    other.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.ones((8, 1, 5), np.float32), "w1"))
    onnx.save(other, source)
    assert import_model(request, tmp_path / "models").identity == "mine@2"
    assert import_model(request, tmp_path / "models").identity == "mine@2"
    assert "mine@2" in (tmp_path / "models" / "mine" / "2" / "CARD.md").read_text()


def test_the_name_follows_from_the_file(source: Path, tmp_path: Path) -> None:
    assert import_model(ImportRequest(source), tmp_path / "models").name == "my"


@pytest.mark.parametrize(("file", "name"), [("My Model (2).onnx", "my-model-2"), ("net_v1.3.onnx", "net_v1.3")])
def test_a_file_name_is_made_into_a_name(file: str, name: str, source: Path, tmp_path: Path) -> None:
    assert import_model(ImportRequest(source.rename(source.parent / file)), tmp_path / "models").name == name


@pytest.mark.parametrize("name", ["My Model", "../up", "x" * 64])
def test_a_name_that_cannot_stand_in_a_path_is_refused(name: str, source: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is no name for a model"):
        import_model(ImportRequest(source, name=name), tmp_path / "models")


def test_float_labels_mean_regression(source: Path, tmp_path: Path) -> None:
    inputs, _ = series(20, seed=3)
    np.savez(source.with_suffix(".npz"), inputs=inputs, labels=np.zeros((20, 3), np.float32))
    request = ImportRequest(source, samples=source.with_suffix(".npz"))
    assert import_model(request, tmp_path / "models").kind == "regression"


def test_a_folder_is_taken_with_its_version(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "given")
    model = import_model(ImportRequest(folder), tmp_path / "models")
    assert model.identity == "small@1"
    assert import_model(ImportRequest(folder), tmp_path / "models").root == model.root
    yaml = (folder / "model.yaml").read_text()
    (folder / "model.yaml").write_text(yaml.replace("slow", "slowest"))
    with pytest.raises(UnusableModel, match="raise `version`"):
        import_model(ImportRequest(folder), tmp_path / "models")
    (folder / "model.yaml").write_text(yaml.replace("slow", "slowest").replace('"1"', '"1.1"'))
    assert import_model(ImportRequest(folder), tmp_path / "models").identity == "small@1.1"


def nan_weights(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.full((8, 1, 5), np.nan, np.float32), "w1"))


def fixed_batch(model: onnx.ModelProto) -> None:
    for value in (model.graph.input[0], model.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_value = 4


def free_length(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "length"


def unknown_operator(model: onnx.ModelProto) -> None:
    model.graph.node[0].domain = "somewhere.else"
    model.opset_import.append(onnx.helper.make_opsetid("somewhere.else", 1))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (nan_weights, "'w1' hold NaN"),
        (fixed_batch, "the batch is fixed at 4"),
        (free_length, r"only the batch \(first axis\) may be free"),
        (unknown_operator, "no engine here has operator Conv of domain 'somewhere.else'"),
    ],
)
def test_a_model_that_cannot_be_used_is_refused_and_leaves_nothing(change: Any, says: str, tmp_path: Path) -> None:
    model = conv_model()
    change(model)
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(UnusableModel, match=says):
        import_model(ImportRequest(tmp_path / "m.onnx"), tmp_path / "models")
    assert list((tmp_path / "models").iterdir()) == []


def test_an_input_of_one_axis_is_refused(tmp_path: Path) -> None:
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Relu", ["x"], ["y"])],
        "flat",
        [value("x", onnx.TensorProto.FLOAT, [4])],
        [value("y", onnx.TensorProto.FLOAT, [4])],
    )
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10),
        tmp_path / "m.onnx",
    )
    with pytest.raises(UnusableModel, match="two or more axes is needed"):
        import_model(ImportRequest(tmp_path / "m.onnx"), tmp_path / "models")


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"inputs": np.zeros((9, 1, 63)), "labels": np.zeros(9, int)}, "the model takes"),
        ({"inputs": np.zeros((0, 1, 64)), "labels": np.zeros(0, int)}, "no samples"),
        ({"labels": np.zeros(9, int)}, "no array 'inputs'"),
    ],
)
def test_samples_that_do_not_fit_are_refused_and_leave_nothing(
    arrays: dict[str, Any], says: str, source: Path, tmp_path: Path
) -> None:
    np.savez(tmp_path / "s.npz", **arrays)
    with pytest.raises(UnusableData, match=says):
        import_model(ImportRequest(source, samples=tmp_path / "s.npz"), tmp_path / "models")
    assert list((tmp_path / "models").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nowhere", r"an \.onnx file, a \.tflite file, .* can be imported"),
        ("picture.jpg", r"an \.onnx file, a \.tflite file, .* can be imported"),
        ("weights.safetensors", r"weights alone are no model: name the module .* --state"),
        ("weights.pt", r"weights alone are no model"),
        ("net.py", r"name the function in it that makes the network: FILE\.py:FUNCTION"),
        ("frozen.pb", r"name the folder of the SavedModel"),
        ("net.pte", r"made for one engine; import what it was made of"),
    ],
)
def test_what_is_no_source_says_what_is(name: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(UnusableModel, match=says):
        import_model(ImportRequest(tmp_path / name), tmp_path / "models")
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize("name", ["m.onnx", "m.tflite", "m.keras", "m.h5", "m.pt2", "net.py:build"])
def test_a_source_that_is_not_there_is_named(name: str, tmp_path: Path) -> None:
    request = ImportRequest(tmp_path / name, state=tmp_path / "w.pt" if ":" in name else None)
    with pytest.raises(NotFound, match="no such file"):
        import_model(request, tmp_path / "models")


def test_weights_of_a_folder_that_lie_beside_its_file_are_taken_in(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "given")
    onnx.save(conv_model(), folder / "small.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    model = import_model(ImportRequest(folder), tmp_path / "models")
    assert not (model.root / "weights.bin").exists()
    assert (folder / "weights.bin").exists()
    facts = json.loads((model.root / FACTS).read_text())
    assert (
        facts["formats"]["onnx"]["bytes"]
        == model.file("onnx").stat().st_size
        > 4 * facts["formats"]["onnx"]["parameters"]
    )
    assert import_model(ImportRequest(folder), tmp_path / "models").root == model.root


def test_a_bare_tflite_is_served_as_it_is(tmp_path: Path) -> None:
    path = write_tflite(tmp_path / "row.tflite")
    np.savez(tmp_path / "s.npz", inputs=rows(20), labels=np.arange(20) % 4)
    model = import_model(ImportRequest(path, samples=tmp_path / "s.npz"), tmp_path / "models")
    facts = json.loads((model.root / FACTS).read_text())
    assert (model.baseline_format, list(model.spec.formats)) == ("tflite", ["tflite"])
    assert model.file("tflite").read_bytes() == path.read_bytes()
    assert (facts["formats"]["tflite"]["macs"], facts["formats"]["tflite"]["precision"]) == (FEATURES * 4, "float32")
    assert facts["engines"]["litert"]["runs"] is True
    assert facts["origin"]["source"] == "row.tflite"
    assert "- litert" in (model.root / "CARD.md").read_text()


def test_a_model_with_state_is_imported_and_answers(tmp_path: Path) -> None:
    path = save(recurrent(), tmp_path / "leaky.onnx")
    model = import_model(ImportRequest(path, kind="regression"), tmp_path / "models")
    pipeline = model.pipeline("onnx")
    assert pipeline.pre.input.name == "chunk"
    assert pipeline.state is not None
    assert [(one.input.name, one.output.name) for one in pipeline.state] == [("h", "h_out")]
    context = EvaluationContext(PassCache(tmp_path / "cache"), np.zeros((1, 4), np.float32))
    outputs = np.load(run_variant(baseline_variant(model), np.ones((3, 4), np.float32), context))
    np.testing.assert_allclose(outputs.ravel(), [1.0, 1.5, 1.75])
    assert "state: `h`" in (model.root / "CARD.md").read_text()


def test_a_full_disk_leaves_nothing(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(importing, "check_model", full)
    with pytest.raises(DiskFull, match="no room"):
        import_model(ImportRequest(source), tmp_path / "models")
    assert list((tmp_path / "models").iterdir()) == []


def test_models_are_found_by_name_version_and_path(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "given")
    root = tmp_path / "models"
    for version in ("1", "2", "10"):
        place = root / "small" / version
        shutil.copytree(folder, place)
        (place / "model.yaml").write_text((folder / "model.yaml").read_text().replace('"1"', f'"{version}"'))
    assert [model.version for model in list_models(root)] == ["1", "2", "10"]
    assert find_model("small", root).version == "10"
    assert find_model("small@2", root).version == "2"
    assert find_model("./given", root, relative_to=tmp_path).root == folder.resolve()
    with pytest.raises(NotFound, match="imported are: small@1, small@2, small@10"):
        find_model("small@3", root)
    with pytest.raises(NotFound, match="none yet"):
        find_model("other", tmp_path / "empty")


def test_versions_sort_by_their_numbers() -> None:
    assert sorted(["1.10", "1.2", "2", "1"], key=version_order) == ["1", "1.2", "1.10", "2"]


def test_a_detection_model_is_imported_and_calibrated_but_not_judged(tmp_path: Path) -> None:
    source = tmp_path / "finder"
    source.mkdir()
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 6, 9]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "finder", ends[:1], ends[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), source / "f.onnx")
    np.savez(source / "s.npz", inputs=np.random.default_rng(1).random((5, 6, 9), dtype=np.float32))
    (source / "model.yaml").write_text(
        "schema: 1\nname: finder\nversion: '1'\nkind: detection\nformats: {onnx: {file: f.onnx}}\n"
        "pre: {kind: tensor}\npost: {kind: detection, labels: [leaf, stone]}\ndata: {npz: s.npz}\n"
    )
    model = import_model(ImportRequest(source), tmp_path / "models")
    assert json.loads((model.root / FACTS).read_text())["samples"] == {"evaluation": 0, "calibration": 5}
    assert calibration_samples(model, tmp_path / "s").shape == (5, 6, 9)
    with pytest.raises(
        UnusableData, match=r"finder@1, evaluation samples: no labels.*add arrays `boxes` \(n, most, 4\)"
    ):
        evaluation_samples(model, tmp_path / "s")
