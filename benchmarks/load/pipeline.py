"""The bare pipeline, paced: what serving is held against.

    python -m benchmarks.load.pipeline BUNDLE CACHE

stdin, a line a block: `{"rate_hz": 100, "seconds": 5}`. stdout, a line a block: `{"ns": [...], "cpu_ns": ...}`, the
time of each query and the process's processor time of the whole block. Decides: nothing but the pace. Leaves out: all
that serving adds.
"""

import gc
import itertools
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent.inference.order import WorkerOrder, prepare_process
from benchmarks.load.cpu import cpu_ns


def main(arguments: list[str]) -> int:
    """Load the bundle, and carry out the blocks that stdin names; return the exit code."""
    folder, cache = Path(arguments[0]), Path(arguments[1])
    prepare_process(WorkerOrder(bundle_dir=folder, cache_dir=cache), lambda *_, **__: None)
    import numpy as np

    from agent.inference.arrays import golden_inputs
    from agent.inference.bundle import Bundle
    from agent.inference.pipeline import open_pipeline

    bundle = Bundle.open(folder)
    pipeline = open_pipeline(bundle, threads=1)
    queries = [np.asarray(each, dtype=np.float64) for each in golden_inputs(bundle)]
    pipeline.answer(queries[0])
    print("ready", flush=True)
    gc.disable()
    for line in sys.stdin:
        print(json.dumps(block(pipeline.answer, queries, **json.loads(line))), flush=True)
    return 0


def block(answer: Callable[[Any], object], queries: list[Any], rate_hz: float, seconds: float) -> dict[str, Any]:
    """Ask at `rate_hz` for `seconds`, and return what it took."""
    clock, spent_ns = time.perf_counter_ns, []
    rotation = itertools.cycle(queries)
    before_ns, due_s = cpu_ns(), time.monotonic()
    for _ in range(round(rate_hz * seconds)):
        due_s += 1 / rate_hz
        time.sleep(max(0.0, due_s - time.monotonic()))
        query = next(rotation)
        start_ns = clock()
        answer(query)
        spent_ns.append(clock() - start_ns)
    return {"ns": spent_ns, "cpu_ns": cpu_ns() - before_ns}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
