"""A Python of the right version is found wherever it usually lies; one that will not do is passed over and named."""

from pathlib import Path

import pytest

from controller.convert.environments import interpreters
from controller.errors import PythonMissing


def program(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine on which no Python is found, but those that a test lays down."""
    monkeypatch.setattr("sys.base_prefix", str(tmp_path / "none"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("PYENV_ROOT", "UV_PYTHON_INSTALL_DIR", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.mark.parametrize(
    "where",
    [
        "none/bin/python3.13",
        "bin/python3.13",
        ".pyenv/versions/3.13.2/bin/python3.13",
        ".local/share/uv/python/cpython-3.13.1-linux-x86_64-gnu/bin/python3.13",
    ],
)
def test_where_pythons_lie(bare: Path, where: str) -> None:
    laid = program(bare / where, "echo 3.13")
    assert interpreters.find(["3.13", "3.12"]) == ("3.13", laid)


def test_the_folders_of_pyenv_and_uv_may_be_named(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYENV_ROOT", str(bare / "p"))
    monkeypatch.setenv("UV_PYTHON_INSTALL_DIR", str(bare / "u"))
    second = program(bare / "u/cpython-3.12.9-linux/bin/python3.12", "echo 3.12")
    assert interpreters.find(["3.12"]) == ("3.12", second)
    first = program(bare / "p/versions/3.12.1/bin/python3.12", "echo 3.12")
    assert interpreters.find(["3.12"]) == ("3.12", first)


def test_the_version_that_is_wanted_most_comes_first(bare: Path) -> None:
    older = program(bare / "bin/python3.12", "echo 3.12")
    assert interpreters.find(["3.13", "3.12"]) == ("3.12", older)
    newer = program(bare / "bin/python3.13", "echo 3.13")
    assert interpreters.find(["3.13", "3.12"]) == ("3.13", newer)


def test_one_that_does_not_do_is_passed_over(bare: Path) -> None:
    program(bare / "bin/python3.12", "echo 'pyenv: python3.12: command not found' >&2; exit 127")
    good = program(bare / ".pyenv/versions/3.12.1/bin/python3.12", "echo 3.12")
    assert interpreters.find(["3.12"]) == ("3.12", good)


def test_what_was_found_and_will_not_do_is_named(bare: Path) -> None:
    laid = program(bare / "bin/python3.12", "echo \"ModuleNotFoundError: No module named 'ensurepip'\" >&2; exit 1")
    with pytest.raises(PythonMissing) as failure:
        interpreters.find(["3.12"])
    text = str(failure.value)
    assert "this needs Python 3.12" in text
    assert f"{laid} makes no environments (ModuleNotFoundError: No module named 'ensurepip')" in text
    assert "install python3.12 with its venv module" in text


def test_one_that_the_user_names_is_the_only_one(bare: Path) -> None:
    program(bare / "bin/python3.12", "echo 3.12")
    own = program(bare / "own/python", "echo 3.10")
    with pytest.raises(PythonMissing, match=rf"{own} is Python 3\.10"):
        interpreters.find(["3.12"], own)
    with pytest.raises(PythonMissing, match="is no program"):
        interpreters.find(["3.12"], bare / "own" / "nothing")
    fitting = program(bare / "own/other", "echo 3.12")
    assert interpreters.find(["3.12"], fitting) == ("3.12", fitting)
