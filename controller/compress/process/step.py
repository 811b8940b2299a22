"""One pass, or one inspection of a model file, in a process of its own.

    python -m controller.compress.process.step ORDER.json

Decides: nothing; it carries out the order and writes the result beside it. A crash, or the kernel taking the memory
back, ends this process alone: whoever started it reads no result and keeps the reason. Leaves out: cache and order
(`build.py`).

Order: that of `order.py` with `result_path`, or `{"do": "inspect", "format", "path", "result_path"}`. Result:
`{"outcome": "ok" | "unusable" | "disk_full", …}`.
"""

import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

from controller.bundle.atomic import means_no_room
from controller.compress.passes import find_pass
from controller.compress.process.order import ordered
from controller.errors import ControllerError


def main(arguments: list[str]) -> int:
    """Carry out the order in the file `arguments[0]`."""
    _first_to_go()
    order = json.loads(Path(arguments[0]).read_bytes())
    try:
        result = run_pass(order) if order["do"] == "pass" else inspect(order)
    except ControllerError as exc:
        result = {"outcome": "unusable", "error": str(exc)}
    except OSError as exc:
        if not means_no_room(exc):
            raise
        result = {"outcome": "disk_full", "error": str(exc)}
    Path(order["result_path"]).write_text(json.dumps(result))
    return 0


def run_pass(order: Mapping[str, Any]) -> dict[str, Any]:
    """Run one pass; return where its file lies in the context's folder."""
    artifact, context = ordered(order)
    made = find_pass(order["pass"]).run(artifact, order["parameters"], context)
    return {
        "outcome": "ok",
        "file": made.path.relative_to(context.folder).as_posix(),
        "format": made.format,
        "precision": made.precision,
        "notes": list(made.notes),
    }


def inspect(order: Mapping[str, Any]) -> dict[str, Any]:
    """Load the file in its engine and count what it holds."""
    from controller.compress.fusion import inspect_file

    return {"outcome": "ok", **inspect_file(order["format"], Path(order["path"]))}


def _first_to_go() -> None:
    """Tell the kernel to end this process rather than the controller when memory runs out. Linux only."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
