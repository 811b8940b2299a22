"""`controller model converters`: what is there, what would be done, what was done, and its exit codes."""

import json
from pathlib import Path

import pytest

from controller.cli.entry import run
from controller.convert.environments import locks
from tests.unit.controller.convert.environments.small_wheels import VERSION, Shelf, use, use_no_pip

OTHER = ("onnx2tf", "tensorflow")


@pytest.fixture
def environments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place for environments, and locks for three that need no pip."""
    shelf = Shelf(tmp_path / "wheels", tmp_path / "locks")
    shelf.locks.mkdir()
    use(shelf, tmp_path / "environments", monkeypatch)
    use_no_pip(monkeypatch)
    shelf.lock([], megabytes="700 to download, 2300 installed")
    for name in OTHER:
        shelf.lock([], name, version="3.99")
    return tmp_path / "environments"


def out(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    """Return what a command prints; its exit code is asserted."""
    assert run(["model", "converters", *arguments]) == code
    shown = capsys.readouterr()
    return shown.err if code else shown.out


def test_from_nothing_to_removal(environments: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = json.loads(out(capsys, "list", "--json"))
    assert [(row["name"], row["installed"], row["fault"]) for row in rows] == [
        (name, False, "is not installed") for name in ("torch", *OTHER)
    ]
    assert rows[0]["pythons"] == [VERSION]

    told = out(capsys, "install", "torch", "--dry-run")
    assert "would install torch: 0 packages for " in told
    assert "about 667.6 MiB to download, 2.1 GiB installed" in told
    assert told.rstrip().endswith(f"into {environments / 'torch'}")
    assert not environments.exists()

    told = out(capsys, "install", "torch")
    assert "installing torch: 0 packages" in told
    assert f"torch is installed in {environments / 'torch'}" in told
    assert out(capsys, "install", "torch") == f"torch is installed in {environments / 'torch'}\n"
    table = out(capsys, "list")
    assert "no: is not installed" in table
    assert "needs 3.99" in table

    assert out(capsys, "remove", "torch", "--dry-run") == f"would remove {environments / 'torch'}\n"
    assert (environments / "torch" / "complete.json").exists()
    assert out(capsys, "remove", "torch") == f"removed {environments / 'torch'}\n"
    assert out(capsys, "remove", "torch") == "torch was not there\n"
    assert "nothing to remove" in out(capsys, "remove", "torch", "--dry-run")


@pytest.mark.usefixtures("environments")
@pytest.mark.parametrize("command", ["install", "remove"])
def test_a_wrong_name_among_right_ones_changes_nothing(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = out(capsys, command, "torch", "caffe", code=4)
    assert said == "error: no converter environment is called 'caffe'; there are torch, onnx2tf, tensorflow\n"
    assert not json.loads(out(capsys, "list", "--json"))[0]["installed"]


@pytest.mark.usefixtures("environments")
def test_a_python_that_there_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    for more in ((), ("--dry-run",)):
        said = out(capsys, "install", "onnx2tf", *more, code=13)
        assert said.startswith("error: converter environment onnx2tf: this needs Python 3.99, and none was found")
        assert "--python" in said


@pytest.mark.usefixtures("environments")
def test_a_python_that_is_named_and_will_not_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = out(capsys, "install", "torch", "--python", str(tmp_path / "python"), code=13)
    assert f"{tmp_path / 'python'} is no program" in said


def test_what_is_installed_is_told_where_another_lock_made_it(
    environments: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out(capsys, "install", "torch")
    (lock,) = locks.locks_of("torch").values()
    lock.path.write_text("beech==1.0 \\\n    --hash=sha256:00\n")
    [row, *_] = json.loads(out(capsys, "list", "--json"))
    assert (row["installed"], row["fault"]) == (False, "was made from another lock than this release's")
    assert (environments / "torch").exists()
