"""An environment is there whole or not at all, whatever goes wrong while it is made."""

import json
import shutil
from pathlib import Path

import pytest

from controller.convert.environments import environment, install, listing, make, places, remove, required, run_worker
from controller.convert.environments.hold import exclusive
from controller.convert.environments.install import plan
from controller.convert.environments.locks import locks_of
from controller.errors import Busy, ConversionFailed, ConverterNotInstalled, DiskFull, PythonMissing
from tests.unit.controller.convert.environments.small_wheels import VERSION, Shelf, Told, pin

WRONG = "0" * 64


def nothing_is_left(environments: Path) -> bool:
    """Tell whether there is at most the empty file that installations lock."""
    left = list(environments.iterdir()) if environments.exists() else []
    return environment("torch") is None and all(path.suffix == ".lock" and path.stat().st_size == 0 for path in left)


@pytest.mark.usefixtures("real_pip")
def test_an_environment_from_nothing_to_removal(
    shelf: Shelf, environments: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Where the user sends packages elsewhere does not count for these.
    monkeypatch.setenv("PIP_TARGET", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("PIP_USER", "1")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    lock = shelf.lock([shelf.wheel("beech"), shelf.wheel("alder")], imports="beech, alder")
    told = Told()

    made = install("torch", told)

    assert told.stages == ["make the environment", "download", "unpack", "try it"]
    assert (made.name, made.root, made.python) == ("torch", environments / "torch", made.root / "venv/bin/python")
    assert {"beech": "1.0", "alder": "1.0"}.items() <= made.versions.items()
    assert environment("torch") == required("torch") == made
    assert run_worker(made, "probe", {"import": ["beech"]}, tmp_path)["outcome"] == "ok"
    record = json.loads((made.root / "complete.json").read_bytes())
    assert record["lock"] == lock.name
    assert record["python"].startswith(VERSION)
    assert record["disk_bytes"] > 1_000_000
    assert not (made.root / "tmp").exists()
    assert not (tmp_path / "elsewhere").exists()

    assert remove("torch")
    assert nothing_is_left(environments)
    assert not remove("torch")


@pytest.mark.usefixtures("no_pip")
def test_what_is_there_is_not_made_again(shelf: Shelf) -> None:
    shelf.lock([])
    made, told = install("torch", Told()), Told()
    assert install("torch", told) == made
    assert told.stages == []


@pytest.mark.usefixtures("no_pip")
def test_what_is_left_of_an_unfinished_one_goes_first(shelf: Shelf, environments: Path) -> None:
    shelf.lock([])
    rubbish = environments / "torch" / "venv" / "rubbish"
    rubbish.parent.mkdir(parents=True)
    rubbish.touch()
    assert install("torch", Told()).root == environments / "torch"
    assert not rubbish.exists()


@pytest.mark.usefixtures("real_pip")
def test_a_wrong_digest(shelf: Shelf, environments: Path) -> None:
    shelf.wheel("beech")
    shelf.lock([pin("beech", WRONG)])
    with pytest.raises(
        ConverterNotInstalled, match=rf"(?s)pip failed.*DO NOT MATCH THE HASHES.*Expected sha256 {WRONG}"
    ):
        install("torch", Told())
    assert nothing_is_left(environments)


@pytest.mark.usefixtures("real_pip")
def test_no_network(shelf: Shelf, environments: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")  # the discard port: nobody listens
    shelf.lock([pin("elm", WRONG)])
    with pytest.raises(ConverterNotInstalled, match=r"No matching distribution found for elm==1\.0"):
        install("torch", Told())
    assert nothing_is_left(environments)


@pytest.mark.usefixtures("real_pip")
def test_packages_that_do_not_work_here(shelf: Shelf, environments: Path) -> None:
    shelf.lock([shelf.wheel("beech", "raise OSError('libGL.so.1: cannot open shared object file')")], imports="beech")
    with pytest.raises(ConverterNotInstalled, match=r"does not work here, and was removed: beech cannot .* libGL"):
        install("torch", Told())
    assert nothing_is_left(environments)


@pytest.mark.usefixtures("no_pip")
def test_packages_that_crash_while_they_are_imported(
    shelf: Shelf, environments: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crashes(*_: object) -> None:
        raise ConversionFailed("probe crashed: signal 4, SIGILL")

    monkeypatch.setattr(make, "run_unheld", crashes)
    shelf.lock([])
    with pytest.raises(ConverterNotInstalled, match="does not work here, and was removed: probe crashed: signal 4"):
        install("torch", Told())
    assert nothing_is_left(environments)


@pytest.mark.usefixtures("no_pip")
def test_interrupted_by_the_user(shelf: Shelf, environments: Path) -> None:
    class Interrupting(Told):
        def stage(self, name: str, total: int) -> None:
            super().stage(name, total)
            if name == "try it":
                raise KeyboardInterrupt

    shelf.lock([])
    with pytest.raises(KeyboardInterrupt):
        install("torch", Interrupting())
    assert nothing_is_left(environments)


def test_a_disk_that_is_too_small_is_told_before_anything_is_done(
    shelf: Shelf, environments: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.lock([], megabytes="700 to download, 2300 installed")
    usage = shutil.disk_usage("/")._replace(free=2_900_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    told = Told()
    with pytest.raises(DiskFull, match=r"torch: this takes about 3\.0 GB .* 2\.9 GB are free.*\$THRESHER_CONVERTERS"):
        install("torch", told)
    assert told.stages == []
    assert nothing_is_left(environments)


def test_a_disk_that_fills_while_pip_writes(shelf: Shelf, environments: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(wanted: make.Plan, _place: object) -> None:
        python = wanted.folder / places.PYTHON
        python.parent.mkdir(parents=True)
        said = "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device"
        python.write_text(f"#!/bin/sh\necho '{said}'\nexit 1\n")
        python.chmod(0o755)

    monkeypatch.setattr(make, "_make_venv", full)
    shelf.lock([shelf.wheel("beech")])
    with pytest.raises(DiskFull, match=r"(?s)no room on the disk of .*torch: free some.*Errno 28"):
        install("torch", Told())
    assert nothing_is_left(environments)


@pytest.mark.usefixtures("real_pip")
def test_without_a_cpu_build_the_registrys_torch_comes_with_what_it_needs(shelf: Shelf) -> None:
    shelf.lock([shelf.wheel("torch", "import triton")], imports="torch", megabytes="1 to download, 2 installed")
    shelf.lock([shelf.wheel("triton")], "nvidia", megabytes="1700 to download, 3100 installed")
    (shelf.locks.parent / "torch-cpu.txt").write_text(f"torch==1.0+cpu --hash=sha256:{WRONG}\n")
    told = Told()
    assert {"torch": "1.0", "triton": "1.0"}.items() <= install("torch", told).versions.items()
    assert [note for note in told.notes if "no CPU build of torch" in note and "1700 MB more" in note]


def test_the_size_of_nvidias_libraries_counts(
    shelf: Shelf, environments: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.lock([], megabytes="700 to download, 2300 installed")
    shelf.lock([], "nvidia", megabytes="1700 to download, 3100 installed")
    usage = shutil.disk_usage("/")._replace(free=4_000_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    torch, nvidia = (locks_of(name)[VERSION] for name in ("torch", "nvidia"))
    make.check_room(environments / "torch", torch)
    with pytest.raises(DiskFull, match=r"about 7\.8 GB .* 4\.0 GB are free"):
        make.check_room(environments / "torch", torch, nvidia)


@pytest.mark.usefixtures("no_pip")
def test_two_installations_at_once(shelf: Shelf, environments: Path) -> None:
    shelf.lock([])
    with exclusive(environments / "torch"), pytest.raises(Busy, match="torch is being installed or removed"):
        install("torch", Told())
    assert install("torch", Told()).name == "torch"
    with exclusive(environments / "torch"), pytest.raises(Busy):
        remove("torch")
    assert environment("torch") is not None


@pytest.mark.usefixtures("no_pip")
def test_a_removal_that_stops_halfway_leaves_nothing_that_looks_whole(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.lock([])
    install("torch", Told())

    def stops(_path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", stops)
        with pytest.raises(PermissionError):
            remove("torch")
    assert environment("torch") is None
    assert remove("torch")


def test_no_python_of_the_version(shelf: Shelf, environments: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.convert.environments.interpreters.candidates", lambda _version: iter([]))
    shelf.lock([], version="3.13")
    shelf.lock([], version="3.12")
    with pytest.raises(PythonMissing, match=r"torch: this needs Python 3\.13 or 3\.12, .* install python3\.12 with"):
        install("torch", Told())
    assert nothing_is_left(environments)


def test_a_plan_says_what_would_be_done(shelf: Shelf, environments: Path) -> None:
    shelf.lock([shelf.wheel("beech"), shelf.wheel("alder")], megabytes="700 to download, 2300 installed")
    wanted = plan("torch")
    assert (wanted.packages, wanted.download_bytes, wanted.installed_bytes) == (2, 700_000_000, 2_300_000_000)
    assert wanted.folder == environments / "torch"
    assert wanted.python.name == f"python{VERSION}"
    assert not environments.exists()


@pytest.mark.usefixtures("no_pip")
def test_the_list(shelf: Shelf) -> None:
    shelf.lock([])
    shelf.lock([], "onnx2tf", version="3.13")
    shelf.lock([], "tensorflow", version="3.11")
    install("torch", Told())
    torch, onnx2tf, tensorflow = listing()
    assert (torch["installed"], torch["fault"]) == (True, None)
    assert torch["python"].startswith(VERSION)
    assert torch["disk_bytes"] >= 0
    assert (onnx2tf["installed"], onnx2tf["fault"]) == (False, "is not installed")
    assert (onnx2tf["pythons"], tensorflow["pythons"]) == (["3.13"], ["3.11"])
