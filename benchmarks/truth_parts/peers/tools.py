"""Independent measurements of a model's inference, each a process of its own, pinned to the core that is measured on.

A plain Python loop; a C program over ONNX Runtime's C API, compiled here (ONNX Runtime's own perf test is in no
package); and the benchmark tool that is part of LiteRT's package.
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from agent.inference.bundle import Bundle
from benchmarks.truth_parts.product import pinned

WARM_S, TIMED_S = 0.4, 0.6
"""As long as the product's processes warm up and are timed."""

PATIENCE_S = 120.0
LITERT_TOOL = "ai_edge_litert.tools.benchmark_litert_model"


class NoTool(Exception):
    """The tool cannot be had here; the text says why."""


def plain_loop_ns(bundle: Path) -> float:
    """Return the median of a plain loop around `session.run` [ns]."""
    program = [sys.executable, str(Path(__file__).with_name("plain_loop.py"))]
    return _median_ns([*program, str(_model(bundle)), str(bundle / "golden/inputs.npy"), str(WARM_S), str(TIMED_S)])


class OrtLoop:
    """The C program, compiled into a folder."""

    def __init__(self, folder: Path) -> None:
        """Compile.

        Raises:
            NoTool: There is no compiler, or the package of ONNX Runtime has no library with a C API.
        """
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            raise NoTool("no C compiler here: install gcc")
        self._library, self._program = ort_library(), folder / "ort_loop"
        source = Path(__file__).with_name("ort_loop.c")
        made = subprocess.run(
            [compiler, "-O2", "-Wall", "-o", str(self._program), str(source), "-ldl"], capture_output=True, text=True
        )
        if made.returncode != 0:
            raise NoTool(f"{source.name} cannot be compiled: {made.stderr.strip()[-300:]}")

    def median_ns(self, bundle: Path) -> float:
        """Return the median of the loop over the bundle's model and queries [ns]."""
        pipeline = Bundle.open(bundle).manifest.pipeline
        rows = np.load(bundle / "golden/inputs.npy")
        rows_file = self._program.with_name("rows.f32")
        rows_file.write_bytes(np.ascontiguousarray(rows, dtype=np.float32).tobytes())
        names = [pipeline.pre.input.name, pipeline.post.output.name]
        amounts = [str(rows_file), str(len(rows)), str(WARM_S), str(TIMED_S)]
        shape = [str(axis) for axis in (1, *rows.shape[1:])]
        return _median_ns([str(self._program), str(self._library), str(_model(bundle)), *names, *amounts, *shape])


def ort_library() -> Path:
    """Return the shared library with the C API that the package of ONNX Runtime brings.

    Raises:
        NoTool: It brings none.
    """
    found = importlib.util.find_spec("onnxruntime")
    if found is None or found.origin is None:
        raise NoTool("onnxruntime is not installed")
    libraries = sorted((Path(found.origin).parent / "capi").glob("libonnxruntime.so*"))
    if not libraries:
        raise NoTool("this package of onnxruntime brings no libonnxruntime.so")
    return libraries[0]


def litert_tool_ns(bundle: Path, folder: Path, expected_ns: float) -> float:
    """Return the median that LiteRT's own tool gives, rounded by it to 0.01 ms [ns].

    Args:
        bundle: With a LiteRT model.
        folder: For its result.
        expected_ns: About what an inference takes: the tool counts runs and not seconds.
    Raises:
        NoTool: It is not installed, or does not run here.
    """
    if importlib.util.find_spec("ai_edge_litert") is None or importlib.util.find_spec(LITERT_TOOL) is None:
        raise NoTool("the package of LiteRT brings no benchmark tool")
    result = folder / "litert.json"
    runs = {"num_runs": TIMED_S, "warmup_runs": WARM_S}
    counts = [f"--{name}={max(20, round(seconds * 1e9 / expected_ns))}" for name, seconds in runs.items()]
    options = [f"--model={_model(bundle)}", "--num_threads=1", f"--result_json={result}", *counts]
    _run([sys.executable, "-m", LITERT_TOOL, *options])
    return float(json.loads(result.read_bytes())["latency"]["median_ms"]) * 1e6


def _median_ns(command: list[str]) -> float:
    return float(json.loads(_run(command))["median_ns"])


def _run(command: list[str]) -> Any:
    """Run a tool on the core that is measured on, and return what it printed."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    environment = {**os.environ, **threads, "ORT_DISABLE_TELEMETRY": "1"}
    with pinned():
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE_S)
    if ended.returncode != 0:
        raise NoTool(f"{Path(command[0]).name} ended with {ended.returncode}: {ended.stderr.strip()[-300:]}")
    return ended.stdout


def _model(bundle: Path) -> Path:
    return Bundle.open(bundle).model_path
