"""`agent warm`: what is compiled is found again, and what cannot be kept is said."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from agent import warm as warming
from agent.errors import EngineFailed
from agent.inference.limits import kernel_folder


def test_the_folder_names_release_and_processor(tmp_path: Path) -> None:
    first, second = kernel_folder(tmp_path), kernel_folder(tmp_path)
    assert first == second
    assert first.parent == tmp_path / "kernels"
    assert os.uname().machine in first.name


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "kernels").write_text("a file where a folder belongs")
    with pytest.raises(EngineFailed, match="another cache folder"):
        warming.ensure_warm(tmp_path)


def test_what_was_warmed_is_not_compiled_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def compiled(*_: Any, **__: Any) -> None:
        raise AssertionError("compiled again")

    folder = kernel_folder(tmp_path)
    folder.mkdir(parents=True)
    (folder / warming.REPORT_NAME).write_text("{}")
    monkeypatch.setattr(subprocess, "run", compiled)
    assert warming.ensure_warm(tmp_path) == folder


def test_a_compiler_that_dies_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    died = subprocess.CompletedProcess([], 1, b"", b"LLVM ERROR: out of memory")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: died)
    with pytest.raises(EngineFailed, match=r"compile, exit code 1\): LLVM ERROR"):
        warming.ensure_warm(tmp_path)
    assert not (kernel_folder(tmp_path) / warming.REPORT_NAME).exists()
