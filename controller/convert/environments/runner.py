"""Run a worker in a converter environment: an order goes in as a JSON file, a result comes out as one.

Decides: the worker's environment variables, its limits, and what its end means. Leaves out: what it does
(`controller/convert/workers`) and how a tree of processes is measured and killed (`watch.py`).

    run_worker(required("torch"), "onnx_export", {"module": "/m/net.py", "file": "/m/out.onnx"}, folder)

Paths in an order are absolute: a worker starts in a folder of its own, which goes when it ends, with all that libraries
leave in the current or the temporary folder.
"""

import errno
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controller.bundle.atomic import disk_full, means_no_room
from controller.convert.environments.hold import shared
from controller.convert.environments.places import Environment
from controller.convert.environments.watch import Ending, last_lines, watch
from controller.errors import ControllerError, ConversionFailed, DiskFull

PACKAGE = Path(__file__).parents[2]
TIED = PACKAGE / "convert" / "workers" / "tied.py"
LONGEST_RESULT_BYTES = 64 * 1024 * 1024
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS",
            "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")  # fmt: skip


@dataclass(frozen=True)
class Limits:
    """What a worker may take.

    `longest_s`: time [s]. `memory_bytes`: resident memory of the worker and its children together; three quarters of
    the machine's where it is null. `threads`: of the numeric libraries.
    """

    longest_s: float = 1800.0
    memory_bytes: int | None = None
    threads: int = 1


def run_worker(
    environment: Environment, worker: str, order: Mapping[str, Any], folder: Path, limits: Limits | None = None
) -> dict[str, Any]:
    """Run `controller.convert.workers.WORKER` in an environment and return its result.

    Args:
        environment: Where it runs.
        worker: Name of the worker's module below `controller.convert.workers`, or in full.
        order: As JSON types; paths are absolute. `result_path` is added here.
        folder: An existing folder; it gets a folder for as long as the worker runs.
        limits: Those of `Limits` where it is null.
    Returns:
        The result; its `outcome` is "ok", or "unusable" with the worker's `error`.
    Raises:
        ConversionFailed: It crashed, was killed at a limit, or left no result that can be read.
        Busy: The environment is being removed or installed.
        DiskFull: No room in `folder`.
    """
    with shared(environment.root):
        return run_unheld(environment, worker, order, folder, limits or Limits())


def run_unheld(
    environment: Environment, worker: str, order: Mapping[str, Any], folder: Path, limits: Limits
) -> dict[str, Any]:
    """Do what `run_worker` does, for who holds the environment already."""
    try:
        place = folder.absolute()  # the worker starts elsewhere
        with tempfile.TemporaryDirectory(prefix=".worker-", dir=place, ignore_cleanup_errors=True) as scratch:
            return _run(environment, worker, order, Path(scratch), limits)
    except OSError as exc:
        if means_no_room(exc):
            raise disk_full(folder) from exc
        raise


def _run(
    environment: Environment, worker: str, order: Mapping[str, Any], scratch: Path, limits: Limits
) -> dict[str, Any]:
    code, temporary = scratch / "code", scratch / "tmp"
    code.mkdir()
    temporary.mkdir()
    # The folder that holds our package may hold a whole environment of other packages: only ours may be seen.
    (code / PACKAGE.name).symlink_to(PACKAGE)
    result_path = scratch / "result.json"
    (scratch / "order.json").write_text(json.dumps({**order, "result_path": str(result_path)}), encoding="utf-8")
    command = [sys.executable, "-I", str(TIED), str(os.getpid()), str(environment.python), "-P", "-m"]
    full = worker if worker.startswith(f"{PACKAGE.name}.") else f"{PACKAGE.name}.convert.workers.{worker}"
    command += [full, str(scratch / "order.json")]
    variables = worker_variables(environment, code, temporary, limits.threads)
    ending = watch(command, variables, temporary, limits.longest_s, limits.memory_bytes)
    if because := ending.because(worker):
        raise _failed(environment, because, ending)
    return _result(environment, worker, result_path, ending)


def worker_variables(environment: Environment, code: Path, temporary: Path, threads: int) -> dict[str, str]:
    """Return a worker's environment variables.

    No variable that changes what Python does is handed on. The hash seed is fixed: converters go over sets, and one
    input must give one file. A GPU is not used: conversions give one result on every machine.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    commands = str(environment.python.parent)  # converters look for programs of their packages on the path
    return {
        **kept,
        **dict.fromkeys(_THREADS, str(threads)),
        "CUDA_VISIBLE_DEVICES": "",
        "HF_HUB_OFFLINE": "1",
        "JAX_PLATFORMS": "cpu",
        "ORT_DISABLE_TELEMETRY": "1",
        "PATH": os.pathsep.join([commands, kept.get("PATH", os.defpath)]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONFAULTHANDLER": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONNOUSERSITE": "1",
        "PYTHONPATH": str(code),
        "PYTHONUNBUFFERED": "1",
        "TMPDIR": str(temporary),
        "VIRTUAL_ENV": str(environment.python.parent.parent),
    }


def _result(environment: Environment, worker: str, path: Path, ending: Ending) -> dict[str, Any]:
    try:
        if path.stat().st_size > LONGEST_RESULT_BYTES:
            raise _failed(environment, f"{worker} left a result of more than {LONGEST_RESULT_BYTES} bytes", ending)
        result = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise _failed(environment, f"{worker} ended without a result", ending) from None
    except ValueError as exc:
        raise _failed(environment, f"{worker} left a result that is no JSON ({exc})", ending) from exc
    outcome = result.get("outcome") if isinstance(result, dict) else None
    if outcome == "ok" or (outcome == "unusable" and isinstance(result.get("error"), str)):
        return dict(result)
    raise _failed(environment, f"{worker} left a result without an outcome, or without its error", ending)


def _failed(environment: Environment, because: str, ending: Ending) -> ControllerError:
    said = last_lines(ending.said)
    text = f"converter environment {environment.name}: {because}; the last it said:{said}"
    return DiskFull(f"no room on the disk: {text}") if os.strerror(errno.ENOSPC) in said else ConversionFailed(text)
