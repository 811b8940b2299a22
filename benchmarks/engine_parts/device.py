"""Runs in the interpreter that an engine is installed in, and gives orders to the agent's own workers there.

    PYTHON -P -m benchmarks.engine_parts.device FOLDER CACHE

Reads a request a line, `{"order": {…}}` or `{"about": ENGINE}`, and answers each with one line of JSON. Imports of
ours nothing but the agent.
"""

import importlib.metadata
import importlib.util
import json
import sys
import threading
from pathlib import Path
from typing import Any

from agent.config import WorkersConfig
from agent.errors import WorkerNotStarted
from agent.inference.engines.table import TABLE
from agent.inventory import find_engines, installed_version, look_at_engines
from agent.measure.orders import read_order
from agent.measure.process import run_worker
from agent.warm import ensure_warm

LONGEST_S = 300.0
TRIES = 3
"""A worker that did not start is no fault of the bundle; a busy machine may lack the memory for a moment."""


def main(arguments: list[str]) -> int:
    """Answer requests until there are no more."""
    folder, cache = (Path(argument) for argument in arguments)
    ensure_warm(cache)
    engines = look_at_engines(find_engines(None), cache)  # as `agent run` does before it starts any worker
    for line in sys.stdin:
        request = json.loads(line)
        answer = about(request["about"], engines) if "about" in request else carry_out(request["order"], folder, cache)
        print(json.dumps(answer), flush=True)
    return 0


def carry_out(fields: dict[str, Any], folder: Path, cache: Path) -> dict[str, Any]:
    """Give an order to a fresh worker, in its sandbox; return its result."""
    run = folder / "run"
    run.mkdir(exist_ok=True)
    order = read_order(json.dumps({**fields, "result_path": str(run / "result.json"), "cache_dir": str(cache)}))
    found: dict[str, Any] = {}
    for _ in range(TRIES):
        try:
            answer = run_worker(order, LONGEST_S, threading.Event(), workers=WorkersConfig())
            return answer.result.model_dump(mode="json", exclude_none=True)
        except WorkerNotStarted as exc:
            found = {"outcome": "failed", "error": {"code": exc.reason, "detail": str(exc)}}
    return found


def about(engine: str, looked: dict[str, Any]) -> dict[str, Any]:
    """Return an engine's version, the size of its package's files, and what keeps it from working, if anything."""
    package = next((name for name in TABLE[engine].packages if installed_version(name)), None)
    return {
        "version": installed_version(package) if package else None,
        "installed_bytes": installed_bytes(package) if package else None,
        "error": looked.get(engine, {}).get("error"),
        "numpy": installed_version("numpy"),
    }


def installed_bytes(package: str) -> int:
    """Return the size of the files that a package has installed, without what it depends on."""
    paths = {Path(str(file.locate())) for file in importlib.metadata.files(package) or ()}
    return sum(path.stat().st_size for path in paths if path.is_file() and path.suffix != ".pyc")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
