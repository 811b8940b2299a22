"""Run an environment's own pip, show how far it is, and say in its words why it failed.

Decides: which settings of the user pip keeps (where packages come from, not where they go), and which ending is a full
disk. Leaves out: what is installed (`install.py`).
"""

import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from controller.convert.environments.watch import last_lines
from controller.errors import ConverterNotInstalled, DiskFull

_TIED = Path(__file__).parents[1] / "workers" / "tied.py"
_ELSEWHERE = {"PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_REQUIREMENT", "PIP_DRY_RUN"}
_TICK_S = 0.5
_NO_ROOM = ("No space left on device", "Disk quota exceeded")


class Progress(Protocol):
    """Who is told how far an installation is."""

    def stage(self, name: str, total: int) -> None:
        """A stage begins, of `total` steps; 0: nobody knows how many."""

    def advance(self, note: str = "") -> None:
        """One step is done."""

    def say(self, text: str) -> None:
        """Something should be known."""


@dataclass(frozen=True)
class Place:
    """Where pip works. `held`: the descriptor of the installation's lock, which it shares."""

    python: Path
    temporary: Path
    held: int


class Listener(Protocol):
    """Who is told what pip does."""

    def heard(self, line: str) -> None:
        """Pip printed a line; called in a thread of its own."""

    def tick(self) -> None:
        """Some time went by; called in the thread that runs pip."""


def run_pip(place: Place, arguments: Sequence[str], listener: Listener | None = None) -> None:
    """Run pip to its end.

    Raises:
        DiskFull: No room.
        ConverterNotInstalled: It failed; the text holds the last that it said.
    """
    code, lines = run_tied(place, ["-m", "pip", *arguments], listener)
    if code == 0:
        return
    said = last_lines("\n".join(lines))
    if any(text in line for line in lines for text in _NO_ROOM):
        raise DiskFull(
            f"no room on the disk of {place.temporary.parent}: free some, then install again; pip said:{said}"
        )
    raise ConverterNotInstalled(f"pip failed with exit code {code}, and nothing was installed; the last it said:{said}")


def succeeds(place: Place, arguments: Sequence[str]) -> bool:
    """Tell whether pip does what is asked."""
    return run_tied(place, ["-m", "pip", *arguments])[0] == 0


def run_tied(place: Place, arguments: Sequence[str], listener: Listener | None = None) -> tuple[int, deque[str]]:
    """Run the place's Python to its end; return its exit code and the last lines that it printed.

    It ends with this process, and holds this one's lock: where this one is killed, nobody writes on unseen.
    """
    command = [sys.executable, "-I", str(_TIED), str(os.getpid()), str(place.python), *arguments]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        errors="replace", env=pip_variables(place.temporary), pass_fds=(place.held,), start_new_session=True,
    )  # fmt: skip
    lines: deque[str] = deque(maxlen=200)
    reader = threading.Thread(target=_read, args=(process, lines, listener), daemon=True)
    reader.start()
    try:
        _wait(process, listener)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        code = process.wait()
        reader.join(timeout=5)
    return code, lines


def _wait(process: "subprocess.Popen[str]", listener: Listener | None) -> None:
    while process.poll() is None:
        with suppress(subprocess.TimeoutExpired):
            process.wait(_TICK_S)
        if listener is not None:
            listener.tick()


def _read(process: "subprocess.Popen[str]", lines: deque[str], listener: Listener | None) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if text := line.rstrip():
            lines.append(text)
            if listener is not None:
                listener.heard(text)


def pip_variables(temporary: Path) -> dict[str, str]:
    """Return pip's environment variables: the user's, without those that send packages elsewhere."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith("PYTHON") and name not in _ELSEWHERE
    }
    return {
        **kept,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_COLOR": "1",
        "PIP_NO_INPUT": "1",
        "PIP_PROGRESS_BAR": "off",
        "PYTHONUNBUFFERED": "1",
        "TMPDIR": str(temporary),
    }
