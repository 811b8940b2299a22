"""A worker gets a clean environment and limits; whatever it does, its end is named and nothing of it stays."""

import json
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from controller.convert.environments import Environment, Limits, run_worker
from controller.convert.environments import runner as runner_module
from controller.convert.environments.watch import Ending, last_lines, machine_memory_bytes
from controller.errors import Busy, ConversionFailed, DiskFull
from tools.source import ROOT

MISBEHAVING = Path(__file__).with_name("misbehaving.py")
MEBIBYTE = 1024 * 1024


@pytest.fixture
def here(tmp_path: Path) -> Environment:
    """The environment that the tests run in, as a converter's."""
    return Environment("torch", Path(sys.executable), tmp_path / "torch", {})


@pytest.fixture
def odd(tmp_path: Path) -> Environment:
    """An environment whose interpreter runs `misbehaving.py`, whichever worker is asked for."""
    python = tmp_path / "odd" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P "{MISBEHAVING}" "$4"\n')
    python.chmod(0o755)
    return Environment("torch", python, tmp_path / "torch", {})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "folder"
    made.mkdir()
    return made


def fails(environment: Environment, order: Mapping[str, Any], folder: Path, limits: Limits | None = None) -> str:
    """Return the error's text; the folder is empty again."""
    with pytest.raises(ConversionFailed) as failure:
        run_worker(environment, "convert_it", order, folder, limits)
    assert list(folder.iterdir()) == []
    return str(failure.value)


def test_the_probe_tells_what_is_installed(here: Environment, folder: Path) -> None:
    found = run_worker(here, "probe", {"import": ["json"]}, folder)
    assert found["outcome"] == "ok"
    assert found["versions"]["psutil"] == psutil.__version__


