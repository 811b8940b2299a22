"""What a deploy says before it begins: device-minutes, seconds of serving lost, and what is not known yet."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controller.compress.shipped import find_recipes
from controller.config.fleet_file import FleetFile
from controller.deploy.planning.dry_run import preview, preview_lines
from controller.deploy.settings import DeploySettings
from controller.trial.cost import variant_seconds
from tests.unit.controller.compress.small_models import write_folder
from tests.unit.controller.deploy.test_trial_requests import device
from wire.presence import EngineInfo, Inventory

CLASSES = [{"name": "small", "match": {"labels": {"board": "s"}}}, {"name": "big", "match": {"labels": {"board": "b"}}}]


def settings(root: Path, *recipes: str, **trials: Any) -> DeploySettings:
    goals = {"max_accuracy_drop_ratio": 0.02, "minimise": ["wire_bytes"]}
    workload = {"model": "small@1", "goals": goals, "trials": trials}
    fleet = {"version": 1, "fleet": "yard", "classes": CLASSES, "workloads": {"main": workload}}
    model, chosen = write_folder(root / "model"), find_recipes(recipes)
    return DeploySettings(FleetFile.model_validate(fleet), "main", model, "", "", chosen)


def of_board(name: str, board: str, *engines: str, serves: str | None = None, online: bool = True) -> Any:
    view = device(name, serves=serves)
    assert isinstance(view.inventory, Inventory)
    changes: dict[str, Any] = {"labels": {"board": board}, "host_id": name}
    if engines:
        changes["engines"] = tuple(EngineInfo(name=each, version="1", formats=()) for each in engines)
    labelled = view.inventory.model_copy(update=changes)
    return replace(view, inventory=labelled, online=online)


def test_the_cost_of_devices_that_are_there_is_said(tmp_path: Path) -> None:
    """Two devices that serve, one variant (the baseline) each; none of the devices of `big` is known."""
    given = settings(tmp_path, grade="quick")
    found = preview(given, [of_board(name, "s", serves="main") for name in ("a", "b")])
    each_s = variant_seconds(given.workload.trials)
    assert found.cost["device_minutes"] == pytest.approx(2 * each_s / 60)
    assert found.cost["serving_lost_s"] == pytest.approx(2 * each_s)
    assert found.unpriced == ("big",)
    said = "\n".join(preview_lines(found))
    assert f"measuring costs about {2 * each_s / 60:.1f} device-minutes in 8 processes, {2 * each_s:.0f} s of" in said
    assert "not known yet beside that: what big costs; every device that measures takes about" in said
    assert "warning: class big: no device of the class was ever seen" in said


@pytest.mark.parametrize("views", [[], [of_board("a", "s", online=False)]])
def test_what_is_not_known_is_not_said_to_cost_nothing(tmp_path: Path, views: list[Any]) -> None:
    """As before the first deploy: nobody has listened to the broker yet."""
    given = settings(tmp_path, grade="normal")
    found = preview(given, views)
    lines = preview_lines(found)
    assert not [line for line in lines if line.startswith("measuring costs")]
    (line,) = [line for line in lines if line.startswith("not known yet: what small, big costs")]
    each_s = variant_seconds(given.workload.trials)
    assert f"about {each_s / 60:.1f} device-minutes" in line
    assert f"{each_s:.0f} s of serving lost (pauses of at most {each_s:.0f} s)" in line
    assert found.device_cost["device_minutes"] == pytest.approx(each_s / 60)


def test_the_json_has_every_number(tmp_path: Path) -> None:
    document = json.loads(json.dumps(preview(settings(tmp_path, grade="quick"), []).document()))
    assert document["unpriced"] == ["small", "big"]
    assert set(document["device_cost"]) == set(document["cost"])
    assert {"device_minutes", "serving_lost_s", "longest_pause_s"} <= set(document["cost"])
    assert not [name for name in document if name.endswith("_text")]


def test_variants_are_those_of_the_engines_that_devices_have(tmp_path: Path) -> None:
    """The model has ONNX alone, and no torch source: what is out of reach is said, and measured by nobody."""
    given = settings(tmp_path, "float32", "executorch-int8", "tflite-float", grade="quick")
    views = [of_board("a", "s", "onnxruntime"), of_board("b", "b", "onnxruntime", "executorch")]
    found = preview(given, views)
    assert found.classes["small"]["variants"] == ["baseline", "onnx-float32"]
    assert found.classes["big"]["variants"] == ["baseline", "onnx-float32"]
    assert found.left_out == {}
    assert "ExecuTorch lowers PyTorch programs only" in found.out_of_reach["executorch-int8"]
    said = "\n".join(preview_lines(found))
    assert "not made: executorch-int8: no way to executorch int8: from onnx: ExecuTorch lowers PyTorch" in said
    assert json.loads(json.dumps(found.document()))["out_of_reach"] == found.out_of_reach


def test_what_nobody_has_the_engine_for_is_not_made_and_says_so(tmp_path: Path) -> None:
    given = settings(tmp_path, "float32", "executorch-int8", "executorch-float", grade="quick")
    found = preview(given, [of_board("a", "s"), of_board("b", "b")])
    assert set(found.left_out) == {"executorch-int8", "executorch-float"}
    assert found.out_of_reach == {}  # nobody looks for what is not made
    line = "not made: executorch-int8, executorch-float: no device has the engine executorch"
    assert line in preview_lines(found)


def test_the_engine_of_a_recipe_counts_in_the_preview(tmp_path: Path) -> None:
    """`engine:` of a recipe says who runs it: a class without that engine measures no such variant."""
    given = settings(tmp_path, "float32", grade="quick")
    older = given.recipes[0].model_copy(update={"name": "older", "engine": "executorch"})
    found = preview(
        replace(given, recipes=(*given.recipes, older)), [of_board("a", "s"), of_board("b", "b", "executorch")]
    )
    assert found.classes["small"]["variants"] == ["baseline", "onnx-float32"]


def test_of_a_class_that_nobody_knows_everything_is_expected(tmp_path: Path) -> None:
    found = preview(settings(tmp_path, "executorch-int8", grade="quick"), [of_board("a", "s")])
    assert (found.left_out, set(found.out_of_reach)) == ({}, {"executorch-int8"})
