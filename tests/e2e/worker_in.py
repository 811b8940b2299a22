"""Carry out one order in a worker of this interpreter's own environment, sandbox and all; print the result as JSON.

python -m tests.e2e.worker_in KIND BUNDLE FOLDER        KIND: selftest, measure, load, memory
"""

import json
import sys
import threading
from pathlib import Path

from agent.config import WorkersConfig
from agent.inventory import find_engines, look_at_engines
from agent.measure.orders import read_order
from agent.measure.process import run_worker
from agent.warm import ensure_warm


def main(arguments: list[str]) -> int:
    """Give the order to a worker."""
    kind, bundle, folder = arguments[0], Path(arguments[1]), Path(arguments[2])
    (folder / "run").mkdir(exist_ok=True)
    fields = {"kind": kind, "bundle_dir": str(bundle), "result_path": str(folder / "run/result.json")}
    settings = {"grade": "quick"} if kind == "measure" else {}
    order = read_order(json.dumps({**fields, **settings, "cache_dir": str(folder / "cache")}))
    ensure_warm(order.cache_dir)
    look_at_engines(find_engines(None), folder / "cache")  # as `agent run` does before it starts any worker
    answer = run_worker(order, 300.0, threading.Event(), workers=WorkersConfig())
    print(answer.result.model_dump_json(exclude_none=True))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
