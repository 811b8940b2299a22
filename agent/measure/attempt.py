"""Load a model's file in an engine, run it, and say what came of it. No bundle, no kernels.

    python -m agent.measure.attempt ORDER.json

Decides: nothing about the model; a controller asks here, in a process of its own, which engines of this machine run a
file, what they say of one that they refuse, and what they compute. Exit 0: the result is there, whatever it says; any
other end is a crash of the engine.

Order: `{"engine", "options", "model", "shapes": {input: shape}, "result_path"}`; `shapes` for inputs with free axes.
With `query` (a `.npy` of shape (n, …) for the input `input`) and `outputs` (where the answers of the output `output`
go) it runs n times, else once on zeros. Other inputs are zeros.
Result: `{"outcome": "ok" | "refused" | "missing", "version", "error"}`.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.errors import AgentError, EngineUnavailable
from agent.inference.engines.base import Engine, TensorInfo
from agent.inference.engines.registry import engine_class
from agent.inference.limits import apply_limits


def main(arguments: list[str]) -> int:
    """Carry out the order in the file `arguments[0]`; return the exit code."""
    order = json.loads(Path(arguments[0]).read_bytes())
    apply_limits(threads=1)
    Path(order["result_path"]).write_text(json.dumps(attempt(order)))
    return 0


def attempt(order: Mapping[str, Any]) -> dict[str, str]:
    """Return what became of loading and running the order's model."""
    try:
        engine = engine_class(order["engine"]).load(Path(order["model"]), order["options"], 1)
        shapes = order["shapes"]
        zeros = [_zeros(value, shapes.get(value.name, value.shape)) for value in engine.inputs]
        if order.get("query"):
            _answer(engine, zeros, order)
        else:
            engine.infer(zeros)
    except EngineUnavailable as exc:
        return {"outcome": "missing", "error": str(exc)}
    except (AgentError, MemoryError) as exc:
        return {"outcome": "refused", "error": str(exc)}
    return {"outcome": "ok", "version": engine.version}


def _answer(engine: Engine, feeds: list[Any], order: Mapping[str, Any]) -> None:
    """Write the answers to the order's queries, shape (n, …)."""
    import numpy as np

    place = [value.name for value in engine.inputs].index(order["input"])
    read = [value.name for value in engine.outputs].index(order["output"])
    answers = []
    for query in np.load(order["query"], allow_pickle=False):
        feeds[place] = np.ascontiguousarray(query[np.newaxis], dtype=engine.inputs[place].dtype)
        answers.append(engine.infer(feeds)[read])
    np.save(order["outputs"], np.concatenate(answers).astype(np.float32), allow_pickle=False)


def _zeros(value: TensorInfo, shape: tuple[int, ...]) -> Any:
    import numpy as np

    return np.zeros([max(1, size) for size in shape], dtype=value.dtype)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
