"""Compile all kernels, or check that a fresh process finds them: the child process of `agent/warm.py`.

python -m agent.inference.kernels.build compile|check [CACHE_DIR]      prints one JSON object
"""

import contextlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from agent.inference.kernels.compiled import KERNELS, loaded_form
from agent.inference.kernels.library import keep_kernels
from agent.inference.limits import apply_limits


def compile_all() -> dict[str, Any]:
    """Fill numba's cache and keep the machine code; a device that cannot link says why in `refused`."""
    seconds: dict[str, float] = {}
    for name, kernel in KERNELS.items():
        start = time.perf_counter()
        kernel.dispatcher()
        seconds[name] = round(time.perf_counter() - start, 3)
    start = time.perf_counter()
    refused = keep_kernels(Path(os.environ["NUMBA_CACHE_DIR"]))
    return {"compiled_s": seconds, "kept_s": round(time.perf_counter() - start, 3), "refused": refused}


def check_all() -> dict[str, Any]:
    """Load every kernel as a worker would and say how, then count how many of them numba's cache knows."""
    start = time.perf_counter()
    for kernel in KERNELS.values():
        kernel.load()
    load_ms, form = round((time.perf_counter() - start) * 1000, 3), loaded_form()
    hits = misses = 0
    for kernel in KERNELS.values():
        stats = kernel.dispatcher().stats
        hits, misses = hits + sum(stats.cache_hits.values()), misses + sum(stats.cache_misses.values())
    return {"form": form, "cache_hits": hits, "cache_misses": misses, "load_ms": load_ms}


def main(arguments: list[str]) -> int:
    """Do the step that `arguments` name and print its report; return the exit code."""
    step, *rest = arguments
    apply_limits(threads=1, cache_dir=Path(rest[0]) if rest else None)
    # Only the report goes to stdout: compilers like to talk.
    with contextlib.redirect_stdout(sys.stderr):
        report = compile_all() if step == "compile" else check_all()
    print(json.dumps(report))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
