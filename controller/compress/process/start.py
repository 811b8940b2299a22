"""Start a child process with an order, and say in words how it ended.

Decides: the child's environment, its time limit, and what a signal means. Leaves out: what the child does (`step.py`,
and the agent's worker).
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from controller.bundle.atomic import disk_full

LONGEST_RUN_S = 900.0
LONGEST_TRAINING_S = 25 * 3600.0  # the trainer has a limit of its own, which ends it in better words
LONGEST_LOG_CHARACTERS = 4000


class PassFailed(Exception):
    """A pass gave no result. Internal to compression: it becomes a `FailedVariant` or an `UnusableModel`."""

    def __init__(self, pass_name: str, because: str, log: str = "") -> None:
        super().__init__(because)
        self.pass_name, self.because, self.log = pass_name, because, log


def run_child(
    module: str, order: Mapping[str, Any], folder: Path, name: str, longest_s: float = LONGEST_RUN_S
) -> dict[str, Any]:
    """Run `python -m MODULE ORDER.json` and return the JSON that it left in the order's `result_path`.

    Args:
        module: What to run.
        order: As JSON types; `result_path` is added here.
        folder: Gets order and result for as long as the child runs.
        name: What is being done, for messages.
        longest_s: When it is stopped [s].
    Raises:
        PassFailed: It crashed, was killed, took too long, or left no result.
    """
    order_path, result_path = folder / "order.json", folder / "order-result.json"
    order_path.write_text(json.dumps({**order, "result_path": str(result_path)}))
    command = [sys.executable, "-m", module, str(order_path)]
    try:
        done = subprocess.run(
            command, capture_output=True, env=_environment(), timeout=longest_s, text=True, check=False
        )
    except subprocess.TimeoutExpired as exc:
        raise PassFailed(name, f"{name} did not end within {longest_s:.0f} s and was stopped") from exc
    log = done.stderr[-LONGEST_LOG_CHARACTERS:]
    if done.returncode != 0 or not result_path.exists():
        raise PassFailed(name, _death(name, done.returncode, log), log)
    result: dict[str, Any] = json.loads(result_path.read_bytes())
    order_path.unlink()
    result_path.unlink()
    return result


def run_step(order: Mapping[str, Any], folder: Path, name: str, longest_s: float = LONGEST_RUN_S) -> dict[str, Any]:
    """Run one step of compression and return its result.

    Raises:
        PassFailed: No result, or the step says that the model is unusable.
        DiskFull: The step found no room.
    """
    result = run_child("controller.compress.process.step", order, folder, name, longest_s)
    if result["outcome"] == "disk_full":
        raise disk_full(folder)
    if result["outcome"] != "ok":
        raise PassFailed(name, result["error"])
    return result


def _environment() -> dict[str, str]:
    """Return the child's environment.

    The hash seed is fixed: quantisers go over sets, and one input must give one file.
    """
    path = os.pathsep.join(entry for entry in sys.path if entry)
    return {**os.environ, "ORT_DISABLE_TELEMETRY": "1", "PYTHONHASHSEED": "0", "PYTHONPATH": path}


def _death(name: str, code: int, log: str) -> str:
    if code == -9:
        return f"{name} was killed (signal 9): most likely the machine ran out of memory"
    if code < 0:
        return f"{name} crashed with signal {-code}"
    last = log.strip().splitlines()[-1:] or ["it said nothing"]
    return f"{name} failed with exit code {code}: {last[0][:500]}"
