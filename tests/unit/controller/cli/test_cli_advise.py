"""`model advise`: a table for people, JSON for programs, and a fleet that has said nothing yet."""

import json
from pathlib import Path

import pytest

from controller.cli.entry import run
from tests.unit.controller.compress.small_models import write_folder

pytestmark = pytest.mark.usefixtures("children_here")


@pytest.fixture
def place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    root = tmp_path / "ws"
    assert run(["--workspace", str(root), "init"]) == 0
    assert run(["--workspace", str(root), "model", "import", str(write_folder(tmp_path / "small"))]) == 0
    capsys.readouterr()
    return root


def test_methods_with_their_reasons(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--workspace", str(place), "model", "advise", "small", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["model"] == "small@1"
    assert set(said["facts"]["sensitivity"]) == {"conv_1", "conv_2", "head_1"}
    assert {each["method"]: each["fit"] for each in said["advice"]}["dynamic int8"] == "no"
    assert run(["--workspace", str(place), "model", "advise", "small"]) == 0
    told = capsys.readouterr().out
    assert "most sensitive to int8" in told
    assert "static int8" in told


def test_a_fleet_that_has_said_nothing(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--workspace", str(place), "model", "advise", "small", "--fleet", "farm"]) != 0
    assert "no device of fleet 'farm' has said what it has" in capsys.readouterr().err