def test_the_folder_may_be_named_from_here(here: Environment, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    assert run_worker(here, "probe", {}, Path(folder.name))["outcome"] == "ok"


def test_what_a_worker_refuses_is_an_outcome(here: Environment, folder: Path) -> None:
    found = run_worker(here, "probe", {"import": ["no_such_module_at_all"]}, folder)
    assert found["outcome"] == "unusable"
    assert "no_such_module_at_all" in found["error"]


def test_a_worker_that_there_is_not_is_named(here: Environment, folder: Path) -> None:
    with pytest.raises(ConversionFailed, match=r"no_such_worker failed with exit code 1(?s:.*)No module named"):
        run_worker(here, "no_such_worker", {}, folder)


def test_the_environment_of_a_worker(odd: Environment, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "PYTHONPATH": "/elsewhere", "PYTHONHOME": "/nowhere", "PYTHONHASHSEED": "17", "PYTHONWARNINGS": "error",
        "ORT_DISABLE_TELEMETRY": "0", "OMP_NUM_THREADS": "64", "HOME": str(folder), "CUDA_VISIBLE_DEVICES": "0",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    found = run_worker(odd, "convert_it", {"do": "answer"}, folder, Limits(threads=3))
    variables = found["variables"]
    assert variables["ORT_DISABLE_TELEMETRY"] == "1"
    assert variables["PYTHONHASHSEED"] == "0"
    assert variables["OMP_NUM_THREADS"] == variables["TF_NUM_INTRAOP_THREADS"] == "3"
    assert variables["CUDA_VISIBLE_DEVICES"] == ""
    assert variables["HOME"] == str(folder)
    assert not {"PYTHONHOME", "PYTHONWARNINGS"} & set(variables)
    assert variables["PATH"].split(":")[0] == str(odd.python.parent)
    assert variables["PYTHONPATH"].startswith(str(folder))
    assert "/elsewhere" not in found["path"]
    assert found["here"].startswith(str(folder))


def test_only_our_own_package_is_seen_beside_the_environments(odd: Environment, folder: Path) -> None:
    # In an installation, the folder that holds `controller` holds the controller's numpy too, of another version.
    found = run_worker(odd, "convert_it", {"do": "answer"}, folder)
    assert found["laid_on_the_path"] == {"controller": str(ROOT / "controller")}


def test_what_libraries_leave_about_goes_with_the_worker(odd: Environment, folder: Path) -> None:
    run_worker(odd, "convert_it", {"do": "answer"}, folder)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("order", "said"),
    [
        ({"do": "die", "code": 3}, "convert_it failed with exit code 3"),
        ({"do": "die", "signal": signal.SIGSEGV}, "convert_it crashed: signal 11, SIGSEGV"),
        ({"do": "die", "signal": signal.SIGABRT}, "convert_it crashed: signal 6, SIGABRT"),
        ({"do": "die", "signal": signal.SIGKILL}, "most likely the machine ran out of memory"),
        ({"do": "die"}, "convert_it ended without a result"),
        ({"do": "leave", "result": '{"outcome": "o'}, "left a result that is no JSON"),
        ({"do": "leave", "result": "[1]"}, "left a result without an outcome"),
        ({"do": "leave", "result": '{"file": "m.onnx"}'}, "left a result without an outcome"),
        ({"do": "leave", "result": '{"outcome": "unusable"}'}, "without its error"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_an_ending_without_a_result_is_named(odd: Environment, folder: Path, order: dict[str, Any], said: str) -> None:
    error = fails(odd, {**order, "say": "the last words"}, folder)
    assert said in error
    assert "converter environment torch" in error
    assert "the last it said:\n    the last words" in error


def test_a_result_that_is_too_large_is_not_read(
    odd: Environment, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "LONGEST_RESULT_BYTES", 10)
    assert "more than 10 bytes" in fails(odd, {"do": "leave", "result": '{"outcome": "ok"}'}, folder)


def test_only_the_last_of_much_output_is_told(odd: Environment, folder: Path) -> None:
    error = fails(
        odd, {"do": "die", "code": 1, "say": "\n".join(f"line {n} " + "x" * 90 for n in range(50_000))}, folder
    )
    assert "line 49999 " in error
    assert "line 49980 " not in error
    assert len(error) < 5000


def test_colours_and_bars_do_not_reach_the_terminal() -> None:
    said = last_lines("one\n\n\x1b[31mred\x1b[0m \x07bell\nbar 10%\rbar 20%\n" + "x" * 500, most=4)
    assert said == f"\n    red bell\n    bar 10%\n    bar 20%\n    {'x' * 300}"
    assert last_lines("\n \n") == " nothing"


def test_a_worker_that_hangs_is_killed_with_all_its_children(odd: Environment, folder: Path, tmp_path: Path) -> None:
    children = tmp_path / "children.json"
    error = fails(odd, {"do": "hang", "children": str(children), "say": "at 40 %"}, folder, Limits(longest_s=2.0))
    assert "convert_it did not end within 2 s and was killed" in error
    assert "at 40 %" in error
    assert all(gone(pid) for pid in json.loads(children.read_text()))


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize("do", ["eat", "eat_in_child"])
def test_a_worker_that_eats_the_memory_is_killed_and_named(odd: Environment, folder: Path, do: str) -> None:
    error = fails(odd, {"do": do}, folder, Limits(longest_s=60, memory_bytes=200 * MEBIBYTE))
    assert "more than the limit of 0.20, and was killed" in error


def test_the_limit_of_memory_is_a_share_of_what_the_machine_has() -> None:
    assert 0 < machine_memory_bytes() <= psutil.virtual_memory().total


def test_a_worker_ends_with_the_process_that_started_it(odd: Environment, folder: Path, tmp_path: Path) -> None:
    script = textwrap.dedent(f"""
        from pathlib import Path
        from controller.convert.environments import Environment, run_worker
        odd = Environment("torch", Path({str(odd.python)!r}), Path({str(odd.root)!r}), {{}})
        run_worker(odd, "convert_it", {{"do": "hang", "children": {str(tmp_path / "pids")!r}}}, Path({str(folder)!r}))
    """)
    starter = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT)
    until = time.monotonic() + 60
    while not (tmp_path / "pids").exists() and time.monotonic() < until:
        time.sleep(0.02)
    [worker] = [each for each in psutil.Process(starter.pid).children() if MISBEHAVING.name in " ".join(each.cmdline())]
    starter.kill()
    starter.wait()
    psutil.wait_procs([worker], timeout=30)
    assert gone(worker.pid)
    for pid in json.loads((tmp_path / "pids").read_text()):
        psutil.Process(pid).kill()


def test_an_environment_that_is_being_removed_runs_nothing(here: Environment, folder: Path) -> None:
    from controller.convert.environments.hold import exclusive

    with exclusive(here.root), pytest.raises(Busy, match="torch is being installed or removed"):
        run_worker(here, "probe", {}, folder)


def test_two_workers_share_an_environment_that_then_cannot_be_removed(here: Environment) -> None:
    from controller.convert.environments.hold import exclusive, shared

    with shared(here.root), shared(here.root), pytest.raises(Busy), exclusive(here.root):
        pass


def test_a_disk_that_a_worker_fills_is_named(odd: Environment, folder: Path) -> None:
    said = "OSError: [Errno 28] No space left on device: 'm.onnx'"
    with pytest.raises(DiskFull, match=r"(?s)no room on the disk: converter environment torch: .*m\.onnx"):
        run_worker(odd, "convert_it", {"do": "die", "code": 1, "say": said}, folder)


def test_a_full_disk_is_named(here: Environment, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: object, **_more: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(DiskFull, match="no room"):
        run_worker(here, "probe", {}, folder)


@pytest.mark.parametrize(
    ("ending", "because"),
    [
        (Ending(0, None, ""), None),
        (Ending(0, "took too long", ""), "it took too long"),
        (Ending(-35, None, ""), "it crashed: signal 35, "),
    ],
)
def test_endings_in_words(ending: Ending, because: str | None) -> None:
    found = ending.because("it")
    assert found is None if because is None else (found or "").startswith(because)
