from pathlib import Path

import pytest

from controller.errors import NotFound
from controller.store.database import Store
from controller.workspace import Workspace


def test_the_option_beats_the_variable_beats_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("THRESHER_HOME", raising=False)
    assert Workspace.locate().root == tmp_path / ".thresher"
    monkeypatch.setenv("THRESHER_HOME", str(tmp_path / "home"))
    assert Workspace.locate().root == tmp_path / "home"
    assert Workspace.locate(tmp_path / "option").root == tmp_path / "option"


def test_a_folder_without_a_workspace_is_refused_and_left_alone(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="controller init"):
        Store.open(Workspace(tmp_path / "nothing"))
    assert not (tmp_path / "nothing").exists()


def test_the_keys_folder_is_closed_to_others(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.create()
    workspace.create()
    assert workspace.keys.stat().st_mode & 0o077 == 0
