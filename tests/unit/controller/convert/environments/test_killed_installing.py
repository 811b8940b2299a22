"""An installation that is killed with SIGKILL leaves nothing that counts, and nobody who goes on writing."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from controller.convert.environments import environment, install, required
from controller.errors import ConverterMissing
from tests.unit.controller.convert.environments.small_wheels import Shelf, Told, pin, use_no_pip
from tools.source import ROOT

INSTALL = "tests.unit.controller.convert.environments.small_wheels"


def begin(shelf: Shelf, template: Path, environments: Path) -> "subprocess.Popen[bytes]":
    places = [str(shelf.wheels), str(shelf.locks), str(template), str(environments)]
    return subprocess.Popen([sys.executable, "-m", INSTALL, *places], cwd=ROOT)


def wait_until(seen: Callable[[], bool]) -> None:
    until = time.monotonic() + 120
    while not seen():
        assert time.monotonic() < until, "it did not get that far"
        time.sleep(0.02)


def kill(installing: "subprocess.Popen[bytes]") -> None:
    """Kill it as a power cut would, and see its children end by themselves."""
    children = psutil.Process(installing.pid).children(recursive=True)
    assert children
    installing.send_signal(signal.SIGKILL)
    installing.wait()
    _, alive = psutil.wait_procs(children, timeout=60)
    assert alive == []


def made_anew(shelf: Shelf, patch: pytest.MonkeyPatch) -> None:
    """Install again: nothing of the killed one is in the way, and nothing of it is kept."""
    use_no_pip(patch)
    shelf.lock([])
    made = install("torch", Told())
    assert environment("torch") == made
    assert not list(made.root.glob("venv/lib"))


@pytest.mark.long
def test_killed_while_pip_fetches(
    shelf: Shelf, template: Path, environments: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{silent.getsockname()[1]}/simple")
        shelf.lock([pin("elm", "0" * 64)])
        installing = begin(shelf, template, environments)
        silent.settimeout(120)
        asked, _ = silent.accept()  # pip asks, and gets no answer
        with asked:
            kill(installing)
    assert (environments / "torch" / "venv" / "bin" / "python").exists()
    assert environment("torch") is None

    made_anew(shelf, monkeypatch)


@pytest.mark.long
def test_killed_when_all_is_there_but_the_trial(
    shelf: Shelf, template: Path, environments: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = tmp_path / "reached"
    slow = f"import pathlib, time\npathlib.Path({str(reached)!r}).touch()\ntime.sleep(600)"
    shelf.lock([shelf.wheel("beech", slow)], imports="beech")
    installing = begin(shelf, template, environments)
    wait_until(reached.exists)
    kill(installing)
    assert list((environments / "torch").glob("venv/lib/*/site-packages/beech.py"))
    assert environment("torch") is None
    with pytest.raises(ConverterMissing, match="is only partly installed"):
        required("torch")

    made_anew(shelf, monkeypatch)
