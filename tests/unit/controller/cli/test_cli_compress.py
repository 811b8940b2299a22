"""`model compress --auto`: what it refuses, what a dry run says, and one whole search of a small model."""

import json
from pathlib import Path

import pytest
import yaml

from controller.cli.entry import run
from controller.cli.nouns.compress.auto import stop_children
from controller.compress.recipe import Recipe
from tests.unit.controller.compress.small_models import write_folder


@pytest.fixture
def empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    place = tmp_path / "ws"
    assert run(["--workspace", str(place), "init"]) == 0
    capsys.readouterr()
    return place


@pytest.fixture
def root(empty: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    place = empty
    assert run(["--workspace", str(place), "model", "import", str(write_folder(tmp_path / "small"))]) == 0
    capsys.readouterr()
    return place


def compressed(root: Path, *arguments: str, code: int = 0) -> None:
    assert run(["--workspace", str(root), "model", "compress", "small", *arguments]) == code


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--auto", "--budget", "30"), "'30' is no span of time: give a number and s, m or h"),
        (("--auto", "--budget", "0m"), "'0m' is no span of time"),
        (("--auto", "--max-drop", "100"), "100.0 is not in the range 0<=x<100"),
        (("--auto", "--no-evaluate"), "leave --no-evaluate out"),
        (("--fleet", "yard"), "--fleet goes with --auto: `controller deploy` measures the variants of recipes"),
        (("--auto", "--fleet", "yard", "--device-minutes", "0"), "0.0 is not in the range x>0"),
    ],
)
def test_what_makes_no_sense_is_refused(
    empty: Path, arguments: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    compressed(empty, *arguments, code=2)
    assert says in capsys.readouterr().err


def test_a_dry_run_names_choices_beginnings_and_what_is_left_out(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compressed(root, "--auto", "--dry-run", "--json")
    document = json.loads(capsys.readouterr().out)
    assert "int8-u8s8-minmax" in document["begin"]
    assert document["space"]["codebook.bits"] == [3, 4, 5, 6, 8]
    assert document["dropped"]["tflite-float"] == "the model has no tflite file"
    compressed(root, "--auto", "--dry-run", "--recipe", "float16")
    said = capsys.readouterr().out
    assert "begins with float16\n" in said
    assert not (root / "searches").exists()


FLEET = """
version: 1
fleet: yard
classes: [{name: single, match: {labels: {board: a}}}]
workloads:
  main:
    model: small@1
    goals: {max_accuracy_drop_ratio: 0.05, minimise: [p50_ms]}
    trials: {grade: quick, devices_per_class: 1}
"""


def test_a_dry_run_says_what_devices_would_be_asked_for_and_asks_nobody(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "yard.yaml"
    file.write_text(FLEET)
    asked = ("--auto", "--dry-run", "--recipe", "float16", "--fleet", "yard", "--config", str(file))
    compressed(root, *asked, "--device-minutes", "7")
    said = capsys.readouterr().out
    assert "class single: 0 devices, 0 online; the control and 3 variants on 1 of them take 0.6 device-minutes" in said
    assert "grade quick, scenario single_stream; devices that serve pause for at most 300 s at a time" in said
    assert "asks for at most 7 device-minutes of all classes together" in said
    assert not (root / "searches").exists()
    compressed(root, *asked, "--workload", "other", code=4)
    assert "has no workload 'other'; it has main" in capsys.readouterr().err


def test_without_auto_it_makes_what_recipes_say(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compressed(root, "--recipe", "float16", "--dry-run")
    assert capsys.readouterr().out == "would make onnx-float16 of small@1\n"


@pytest.mark.long  # a whole search, of some thirty processes
def test_a_search_judges_what_it_finds_and_writes_its_report(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ("--auto", "--recipe", "float32", "--recipe", "int8-u8u8-minmax", "--variants", "2", "--max-drop", "10")
    compressed(root, *given, "--json")
    document = json.loads(capsys.readouterr().out)
    rows = {row["variant"]: row for row in document["variants"]}
    assert {row["outcome"] for row in rows.values()} == {"timed"}
    assert rows["onnx-float32"]["speed_like"] == "baseline"
    finals = {row["variant"]: row for row in document["finals"]}
    assert finals["baseline"]["control"]
    int8 = finals["onnx-int8-u8u8-minmax"]
    assert int8["samples"] == 90
    assert int8["loss"]["keeps_limit"] in (True, False)
    assert 0 < int8["speed_up"]["lower"] <= int8["speed_up"]["ratio"] <= int8["speed_up"]["upper"]
    assert document["pick"] in finals
    files = document["report"]
    assert json.loads(Path(files["json"]).read_text())["pick"] == document["pick"]
    assert "onnx-int8-u8u8-minmax" in Path(files["html"]).read_text()
    found = yaml.safe_load(Path(document["recipes"]["onnx-int8-u8u8-minmax"]).read_text())
    assert Recipe.model_validate(found).name == "int8-u8u8-minmax"
    stop_children()  # none is left, and that is no fault
