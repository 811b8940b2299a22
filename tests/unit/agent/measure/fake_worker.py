"""A worker that ends in ways in which a real one hopefully does not. What it does stands in the order's cache_dir."""

import json
import os
import signal
import sys
import time
from pathlib import Path


def main(arguments: list[str]) -> int:
    order = json.loads(Path(arguments[0]).read_text())
    print("about to end", file=sys.stderr, flush=True)
    print(json.dumps({"event": "phase", "phase": "import_ms", "ms": 1.0}), flush=True)
    match Path(order["cache_dir"]).name:
        case "segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "exit":
            return 7
        case "hang":
            time.sleep(600)
        case "compiles":
            for second in range(5):
                print(json.dumps({"event": "compiling", "seconds": second / 2}), flush=True)
                time.sleep(0.5)
        case "garbage":
            Path(order["result_path"]).write_text("{")
        case "refuses":
            return 3
    return 0
