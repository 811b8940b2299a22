"""`agent warm`: what is compiled is found again, and what cannot be kept is said."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from click.testing import CliRunner

from agent import warm as warming
from agent.cli.warm import command
from agent.errors import EngineFailed
from agent.inference.kept import DIGESTS_NAME, LIBRARY_NAME, OBJECT_NAME
from agent.inference.limits import kernel_folder

ROOT = Path(__file__).parents[4]


def test_the_folder_names_release_and_processor(tmp_path: Path) -> None:
    first, second = kernel_folder(tmp_path), kernel_folder(tmp_path)
    assert first == second
    assert first.parent == tmp_path / "kernels"
    assert os.uname().machine in first.name


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "kernels").write_text("a file where a folder belongs")
    with pytest.raises(EngineFailed, match="another cache folder"):
        warming.ensure_warm(tmp_path)


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A warm folder under `tmp_path`, as a cache of its own."""
    return Path(shutil.copytree(warming.ensure_warm(), kernel_folder(tmp_path)))


def compiled(*_: Any, **__: Any) -> None:
    raise EngineFailed("compiled again")


def test_what_was_warmed_is_not_compiled_again(kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warming, "warm", compiled)
    assert warming.ensure_warm(tmp_path) == kept
    with pytest.raises(EngineFailed, match="compiled again"):
        warming.ensure_warm(tmp_path, force=True)


@pytest.mark.parametrize("name", [warming.REPORT_NAME, LIBRARY_NAME, OBJECT_NAME, DIGESTS_NAME])
def test_what_is_damaged_or_gone_is_not_warm(
    name: str, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warming, "warm", compiled)
    assert warming.read_report(kept) is not None
    content = (kept / name).read_bytes()
    for damage in (content[:100], b""):
        (kept / name).write_bytes(damage)
        assert warming.read_report(kept) is None
    (kept / name).unlink()
    with pytest.raises(EngineFailed, match="compiled again"):
        warming.ensure_warm(tmp_path)


def test_compiling_ends_with_whoever_waits_for_it(tmp_path: Path) -> None:
    """As when systemd stops an agent that compiles its kernels before its first start."""
    code = "import sys; from pathlib import Path; from agent import warm; warm.warm(Path(sys.argv[1]))"
    waiting = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT)
    try:
        compiler = first_child(waiting)
        # It has bound itself once numba's cache folder is made, which is the first thing that it does after.
        wait_until(lambda: kernel_folder(tmp_path).is_dir())
    finally:
        waiting.terminate()
        waiting.wait()
    compiler.wait(timeout=30)
    assert not compiler.is_running()


def first_child(parent: "subprocess.Popen[bytes]") -> psutil.Process:
    process = psutil.Process(parent.pid)
    wait_until(lambda: bool(process.children()))
    return process.children()[0]


def wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_report_of_another_release_is_none(kept: Path) -> None:
    (kept / warming.REPORT_NAME).write_text('{"folder": "x", "library": true}')
    assert warming.read_report(kept) is None
    (kept / warming.REPORT_NAME).write_text("[1]")
    assert warming.read_report(kept) is None


WATCHED = """
import sys
from pathlib import Path
folder = sys.argv[1]
def watch(event, arguments):
    writes = event == "open" and (arguments[1] or "r").strip("rbtU") and str(arguments[0]).startswith(folder)
    changes = event in ("os.mkdir", "os.rename", "os.remove", "os.chmod") and str(arguments[0]).startswith(folder)
    if writes or changes:
        print("wrote", event, arguments)
sys.addaudithook(watch)
from agent.inference.order import prepare_process
from agent.serve.orders import ServeOrder
prepare_process(ServeOrder(bundle_dir=Path("/"), cache_dir=Path(folder)), lambda *said, **more: print(said, more))
from agent.inference.kernels import classify
import numpy as np
classify.softmax(np.ones(3, dtype=np.float32), np.zeros(3, dtype=np.float32))
print("done", len(sys.argv))
"""


def test_a_worker_writes_nothing_where_kernels_are_warm(kept: Path, tmp_path: Path) -> None:
    assert kept.is_dir()
    ended = subprocess.run(
        [sys.executable, "-c", WATCHED, str(tmp_path)], cwd=ROOT, capture_output=True, check=True, text=True
    )
    assert ended.stdout == "done 2\n"


def test_other_users_may_read_what_is_kept_and_not_write_it() -> None:
    modes = {path.name: path.stat().st_mode & 0o777 for path in warming.ensure_warm().iterdir() if path.suffix}
    assert {name: mode for name, mode in modes.items() if mode != 0o644} == {}
    assert {LIBRARY_NAME, OBJECT_NAME, warming.REPORT_NAME} <= set(modes)
    assert warming.ensure_warm().stat().st_mode & 0o777 == 0o755


def test_the_command_says_how_workers_load_kernels_and_whether_it_compiled(kept: Path, tmp_path: Path) -> None:
    told = CliRunner().invoke(command, ["--cache-dir", str(tmp_path)], catch_exceptions=False)
    assert "kernels are warm in" in told.output
    assert "as a linked library" in told.output
    answer = json.loads(CliRunner().invoke(command, ["--cache-dir", str(tmp_path), "--json"]).output)
    assert (answer["form"], answer["compiled_now"], answer["refused"]) == ("library", False, "")
    assert kept == kernel_folder(tmp_path)


def test_a_compiler_that_dies_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    died = subprocess.CompletedProcess([], 1, b"", b"LLVM ERROR: out of memory")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: died)
    with pytest.raises(EngineFailed, match=r"compile, exit code 1\): LLVM ERROR"):
        warming.ensure_warm(tmp_path)
    assert not (kernel_folder(tmp_path) / warming.REPORT_NAME).exists()
