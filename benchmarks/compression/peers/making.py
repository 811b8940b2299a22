"""Have a toolkit make its file: its program in its environment's Python, in a process of its own, with a time limit.

Decides: what it gets (the float file and the model inputs of the calibration set), and what a program that fails, dies
or hangs is told as. Leaves out: what the file is worth (`judging.py`).
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import child_environment
from benchmarks.compression.peers.entrants import PROGRAMS, Entrant
from benchmarks.compression.peers.environments import missing, python_of
from benchmarks.engine_parts.making import plain
from controller.convert.environments.places import FOLDER_VARIABLE
from controller.convert.environments.places import folder as converters
from controller.models.folder import ModelFolder
from controller.models.preprocess import prepare

LONGEST_S = 900.0
LONGEST_TRAINING_S = 3600.0
QUIET = {"OLIVE_DISABLE_TELEMETRY": "1", "HF_HUB_OFFLINE": "1", "NNCF_CI": "1", "CI": "1", "PYTHONHASHSEED": "0"}
"""No toolkit tells anybody anything, or fetches anything."""


@dataclass(frozen=True)
class Made:
    """What came of a toolkit. because: why there is no file; empty where there is one. took_s: wall time of its
    process. peak_bytes: the most memory that it had resident (VmHWM), of which `base_bytes` before it began."""

    because: str = ""
    took_s: float | None = None
    peak_bytes: int | None = None
    base_bytes: int | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Bench:
    """Where toolkits work. environments: holds theirs. datasets: keeps samples. longest_s: null: the usual limits."""

    environments: Path
    datasets: Path
    longest_s: float | None = None


def made(entrant: Entrant, model: ModelFolder, queries: NDArray[Any], out: Path, bench: Bench) -> Made:
    """Have a toolkit write its file to `out`.

    Args:
        entrant: The toolkit and its setting.
        model: Whose float file is taken.
        queries: Of the calibration set, raw, shape (n, …).
        out: Where the file goes.
        bench: Where it works.
    """
    python = Path(sys.executable) if entrant.is_ours else python_of(entrant.environment, bench.environments)
    if python is None:
        return Made(because=missing(entrant.environment))
    longest_s = bench.longest_s or (LONGEST_TRAINING_S if entrant.trains else LONGEST_S)
    with TemporaryDirectory(prefix="thresher-peer-") as place:
        order = _order(entrant, model, queries, Path(place))
        order |= {"out": str(out), "datasets": str(bench.datasets.absolute())}
        return run_program(python, f"{PROGRAMS}.{entrant.program}", order, longest_s)


def run_program(python: Path, program: str, order: Mapping[str, Any], longest_s: float) -> Made:
    """Run a program with an order (`programs/frame.py`), and end all that it started when its time is over."""
    folder = Path(str(order["folder"]))
    paths = {"result_path": str(folder / "result.json")}
    (folder / "order.json").write_text(json.dumps({**order, **paths}))
    # Their own folders for what toolkits keep of a user.
    around = {**child_environment(), **QUIET, "TMPDIR": str(folder), "HOME": str(folder)}
    around |= {FOLDER_VARIABLE: str(converters())}
    started, said = time.monotonic(), folder / "said.txt"
    with said.open("w") as told:
        child = subprocess.Popen(
            [str(python), "-P", "-m", program, str(folder / "order.json")],
            stdout=told, stderr=told, cwd=folder, env=around, start_new_session=True,
        )  # fmt: skip
        try:
            code: int | None = child.wait(longest_s)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    took_s = round(time.monotonic() - started, 2)
    if code is None:
        return Made(because=f"it did not end within {longest_s:g} s and was stopped", took_s=took_s)
    return _read(Path(paths["result_path"]), code, said, took_s)


def _read(path: Path, code: int, said: Path, took_s: float) -> Made:
    if code or not path.is_file():
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        last = (said.read_text(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
        return Made(because=plain(f"it ended with {how}: {last}"), took_s=took_s)
    result = json.loads(path.read_bytes())
    because = "" if result["outcome"] == "ok" else plain(result["error"])
    notes = tuple(plain(each) for each in result.get("notes", ()))
    return Made(because, took_s, result["peak_bytes"], result["base_bytes"], notes)


def _order(entrant: Entrant, model: ModelFolder, queries: NDArray[Any], folder: Path) -> dict[str, Any]:
    """Return what every program is told; write the samples that it reads."""
    pipeline = model.pipeline(entrant.form)
    name = pipeline.pre.input.name
    # Behind the environment of a toolkit there may be another numpy: an `.npz` of plain arrays is the same to all.
    inputs = np.ascontiguousarray(prepare(pipeline.pre, queries), dtype=np.float32)
    named: dict[str, Any] = {name: inputs}
    np.savez(folder / "calibration.npz", **named)
    np.savez(folder / "samples.npz", inputs=queries)
    (folder / "scratch").mkdir()
    return {
        "source": str(model.file(entrant.form).absolute()),
        "format": entrant.form,
        "root": str(model.root.absolute()),
        "torch": model.spec.torch.model_dump(mode="json", exclude_none=True) if model.spec.torch else None,
        "calibration": str(folder / "calibration.npz"),
        "samples": str(folder / "samples.npz"),
        "input": name,
        "output": pipeline.post.output.name,
        "folder": str(folder / "scratch"),
        "setting": dict(entrant.setting),
    }
