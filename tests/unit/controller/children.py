"""Work that the controller gives to child processes, done in the test's own process.

For tests of what comes of passes, inspections, steps and runs of variants: a process each takes a second or two, nearly
all of it imports. That they are processes, and how those end, is tested in `compress/test_build_variants.py`,
`compress/test_offline_evaluation.py`, `convert/making/test_convert.py` and `models/sources/test_engines.py`.
"""

import importlib
import os
import subprocess
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

MODULES = frozenset(
    {
        "agent.measure.attempt",
        "agent.measure.worker",
        "controller.compress.process.step",
        "controller.convert.making.steps.run",
    }
)
"""What is done here; another module still gets its process."""


@contextmanager
def done_here() -> Iterator[None]:
    """Carry out children's orders in this process, one at a time."""
    one_at_a_time = threading.Lock()

    def run(command: list[str], **options: Any) -> "subprocess.CompletedProcess[str]":
        module, order = command[-2:]
        if module not in MODULES:
            ended: subprocess.CompletedProcess[str] = subprocess.run(command, **options)
            return ended
        with one_at_a_time:
            return _carried_out(command, module, order)

    stand_in = SimpleNamespace(run=run, TimeoutExpired=subprocess.TimeoutExpired)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("agent.measure.worker.say", lambda *_, **__: None)
        patch.setattr("controller.compress.process.step._first_to_go", lambda: None)
        patch.setattr("controller.compress.process.start.subprocess", stand_in)
        yield


def _carried_out(command: list[str], module: str, order: str) -> "subprocess.CompletedProcess[str]":
    """Call the module's `main` as `python -m` would, and leave the environment as it was."""
    before = dict(os.environ)
    try:
        code = importlib.import_module(module).main([order])
        return subprocess.CompletedProcess(command, code, "", "")
    except Exception:  # what would end the child: its last words are its traceback
        return subprocess.CompletedProcess(command, 1, "", traceback.format_exc())
    finally:
        os.environ.clear()
        os.environ.update(before)
