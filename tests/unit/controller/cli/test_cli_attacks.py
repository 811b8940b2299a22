"""`model compress --attack`: what is said, what it needs, and where it does not belong."""

from pathlib import Path

import pytest

from controller.cli.entry import run
from controller.cli.nouns.compress.attacked import told
from tests.unit.controller.compress.small_models import write_folder

pytestmark = pytest.mark.usefixtures("children_here")

BASELINE = {"epsilon": 0.1, "of": 200, "right": {"none": 180, "fgsm": 100, "pgd": 40}, "error": None}
WORSE = {"epsilon": 0.1, "of": 200, "right": {"none": 178, "fgsm": 90, "pgd": 42}, "error": None}


def test_what_is_lost_is_told_against_the_baseline() -> None:
    assert told("baseline", BASELINE, BASELINE) == (
        "baseline: right in FGSM 50.0%, PGD 20.0% of 200 under attack (epsilon 0.1)"
    )
    assert told("int8", WORSE, BASELINE).endswith("; +5.0 and -1.0 points lost against the baseline")
    assert told("int8", WORSE, {"error": "no gradient"}).endswith("(epsilon 0.1)")


def test_what_cannot_be_attacked_is_told() -> None:
    assert told("lite", {"epsilon": 0.1, "error": "this is tflite"}, BASELINE) == "lite: not attacked: this is tflite"


def test_without_the_environment_its_command_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("THRESHER_CONVERTERS", str(tmp_path / "none"))
    place = str(tmp_path / "ws")
    assert run(["--workspace", place, "init"]) == 0
    assert run(["--workspace", place, "model", "import", str(write_folder(tmp_path / "small"))]) == 0
    capsys.readouterr()
    asked = ["--workspace", place, "model", "compress", "small", "--recipe", "float32", "--attack", "0.1"]
    assert run(asked) != 0
    assert "controller model converters install torch" in capsys.readouterr().err
    assert run([*asked, "--auto"]) == 2
    assert "--attack goes with --recipe" in capsys.readouterr().err
