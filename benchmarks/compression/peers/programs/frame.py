"""What every program of a toolkit does alike: read an order, compress, say how it ended and what memory it took.

    PYTHON -P -m benchmarks.compression.peers.programs.with_nncf ORDER.json

Order: `source` (the float file), `calibration` (`.npz` of one array of model inputs, float32, shape (n, …), by the
input's name), `input` (that name), `out` (the file to write), `folder` (scratch, empty), `setting` (the program's own),
`result_path`. Result: `outcome` (`ok` or `failed`), `error`, `notes`, `peak_bytes`, `base_bytes` (before compressing),
`compress_s`.
"""

import json
import resource
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Order = Mapping[str, Any]
LONGEST_ERROR_CHARACTERS = 600


def carry_out(compress: Callable[[Order], list[str] | None]) -> int:
    """Carry out the order in the file that the command line names; return the exit code."""
    order = json.loads(Path(sys.argv[1]).read_bytes())
    base, started = own_peak_bytes(), time.monotonic()
    result: dict[str, Any] = {"outcome": "ok", "base_bytes": base}
    try:
        result["notes"] = compress(order) or []
        if not Path(order["out"]).is_file():
            raise FileNotFoundError("it ended without an error and without a file")
    except Exception as exc:  # outermost frame: whatever a toolkit raises is what its row says
        result |= {"outcome": "failed", "error": f"{type(exc).__name__}: {exc}"[:LONGEST_ERROR_CHARACTERS]}
    result |= {"compress_s": time.monotonic() - started, "peak_bytes": max(own_peak_bytes(), children_peak_bytes())}
    Path(order["result_path"]).write_text(json.dumps(result))
    return 0


def own_peak_bytes() -> int:
    """Return the most resident memory that this process ever had (VmHWM) [bytes]."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024


def children_peak_bytes() -> int:
    """Return that of the largest process that it started and waited for [bytes]."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024


def samples(order: Order) -> Any:
    """Return the calibration inputs, shape (n, …)."""
    import numpy as np

    with np.load(order["calibration"], allow_pickle=False) as arrays:
        return arrays[order["input"]]
