"""What is left out of a search beforehand, each with its reason; and what widens the space."""

from pathlib import Path

import pytest

from controller.compress.search import space as module
from controller.compress.search.space import space_of
from controller.compress.shipped import find_recipes, shipped_recipes
from controller.errors import ConverterMissing
from controller.models.folder import ModelFolder
from tests.unit.controller.compress.search.spaces import recipe
from tests.unit.controller.compress.small_models import MODEL_YAML, write_folder
from tests.unit.controller.compress.small_tflite import write_tflite

LITE = """\
schema: 1
name: rows
version: "1"
kind: classification
formats: {tflite: {file: rows.tflite}}
pre: {kind: tensor}
post: {kind: classification}
"""


@pytest.fixture
def model(tmp_path: Path) -> ModelFolder:
    return ModelFolder.load(write_folder(tmp_path / "model"))


def test_values_of_shipped_recipes_widen_what_passes_name(model: ModelFolder) -> None:
    mine = recipe("mine", {"simplify": {}}, {"prune": {"amount": 0.42}}, {"quantize_static": {"samples": 99}})
    space = space_of(model, [mine])
    assert 0.42 in space.genes["prune.amount"]
    assert space.genes["quantize_static.samples"] == (128, 99)
    assert "quantize_static.reduce_range" not in space.genes


def test_what_a_pass_names_one_value_for_stays_at_that(model: ModelFolder) -> None:
    seldom = recipe("seldom", {"simplify": {}}, {"distill": {"views": 3}})
    space = space_of(model, [seldom])
    if "distill" in space.dropped:
        pytest.skip(space.dropped["distill"])
    assert space.values["distill.views"] == (32,)
    assert space.whole == {"seldom": seldom}


def test_students_come_behind_what_takes_seconds_and_before_what_trains_the_whole_model(model: ModelFolder) -> None:
    taught = {"distill": {"steps": 500}}
    given = [
        recipe("whole", {"simplify": {}}, taught),
        recipe(
            "long-student", {"simplify": {}}, {"derive": {"width": 0.5, "round_to": 4}}, {"distill": {"steps": 900}}
        ),
        recipe("short-student", {"simplify": {}}, {"derive": {"width": 0.5, "round_to": 4}}, taught),
        recipe("plain", {"simplify": {}}),
    ]
    space = space_of(model, given)
    if "distill" in space.dropped:
        pytest.skip(space.dropped["distill"])
    assert [one.name for one in space.seeds] == ["plain", "short-student", "long-student", "whole"]


def test_without_samples_nothing_calibrates_and_nothing_trains(tmp_path: Path) -> None:
    bare = MODEL_YAML.replace(MODEL_YAML[MODEL_YAML.index("data:") :], "")
    space = space_of(
        ModelFolder.load(write_folder(tmp_path / "m", bare)), find_recipes(["int8-u8u8-minmax", "float16"])
    )
    assert space.dropped["quantize_static"] == "it calibrates, and the model names no samples"
    assert space.dropped["distill"] == "it trains, and the model names no samples"
    assert space.dropped["derive"] == "its network is untrained, and no training pass applies"
    assert space.dropped["int8-u8u8-minmax"].startswith("quantize_static: it calibrates")
    assert [one.name for one in space.seeds] == ["float16"]


def test_without_the_environment_that_trains_the_reason_names_how_to_install_it(
    model: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise ConverterMissing(f"run  controller model converters install {name}")

    monkeypatch.setattr(module, "required", missing)
    space = space_of(model, [])
    assert space.dropped["fine_tune"].endswith("controller model converters install torch")
    assert "training" not in space.genes
    assert "student" not in space.genes


def test_a_pass_whose_parameter_only_the_user_knows_waits_for_a_recipe_that_says_it(model: ModelFolder) -> None:
    mine = recipe("mine", {"student": {"factory": "net.py:build"}}, {"distill": {}})
    without, given = space_of(model, []), space_of(model, [mine])
    if "distill" in without.dropped:
        pytest.skip(without.dropped["distill"])
    assert without.dropped["student"] == "it needs factory: give a recipe that says it with --recipe"
    assert "student" in given.genes["student"]
    assert given.values["student.factory"] == ("net.py:build",)


def test_a_model_without_onnx_is_searched_by_whole_recipes_alone(tmp_path: Path) -> None:
    write_tflite(tmp_path / "rows.tflite")
    (tmp_path / "model.yaml").write_text(LITE)
    space = space_of(ModelFolder.load(tmp_path), list(shipped_recipes().values()))
    assert set(space.genes) == {"precision"}
    assert space.dropped["prune"] == "it takes onnx files, and the model has tflite"
    assert {one.name for one in space.seeds} >= {"tflite-float", "tflite-int8-dynamic"}


def test_recipes_that_all_takes_come_first(model: ModelFolder) -> None:
    seeds = space_of(model, list(shipped_recipes().values())).seeds
    assert [one.in_all for one in seeds] == sorted((one.in_all for one in seeds), reverse=True)
    assert all(one.name != "executorch-float" for one in seeds)  # its engine is not in this environment, or no source
