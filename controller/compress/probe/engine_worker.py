"""Run a model file over inputs, one at a time. This is what an emulated processor computes.

    python -I engine_worker.py ORDER.json

Decides: nothing; engines are set up as the agent sets them up (a test holds the outputs against the agent's). Run as a
file by a Python that has numpy and the engines, and nothing of Thresher. Leaves out: pre-processing and quantisation of
inputs, which the controller does (`feeding.py`).

Order: `engine`, `options`, `model`, `inputs` (`.npy`, shape (n, …)), `input` (the tensor's name), `outputs` (names),
`folder` (gets `output-K.npy`), `site` (folders of packages), `result_path`. Result: `{"outcome": "ok", "version"}`, or
`{"outcome": "unusable", "error"}`.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

Run = Callable[[Any], "Sequence[Any]"]
"""One query, with its batch axis, to the outputs that are read."""

LEVELS = {
    "all": "ORT_ENABLE_ALL",
    "extended": "ORT_ENABLE_EXTENDED",
    "basic": "ORT_ENABLE_BASIC",
    "disabled": "ORT_DISABLE_ALL",
}


def main(arguments: Sequence[str]) -> int:
    """Carry out the order in the file `arguments[0]`."""
    order = json.loads(Path(arguments[0]).read_bytes())
    sys.path[:0] = order["site"]
    try:
        result = {"outcome": "ok", "version": run(order)}
    except Exception as exc:  # the outermost frame, and engines' errors share no base: whoever started this reads it
        result = {"outcome": "unusable", "error": f"{type(exc).__name__}: {str(exc)[:500]}"}
    Path(order["result_path"]).write_text(json.dumps(result), encoding="utf-8")
    return 0


def run(order: Mapping[str, Any]) -> str:
    """Write the outputs; return the engine's version."""
    import numpy as np

    version, infer = {"onnxruntime": onnxruntime, "litert": litert}[order["engine"]](order)
    inputs = np.load(order["inputs"], allow_pickle=False)
    rows = [infer(inputs[at : at + 1]) for at in range(len(inputs))]
    for place in range(len(order["outputs"])):
        stacked = np.stack([row[place][0] for row in rows])
        np.save(Path(order["folder"]) / f"output-{place}.npy", stacked, allow_pickle=False)
    return version


def onnxruntime(order: Mapping[str, Any]) -> tuple[str, Run]:
    """Return the version and what runs one query of a session on the processor, on one thread."""
    import onnxruntime as library

    asked = order["options"]
    options = library.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = library.ExecutionMode.ORT_SEQUENTIAL
    level = LEVELS[asked.get("graph_optimization", "all")]
    options.graph_optimization_level = getattr(library.GraphOptimizationLevel, level)
    options.log_severity_level = 3
    session = library.InferenceSession(order["model"], options, providers=["CPUExecutionProvider"])
    name, outputs = order["input"], order["outputs"]
    return library.__version__, lambda query: session.run(outputs, {name: query})


def litert(order: Mapping[str, Any]) -> tuple[str, Run]:
    """Return the version and what runs one query of an interpreter on one thread."""
    from importlib.metadata import version

    from ai_edge_litert import interpreter as library

    kinds = library.OpResolverType
    resolver = kinds.AUTO if order["options"].get("xnnpack", True) else kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    made = library.Interpreter(
        model_path=order["model"], num_threads=1, experimental_op_resolver_type=resolver, experimental_delegates=None
    )
    source = made.get_input_details()[0]
    if list(source.get("shape_signature", source["shape"]))[:1] == [-1]:
        made.resize_tensor_input(source["index"], [1, *source["shape"][1:]], strict=True)
    made.allocate_tensors()
    places = {detail["name"]: detail["index"] for detail in made.get_output_details()}

    def infer(query: Any) -> Sequence[Any]:
        made.set_tensor(source["index"], query)
        made.invoke()
        return [made.get_tensor(places[name]) for name in order["outputs"]]

    return version("ai-edge-litert"), infer


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
