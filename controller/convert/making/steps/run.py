"""One step on a float file that is no compression pass of its own, in a process of its own.

    python -m controller.convert.making.steps.run ORDER.json

Order: `{"do", "path", "folder", "calibration", "result_path"}`; `do` is `tflite_float16` or `tensorrt_int8`. Result:
`{"outcome": "ok", "file", "notes"}` or `{"outcome": "unusable", "error"}`. A crash ends this process alone.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

from controller.convert.making.steps.tensorrt_int8 import quantise_for_tensorrt
from controller.convert.making.steps.tflite_float16 import halve_weights
from controller.errors import ControllerError

STEPS: Mapping[str, Callable[[Path, Path, Path | None], tuple[str, ...]]] = {
    "tflite_float16": halve_weights,
    "tensorrt_int8": quantise_for_tensorrt,
}
"""Each takes the float file, the file to be written, and the calibration inputs; returns notes."""


def main(arguments: list[str]) -> int:
    """Carry out the order in the file `arguments[0]`."""
    order = json.loads(Path(arguments[0]).read_bytes())
    path = Path(order["path"])
    written = Path(order["folder"]) / f"model{path.suffix}"
    calibration = Path(order["calibration"]) if order["calibration"] else None
    result: dict[str, Any]
    try:
        notes = STEPS[order["do"]](path, written, calibration)
        result = {"outcome": "ok", "file": written.name, "notes": list(notes)}
    except ControllerError as exc:
        result = {"outcome": "unusable", "error": str(exc)}
    Path(order["result_path"]).write_text(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
