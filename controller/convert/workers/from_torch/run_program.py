"""Run an ExecuTorch program over inputs, where the controller itself has no ExecuTorch.

Order: `program` (`.pte`), `inputs` (`.npy`, as the program takes them, shape (n, …)), `folder`. Result: `outputs`,
files in it, one for each of the program's. A program with state keeps it from one input to the next.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from controller.convert.workers.frame import Unusable, carry_out
from controller.convert.workers.from_torch.source import real
from controller.convert.workers.telling import last_words, used_versions, write_stacked


def run(order: Mapping[str, Any]) -> dict[str, Any]:
    """Run the program.

    Raises:
        Unusable: ExecuTorch refuses the program, or fails while it runs.
    """
    outputs = outputs_of(Path(order["program"]), Path(order["inputs"]), Path(order["folder"]))
    return {"outputs": outputs, "versions": used_versions("executorch")}


def outputs_of(path: Path, inputs: Path, folder: Path) -> list[str]:
    """Run a program's `forward` over inputs, one at a time; return the files of its outputs.

    Raises:
        Unusable: ExecuTorch refuses the program, or fails while it runs.
    """
    import numpy as np
    import torch
    from executorch.runtime import Runtime

    rows = []
    try:
        program = Runtime.get().load_program(path)  # held: a method whose program is gone crashes
        method = program.load_method("forward")
        for query in np.load(inputs, allow_pickle=False):
            outputs = method.execute([torch.from_numpy(query[np.newaxis].copy())])
            rows.append([tensor.clone() for tensor in real(outputs)])  # the runtime writes over its own
    except RuntimeError as exc:
        raise Unusable(f"ExecuTorch does not run {path.name}: {last_words(exc)}") from exc
    return write_stacked(rows, folder, "outputs")


if __name__ == "__main__":
    sys.exit(carry_out(run, sys.argv))
