"""`controller sample list|export` over a workspace with samples."""

import json
from pathlib import Path

import numpy as np
import pytest

from controller.cli.entry import run
from controller.fleet.samples import SampleFolder
from controller.workspace import Workspace
from tests.unit.controller.fleet.test_samples import fill, sample


@pytest.fixture
def filled(workspace: Workspace) -> Workspace:
    folder = SampleFolder(workspace.samples)
    fill(folder, sample("s-1"), sample("s-2"), sample("s-3", device="pi-2"), sample("s-4", workload="soil"))
    return workspace


def call(workspace: Workspace, *arguments: str) -> int:
    return run(["--workspace", str(workspace.root), "sample", *arguments])


def test_list_counts_by_device(filled: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(filled, "list", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    found = [(row["fleet"], row["workload"], row["device"], row["samples"]) for row in rows]
    assert found == [("farm", "climate", "pi-1", 2), ("farm", "climate", "pi-2", 1), ("farm", "soil", "pi-1", 1)]
    assert all(row["bytes"] > 0 and row["received_s"] > 0 for row in rows)
    assert call(filled, "list", "--workload", "soil") == 0
    shown = capsys.readouterr().out
    assert "soil" in shown
    assert "climate" not in shown


def test_export_writes_an_npz(filled: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "out.npz"
    assert call(filled, "export", "--fleet", "farm", "--workload", "climate", "--to", str(path), "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"path": str(path), "samples": 3, "shape": [2], "left_out": 0}
    with np.load(path) as arrays:
        assert arrays["x"].shape == (3, 2)
    other = tmp_path / "other.npz"
    assert call(filled, "export", "--fleet", "farm", "--workload", "soil", "--to", str(other)) == 0
    assert f"1 samples of shape (2,) in {other}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--fleet", "farm"), 3, "--workload"),
        (("--fleet", "yard"), 4, "no samples"),
        (("--fleet", "farm", "--workload", "x"), 4, "no samples"),
    ],
)
def test_what_cannot_be_exported_is_said(
    filled: Workspace,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    code: int,
    said: str,
) -> None:
    assert call(filled, "export", *arguments, "--to", str(tmp_path / "out.npz")) == code
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out.npz").exists()


def test_a_folder_that_is_no_workspace_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--workspace", str(tmp_path / "none"), "sample", "list"]) == 4
    assert "controller init" in capsys.readouterr().err


def test_a_backup_holds_the_samples(filled: Workspace, tmp_path: Path) -> None:
    archive, place = tmp_path / "backup.tgz", tmp_path / "restored"
    assert run(["--workspace", str(filled.root), "backup", str(archive)]) == 0
    assert run(["--workspace", str(place), "restore", str(archive)]) == 0
    found = [each.path.read_bytes() for each in SampleFolder(Workspace(place).samples).kept()]
    assert found == [each.path.read_bytes() for each in SampleFolder(filled.samples).kept()]
    assert len(found) == 4
