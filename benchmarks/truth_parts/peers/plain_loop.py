"""A plain loop around ONNX Runtime's `session.run`, as somebody without this project would write it.

    python plain_loop.py MODEL INPUTS WARM_S TIMED_S        prints {"median_ns": …, "runs": …}

It uses nothing of the product.
"""

import json
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any


def main(model: str, inputs: str, warm_s: float, timed_s: float) -> None:
    """Warm up, then time every call."""
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    rows = [np.ascontiguousarray(row[None]) for row in np.load(inputs)]
    _spend(session, name, rows, warm_s)
    spent_ns = _spend(session, name, rows, timed_s)
    print(json.dumps({"median_ns": statistics.median(spent_ns), "runs": len(spent_ns)}))


def _spend(session: Any, name: str, rows: Sequence[Any], seconds: float) -> list[int]:
    spent_ns, ends = list[int](), time.perf_counter() + seconds
    while time.perf_counter() < ends:
        for row in rows:
            start = time.perf_counter_ns()
            session.run(None, {name: row})
            spent_ns.append(time.perf_counter_ns() - start)
    return spent_ns


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4]))
