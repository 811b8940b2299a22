"""What every worker shares: the order is read, the work is done, the result is written whole.

Decides: how a worker says that it cannot do what is asked. Leaves out: what is done, and what becomes of a worker that
crashes, hangs or eats the memory (`controller/convert/environments/runner.py`).

    if __name__ == "__main__":
        sys.exit(carry_out(convert, sys.argv))

The order is a JSON object; `result_path` in it says where the result goes. The result is what the work returns with
`"outcome": "ok"`, or `{"outcome": "unusable", "error": TEXT}`.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import distributions
from pathlib import Path
from typing import Any


class Unusable(Exception):
    """What the order asks for cannot be done with this model; the text says why, and what would help."""


def carry_out(work: Callable[[Mapping[str, Any]], Mapping[str, Any]], arguments: Sequence[str]) -> int:
    """Do what the order in the file `arguments[1]` says; return the exit code, 0.

    Args:
        work: Takes the order, returns what the result says besides its outcome, as JSON types. It raises `Unusable`
            where the model is at fault; every other exception ends the process with its traceback.
        arguments: Those of the process.
    """
    _first_to_go()
    order = json.loads(Path(arguments[1]).read_bytes())
    try:
        result = {**work(order), "outcome": "ok"}
    except Unusable as exc:
        result = {"outcome": "unusable", "error": str(exc)}
    path = Path(order["result_path"])
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.write_text(json.dumps(result, allow_nan=False), encoding="utf-8")
    os.replace(unfinished, path)
    return 0


def installed_versions() -> dict[str, str]:
    """Return name -> version of every distribution that this environment holds; the names are normalised."""
    found = ((each.metadata["Name"], each.version) for each in distributions())
    return dict(sorted((name.lower().replace("_", "-").replace(".", "-"), version) for name, version in found if name))


def _first_to_go() -> None:
    """Tell the kernel to end this process rather than the controller when memory runs out. Linux only."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
