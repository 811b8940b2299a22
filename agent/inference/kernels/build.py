"""Compile all kernels, or check that a fresh process finds them: the child process of `agent/warm.py`.

    python -m agent.inference.kernels.build compile|fill|check [CACHE_DIR]      prints one JSON object

`compile` keeps machine code; `fill` fills numba's cache as well, where workers can load no other form: compiling twice
would double the minutes that it takes on a small board.
"""

import contextlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from agent.errors import EngineFailed
from agent.inference.kernels.compiled import KERNELS, kernels_kept, loaded_form
from agent.inference.kernels.library import keep_kernels
from agent.inference.limits import apply_limits
from agent.launch import bind


def compile_all() -> dict[str, Any]:
    """Keep the machine code and say where; a device that cannot link says why in `refused`."""
    start, folder = time.perf_counter(), os.environ["NUMBA_CACHE_DIR"]
    refused = keep_kernels(Path(folder))
    return {"folder": folder, "kept_s": round(time.perf_counter() - start, 3), "refused": refused}


def fill_all() -> dict[str, Any]:
    """Fill numba's cache; return what each kernel took [s]."""
    seconds: dict[str, float] = {}
    for name, kernel in KERNELS.items():
        start = time.perf_counter()
        kernel.dispatcher()
        seconds[name] = round(time.perf_counter() - start, 3)
    return {"compiled_s": seconds}


def check_all() -> dict[str, Any]:
    """Load every kernel as a worker would and say how; where numba does, count how many its cache knows.

    Raises:
        EngineFailed: Machine code is there, of other sources than this process has read.
    """
    start = time.perf_counter()
    for kernel in KERNELS.values():
        kernel.load()
    load_ms, form = round((time.perf_counter() - start) * 1000, 3), loaded_form()
    if "numba" in form and kernels_kept():
        raise EngineFailed("the agent's files were replaced while its kernels were compiled: run `agent warm --force`")
    hits, misses = (len(KERNELS), 0) if "numba" not in form else _counted()
    return {"form": form, "cache_hits": hits, "cache_misses": misses, "load_ms": load_ms}


def _counted() -> tuple[int, int]:
    hits = misses = 0
    for kernel in KERNELS.values():
        stats = kernel.dispatcher().stats
        hits, misses = hits + sum(stats.cache_hits.values()), misses + sum(stats.cache_misses.values())
    return hits, misses


STEPS = {"compile": compile_all, "fill": fill_all, "check": check_all}


def main(arguments: list[str]) -> int:
    """Do the step that `arguments` name and print its report; return the exit code."""
    step, *rest = arguments
    bind(os.getppid())  # compiling takes minutes on a board: stop with whoever waits for it
    apply_limits(threads=1, cache_dir=Path(rest[0]) if rest else None)
    # Only the report goes to stdout: compilers like to talk.
    with contextlib.redirect_stdout(sys.stderr):
        report = STEPS[step]()
    print(json.dumps(report))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
