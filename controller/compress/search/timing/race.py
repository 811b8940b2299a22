"""Time several model files in one process, block by block in turn, so that what disturbs one disturbs all alike.

    python -m controller.compress.search.timing.race ORDER.json

Decides: how long a block is, and the order of turns. Leaves out: who is timed, and what the times say (`clock.py`).
Inference alone, on the engine's own interface, one query at a time: pre- and post-processing are the same for all
variants of a model. ONNX Runtime and LiteRT; other engines are timed on devices.

Order: `{"entries": [{format, path, input, inputs}], "rounds", "threads", "result_path"}`; `inputs` is an `.npy` of
model inputs. Result: `{"outcome": "ok", "rounds": [[ns, …], …]}`: the median call of each entry's block, round by
round; or `{"outcome": "unusable", "error"}`.
"""

import gc
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
from numpy.typing import NDArray

from controller.errors import ControllerError, UnusableModel

BLOCK_NS = 4_000_000
"""Longer than the clock's grain and a switch of processes, short against a neighbour's burst."""

FEWEST_CALLS = 3
SLOW_NS = 20_000_000
"""One call a block is enough for a model that takes so long."""

LONGEST_S = 3.0
"""For each entry, all rounds together; on a busy host there are fewer rounds."""

FEWEST_ROUNDS = 7
WARM_NS = 60_000_000
WARM_CALLS = 3
Call = Callable[[], Any]


def main(arguments: list[str]) -> int:
    """Carry out the order in the file `arguments[0]`."""
    order = json.loads(Path(arguments[0]).read_bytes())
    try:
        calls = [opened(entry, order["threads"]) for entry in order["entries"]]
        result: dict[str, Any] = {"outcome": "ok", "rounds": run_race(calls, order["rounds"])}
    except ControllerError as exc:
        result = {"outcome": "unusable", "error": str(exc)}
    Path(order["result_path"]).write_text(json.dumps(result))
    return 0


def run_race(calls: Sequence[Call], rounds: int) -> list[list[int]]:
    """Return, round by round, the median call of each entry's block [ns]; every second round runs backwards."""
    sizes = [_block_size(call) for call in calls]
    found: list[list[int]] = []
    until = time.monotonic() + LONGEST_S * len(calls)
    gc.disable()
    for number in range(rounds):
        if number >= FEWEST_ROUNDS and time.monotonic() > until:
            break
        places = range(len(calls)) if number % 2 == 0 else reversed(range(len(calls)))
        row = [0] * len(calls)
        for place in places:
            row[place] = _block(calls[place], sizes[place])
        found.append(row)
    gc.enable()
    return found


def _block_size(call: Call) -> int:
    """Warm up, and return how many calls make a block."""
    taken, spent = list[int](), 0
    while spent < WARM_NS or len(taken) < WARM_CALLS:
        taken.append(_timed(call))
        spent += taken[-1]
    usual = statistics.median(taken[-max(WARM_CALLS, len(taken) // 2) :])
    return 1 if usual > SLOW_NS else max(FEWEST_CALLS, int(BLOCK_NS // max(usual, 1)))


def _block(call: Call, size: int) -> int:
    call()  # what the others left in the caches is theirs
    return round(statistics.median(_timed(call) for _ in range(size)))


def _timed(call: Call) -> int:
    start = time.perf_counter_ns()
    call()
    return time.perf_counter_ns() - start


def opened(entry: Mapping[str, Any], threads: int) -> Call:
    """Return what answers the next query of an entry.

    Raises:
        UnusableModel: The engine is not timed here, or refuses the file.
    """
    makers = {"onnx": _onnx, "tflite": _tflite}
    if entry["format"] not in makers:
        raise UnusableModel(f"{entry['format']} files are not timed on this host; a deploy measures them on devices")
    queries = np.load(entry["inputs"], allow_pickle=False)
    return makers[entry["format"]](Path(entry["path"]), entry["input"], queries, threads)


def _onnx(path: Path, name: str, queries: NDArray[Any], threads: int) -> Call:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as exc:  # ONNX Runtime's exceptions share no base but this one
        raise UnusableModel(f"{path.name}: ONNX Runtime does not load it: {exc}") from exc
    names = [value.name for value in session.get_inputs()]
    if names != [name]:
        raise UnusableModel(f"models of one input are timed on this host, this one takes {', '.join(names)}")
    feeds, outputs = _rotation([{name: query[None]} for query in queries]), [o.name for o in session.get_outputs()]
    return lambda: session.run(outputs, feeds())


def _tflite(path: Path, name: str, queries: NDArray[Any], threads: int) -> Call:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=threads)
    interpreter.allocate_tensors()
    inputs = interpreter.get_input_details()
    if len(inputs) != 1:
        raise UnusableModel(f"models of one input are timed on this host, this one takes {len(inputs)} beside {name}")
    place, out = inputs[0]["index"], interpreter.get_output_details()[0]["index"]
    feeds = _rotation([_quantised(query[None], inputs[0]) for query in queries])

    def call() -> Any:
        interpreter.set_tensor(place, feeds())
        interpreter.invoke()
        return interpreter.get_tensor(out)

    return call


def _quantised(query: NDArray[Any], detail: Mapping[str, Any]) -> NDArray[Any]:
    """Return a query as the tensor takes it: its own type, its own scale."""
    kind, (scale, zero) = np.dtype(detail["dtype"]), detail["quantization"]
    if kind.kind == "f" or not scale:
        return np.ascontiguousarray(query, dtype=kind)
    limits = np.iinfo(kind)
    return np.asarray(np.clip(np.round(query / scale) + zero, limits.min, limits.max), dtype=kind)


def _rotation(values: Sequence[Any]) -> Callable[[], Any]:
    """Return what gives the values in turn, over and over."""
    place = -1

    def following() -> Any:
        nonlocal place
        place = (place + 1) % len(values)
        return values[place]

    return following


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
