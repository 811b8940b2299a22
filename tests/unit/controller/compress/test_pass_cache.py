"""The cache: a hit repeats nothing, a killed run leaves nothing half, a full disk is called so."""

import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from controller.compress.cache import PassCache, cache_key
from controller.errors import DiskFull

KEY = cache_key({"pass": "test"})


def write_file(folder: Path) -> dict[str, Any]:
    (folder / "model.onnx").write_bytes(b"model")
    return {"file": "model.onnx"}


def test_a_hit_repeats_nothing(tmp_path: Path) -> None:
    cache, calls = PassCache(tmp_path), []

    def make(folder: Path) -> dict[str, Any]:
        calls.append(folder)
        return write_file(folder)

    first, second = cache.get_or_make(KEY, make), cache.get_or_make(KEY, make)
    assert (first.hit, second.hit, len(calls)) == (False, True, 1)
    assert (second.folder / second.facts["file"]).read_bytes() == b"model"
    third = PassCache(tmp_path).get(KEY)
    assert third is not None
    assert third.facts == {"file": "model.onnx"}


def test_a_failure_leaves_nothing_and_is_tried_again(tmp_path: Path) -> None:
    cache = PassCache(tmp_path)

    def fail(folder: Path) -> dict[str, Any]:
        write_file(folder)
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        cache.get_or_make(KEY, fail)
    assert [path.name for path in tmp_path.iterdir()] == ["locks"]
    assert cache.get_or_make(KEY, write_file).hit is False


def test_a_killed_run_leaves_nothing_half(tmp_path: Path) -> None:
    script = (
        "import os, sys, signal; from pathlib import Path; from controller.compress.cache import PassCache\n"
        "def make(folder):\n"
        "    (folder / 'model.onnx').write_bytes(b'half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        f"PassCache(Path(sys.argv[1])).get_or_make({KEY!r}, make)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    died = subprocess.run([sys.executable, "-c", script, str(tmp_path)], env=environment, check=False)
    assert died.returncode == -signal.SIGKILL
    assert any(path.name.startswith(".partial-") for path in tmp_path.iterdir())
    cache = PassCache(tmp_path)
    assert cache.get(KEY) is None
    assert [path.name for path in tmp_path.iterdir()] == ["locks"]
    assert cache.get_or_make(KEY, write_file).hit is False


def test_an_unfinished_folder_of_a_living_process_stays(tmp_path: Path) -> None:
    partial = tmp_path / f".partial-{os.getpid()}-x"
    partial.mkdir()
    PassCache(tmp_path)
    assert partial.is_dir()


def test_two_that_want_the_same_make_it_once(tmp_path: Path) -> None:
    calls, started = [], threading.Event()

    def slow(folder: Path) -> dict[str, Any]:
        calls.append(1)
        started.set()
        release.wait(20)
        return write_file(folder)

    release, hits = threading.Event(), []
    workers = [
        threading.Thread(target=lambda: hits.append(PassCache(tmp_path).get_or_make(KEY, slow).hit)) for _ in range(3)
    ]
    for worker in workers:
        worker.start()
    assert started.wait(20)
    release.set()
    for worker in workers:
        worker.join(20)
    assert sorted(hits) == [False, True, True]
    assert len(calls) == 1


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_called_so(number: int, tmp_path: Path) -> None:
    def full(folder: Path) -> dict[str, Any]:
        write_file(folder)
        raise OSError(number, "full")

    with pytest.raises(DiskFull, match="no room on this disk"):
        PassCache(tmp_path).get_or_make(KEY, full)
    assert [path.name for path in tmp_path.iterdir()] == ["locks"]


def test_another_fault_of_the_disk_keeps_its_name(tmp_path: Path) -> None:
    def fail(_folder: Path) -> dict[str, Any]:
        raise PermissionError(errno.EACCES, "not yours")

    with pytest.raises(PermissionError):
        PassCache(tmp_path).get_or_make(KEY, fail)


def test_the_key_depends_on_every_part_and_on_no_order() -> None:
    assert cache_key({"a": 1, "b": 2}) == cache_key({"b": 2, "a": 1})
    assert len({cache_key({"a": 1}), cache_key({"a": 2}), cache_key({"b": 1})}) == 3
