"""A plain loop around ONNX Runtime's `session.run`, as somebody without this project would write it; it takes turns.

    python plain_loop.py MODEL INPUTS WARM_S REWARM_S TURN_S TIMED_S

It warms up and prints `ready`. At each line `go` it runs for REWARM_S, which does not count, then for TURN_S, and
prints `over`, or `enough` once it has timed for TIMED_S in all. At any other line, or none, it prints the median of
each turn, {"medians_ns": […]}, and ends. It uses nothing of the product.
"""

import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable


def main(model: str, inputs: str, *seconds: str) -> None:
    """Warm up, then time every call of each turn."""
    warm_s, rewarm_s, turn_s, timed_s = map(float, seconds)
    run = _opened(model, inputs)
    _spend(run, warm_s)
    print("ready", flush=True)
    medians_ns, spent_s = list[float](), 0.0
    while sys.stdin.readline() == "go\n":
        _spend(run, rewarm_s)
        start = time.perf_counter()
        medians_ns.append(statistics.median(_spend(run, turn_s)))
        spent_s += time.perf_counter() - start
        print("over" if spent_s < timed_s else "enough", flush=True)
    print(json.dumps({"medians_ns": medians_ns}))


def _opened(model: str, inputs: str) -> Callable[[], int]:
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    rows = itertools.cycle([np.ascontiguousarray(row[None]) for row in np.load(inputs)])

    def run() -> int:
        row = next(rows)
        start = time.perf_counter_ns()
        session.run(None, {name: row})
        return time.perf_counter_ns() - start

    return run


def _spend(run: Callable[[], int], seconds: float) -> list[int]:
    ends = time.perf_counter() + seconds
    spent_ns = [run()]
    while time.perf_counter() < ends:
        spent_ns.append(run())
    return spent_ns


if __name__ == "__main__":
    main(*sys.argv[1:])
