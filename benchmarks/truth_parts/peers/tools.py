"""Independent measurements of a model's inference, each a process of its own, held to the core that is measured on.

A plain Python loop; a loop in C over ONNX Runtime's C API, compiled here (ONNX Runtime's own perf test is in no
package); and the benchmark tool that is part of LiteRT's package.
"""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

from agent.inference.bundle import Bundle
from agent.measure.scenarios.turns import BLOCK_S, REWARM_S
from benchmarks.truth_parts.peers.turns import NoTool, Stopped, Talking

WARM_S, TIMED_S = 0.4, 0.6
"""As long as the product's processes warm up and are timed."""

STOPPED_TIMED_S = 6.0
"""Forty turns of a tool that is stopped in the others: it gives one median of all, and clocks wander."""

AMOUNTS = tuple(map(str, (WARM_S, REWARM_S, BLOCK_S, TIMED_S)))
"""A turn is as long as the product's."""

LITERT_TOOL = "ai_edge_litert.tools.benchmark_litert_model"


def plain_loop(bundle: Path) -> Talking:
    """Start a plain loop around `session.run`."""
    program = [sys.executable, str(Path(__file__).with_name("plain_loop.py"))]
    return Talking([*program, str(_model(bundle)), str(bundle / "golden/inputs.npy"), *AMOUNTS])


class OrtLoop:
    """The C program, compiled into a folder."""

    def __init__(self, folder: Path) -> None:
        """Compile.

        Raises:
            NoTool: There is no compiler.
        """
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            raise NoTool("no C compiler here: install gcc")
        self._library = folder / "ort_loop.so"
        source = Path(__file__).with_name("ort_loop.c")
        flags = ["-O2", "-Wall", "-shared", "-fPIC"]
        made = subprocess.run([compiler, *flags, "-o", str(self._library), str(source)], capture_output=True, text=True)
        if made.returncode != 0:
            raise NoTool(f"{source.name} cannot be compiled: {made.stderr.strip()[-300:]}")

    def start(self, bundle: Path) -> Talking:
        """Start the loop over the bundle's model and queries."""
        pipeline = Bundle.open(bundle).manifest.pipeline
        rows = np.load(bundle / "golden/inputs.npy")
        rows_file = self._library.with_name("rows.f32")
        rows_file.write_bytes(np.ascontiguousarray(rows, dtype=np.float32).tobytes())
        names = [pipeline.pre.input.name, pipeline.post.output.name]
        shape = [str(axis) for axis in (1, *rows.shape[1:])]
        program = [sys.executable, str(Path(__file__).with_name("ort_loop.py")), str(self._library)]
        return Talking([*program, str(_model(bundle)), *names, str(rows_file), str(len(rows)), *AMOUNTS, *shape])


def litert_tool(bundle: Path, folder: Path, expected_ns: float) -> Stopped:
    """Start LiteRT's own tool, whose median is rounded by it to 0.01 ms.

    Args:
        bundle: With a LiteRT model.
        folder: For its result.
        expected_ns: About what an inference takes: the tool counts runs and not seconds.
    Raises:
        NoTool: It is not installed.
    """
    if importlib.util.find_spec("ai_edge_litert") is None or importlib.util.find_spec(LITERT_TOOL) is None:
        raise NoTool("the package of LiteRT brings no benchmark tool")
    result = folder / "litert.json"
    runs = {"num_runs": STOPPED_TIMED_S, "warmup_runs": WARM_S}
    counts = [f"--{name}={max(20, round(seconds * 1e9 / expected_ns))}" for name, seconds in runs.items()]
    options = [f"--model={_model(bundle)}", "--num_threads=1", f"--result_json={result}", *counts]
    return Stopped([sys.executable, "-m", LITERT_TOOL, *options], "benchmark iterations", result)


def _model(bundle: Path) -> Path:
    return Bundle.open(bundle).model_path
