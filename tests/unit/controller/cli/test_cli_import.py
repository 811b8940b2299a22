"""`model import`: what it tells of a model, where it looks for the source, and that a dry run keeps nothing."""

import json
from pathlib import Path

import numpy as np
import pytest

from controller.cli.entry import run
from tests.unit.controller.compress.small_models import write_folder
from tests.unit.controller.models.sources.small_graphs import linear, save

pytestmark = pytest.mark.usefixtures("children_here")


@pytest.fixture
def root(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    place = tmp_path / "ws"
    assert run(["--workspace", str(place), "init"]) == 0
    capsys.readouterr()
    return place


def imported(root: Path, *arguments: str, code: int = 0) -> None:
    assert run(["--workspace", str(root), "model", "import", *arguments]) == code


def test_it_tells_engines_samples_and_notes(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save(linear(), tmp_path / "m.onnx", external="weights.bin")
    np.savez(tmp_path / "s.npz", inputs=np.ones((10, 4), np.float32), labels=np.arange(10) % 3)
    imported(root, str(path), "--data", str(tmp_path / "s.npz"))
    said = capsys.readouterr().out
    assert said.startswith("m@1 in ")
    for line in (
        "  onnxruntime: runs it\n",
        "  samples: 8 to evaluate, 2 to calibrate\n",
        "  note: weights taken in from weights.bin\n",
    ):
        assert line in said


def test_a_dry_run_tells_the_same_and_keeps_nothing(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = save(linear(), tmp_path / "m.onnx")
    imported(root, str(path), "--dry-run")
    said = capsys.readouterr().out
    assert said.startswith("would import m@1\n")
    assert "onnxruntime: runs it" in said
    assert "no samples: it is neither quantised by calibration, judged, nor deployed" in said
    assert not list((root / "models").glob("*/*"))


@pytest.mark.long  # the same once more, as JSON
@pytest.mark.parametrize("option", [(), ("--dry-run",)])
def test_programs_are_told_whether_it_was_kept(
    option: tuple[str, ...], root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    imported(root, str(save(linear(), tmp_path / "m.onnx")), "--json", *option)
    document = json.loads(capsys.readouterr().out)
    assert (document["model"], document["imported"]) == ("m@1", not option)
    assert document["facts"]["engines"]["onnxruntime"]["runs"] is True


def test_the_current_folder_is_a_source_too(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(write_folder(tmp_path / "given"))
    imported(root, ".")
    assert capsys.readouterr().out.startswith("small@1 in ")


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("nowhere.onnx", "nowhere.onnx: no such file or folder\n"),
        ("nowhere.py:build", "nowhere.py: no such file or folder\n"),
        (":build", "a PyTorch module is named by its file: FILE.py:FUNCTION"),
        ("package.module:build", "a PyTorch module is named by its file: FILE.py:FUNCTION"),
    ],
)
def test_a_source_that_is_not_there_says_what_was_looked_for(
    source: str, says: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    imported(root, source, code=4)
    assert says in capsys.readouterr().err
