"""What makes two deploys the same, and that settings survive their row."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from controller.config.fleet_file import load_fleet
from controller.deploy import settings as deploy_settings
from controller.deploy.fleet_files import FoundFleet, find_fleet_file, required_fleet
from controller.deploy.settings import DeploySettings, files_digest, labels_of, read_settings, settings_of
from controller.errors import ConfigurationError, NotFound, UnusableModel
from controller.workspace import Workspace

ROOT = Path(__file__).parents[4]
MODEL = ROOT / "models" / "soil_carbon"
FLEET = """\
version: 1
fleet: yard
classes:
  - {name: one, match: {labels: {board: a}}}
  - {name: two, match: {labels: {board: b}}}
workloads:
  main:
    model: ./tiny
    recipes: [float32]
    goals: {max_r2_drop: 0.05, max_p95_ms: 20}
    per_class: {one: {goals: {max_p95_ms: 5}}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A fleet file and a model folder beside it, with samples of its own."""
    (tmp_path / "yard.yaml").write_text(FLEET)
    tiny = tmp_path / "tiny"
    tiny.mkdir()
    shutil.copy(MODEL / "soil_carbon.onnx", tiny)
    features = _features()
    random = np.random.default_rng(0)
    inputs = random.normal(size=(40, features)).astype(np.float32)
    np.savez(tiny / "samples.npz", inputs=inputs, labels=inputs[:, :1])
    (tiny / "model.yaml").write_text(
        "schema: 1\nname: tiny\nversion: '1'\nkind: regression\n"
        "formats: {onnx: {file: soil_carbon.onnx}}\n"
        f"pre: {{kind: table, features: {features}}}\npost: {{kind: regression}}\ndata: {{npz: samples.npz}}\n"
    )
    return tmp_path


def _features() -> int:
    import onnx

    shape = onnx.load(MODEL / "soil_carbon.onnx").graph.input[0].type.tensor_type.shape
    return int(shape.dim[1].dim_value)


def settings(folder: Path) -> DeploySettings:
    path = folder / "yard.yaml"
    return read_settings(FoundFleet(path, load_fleet(path)), "main", None, Workspace(folder / "ws"))


def test_settings_come_back_from_their_row_unchanged(folder: Path) -> None:
    before = settings(folder)
    after = settings_of(before.document())
    assert after.digest == before.digest
    # Overrides that were left out must stay left out: one that is set to its default would undo the general goal.
    assert after.workload.goals_of("one") == before.workload.goals_of("one")
    assert after.workload.goals_of("one").largest_loss == 0.05


def test_a_kind_that_devices_send_no_answers_of_is_refused(folder: Path) -> None:
    declared = folder / "tiny" / "model.yaml"
    declared.write_text(declared.read_text().replace("kind: regression\nformats", "kind: embedding\nformats"))
    with pytest.raises(UnusableModel, match=r"tiny@1 does embedding:.*`controller model compress tiny@1` judges"):
        settings(folder)


def test_the_same_files_give_the_same_digest(folder: Path) -> None:
    assert settings(folder).digest == settings(folder).digest


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("max_p95_ms: 20", "max_p95_ms: 21", False),
        ("board: a", "board: c", False),
        ("fleet: yard", "fleet: yard\nbroker: {host: 10.0.0.1}", True),  # where the broker is decides nothing
        ("recipes: [float32]", "recipes: [float16]", False),
    ],
)
def test_what_counts(folder: Path, old: str, new: str, same: bool) -> None:
    before = settings(folder).digest
    (folder / "yard.yaml").write_text(FLEET.replace(old, new))
    assert (settings(folder).digest == before) is same


def test_another_sample_counts(folder: Path) -> None:
    before = settings(folder).digest
    with np.load(folder / "tiny" / "samples.npz") as arrays:
        inputs, labels = arrays["inputs"], arrays["labels"]
    np.savez(folder / "tiny" / "samples.npz", inputs=inputs, labels=labels + 1)
    assert settings(folder).digest != before


def test_what_python_or_a_killed_process_leaves_behind_does_not_count(folder: Path) -> None:
    before = files_digest(folder / "tiny")
    (folder / "tiny" / "__pycache__").mkdir()
    (folder / "tiny" / "__pycache__" / "x.pyc").write_bytes(b"x")
    (folder / "tiny" / "conversions" / ".partial-1-abc").mkdir(parents=True)
    (folder / "tiny" / "conversions" / ".partial-1-abc" / "model.pte").write_bytes(b"half")
    assert files_digest(folder / "tiny") == before


def test_a_conversion_that_a_recipe_makes_does_not_make_another_deploy(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it can be had does: once the converter is installed, there is something to deploy."""
    (folder / "yard.yaml").write_text(FLEET.replace("[float32]", "[float32, executorch-int8]"))
    reach: dict[str, str | None] = {"because": "no converter"}
    monkeypatch.setattr(deploy_settings, "out_of_reach", lambda *_: reach["because"])
    without = settings(folder).digest
    reach["because"] = None
    before = settings(folder).digest
    assert before != without
    made = folder / "tiny/conversions/executorch-int8"
    made.mkdir(parents=True)
    (made / "model.pte").write_bytes(b"program")
    assert settings(folder).digest == before
    (folder / "tiny/conversions/tflite-float").mkdir()
    (folder / "tiny/conversions/tflite-float/model.tflite").write_bytes(b"another format for the recipes")
    assert settings(folder).digest != before


def test_labels_are_those_that_the_deploy_judged_by_or_none(folder: Path) -> None:
    document, datasets = settings(folder).document(), folder / "ws" / "datasets"
    found = labels_of(document, datasets)
    assert found is not None
    assert (found.kind, found.values.shape[1]) == ("regression", 1)
    assert labels_of({**document, "evaluation_digest": "0" * 64}, datasets) is None
    assert labels_of({"digest": "0"}, datasets) is None
    shutil.rmtree(folder / "tiny")
    assert labels_of(document, datasets) is None


def test_a_row_of_another_release_is_named_as_such(folder: Path) -> None:
    document = {**settings(folder).document(), "recipes": [{"version": 99}]}
    with pytest.raises(ConfigurationError, match="another release"):
        settings_of(document)


def test_fleet_files_of_the_workspace_come_first(folder: Path) -> None:
    workspace = Workspace(folder / "ws")
    (folder / "ws" / "fleets").mkdir(parents=True)
    own = folder / "ws" / "fleets" / "farm-sensors.yaml"
    own.write_text(FLEET.replace("fleet: yard", "fleet: farm-sensors"))
    assert required_fleet("farm-sensors", None, workspace).path == own.resolve()
    own.unlink()
    assert required_fleet("farm-sensors", None, workspace).path == ROOT / "configs" / "fleets" / "farm-sensors.yaml"


def test_a_fleet_without_a_file(folder: Path) -> None:
    workspace = Workspace(folder / "ws")
    assert find_fleet_file("nowhere", None, workspace, required=False) is None
    with pytest.raises(NotFound, match="farm-sensors"):
        find_fleet_file("nowhere", None, workspace)
