"""ONNX Runtime's trace, read: which operator types took how long.

The trace is a list of Chrome trace events. An operator's name ends in `_kernel_time`, and its type is its argument
`op_name`; a run of the whole model is `model_run`. Times are whole microseconds. An operator with a graph of its own
(If, Loop, Scan) contains the operators of that graph: it is charged with what is left of its time without them. Pure.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from agent.errors import EngineFailed
from agent.measure.profile.operators import Spent

Event = Mapping[str, Any]


def spent_in_trace(events: Sequence[Event], skip_runs: int) -> list[Spent]:
    """Return what each operator took, first `skip_runs` runs left out.

    Raises:
        EngineFailed: The trace has no more runs than are to be skipped, or is none.
    """
    try:
        runs = sorted(int(event["ts"]) for event in events if event["name"] == "model_run")
        nodes = [event for event in events if str(event["name"]).endswith("_kernel_time")]
        if len(runs) <= skip_runs:
            raise EngineFailed(f"ONNX Runtime's trace has {len(runs)} runs, more than {skip_runs} were expected")
        begin = runs[skip_runs]
        return [spent for each in _threads(nodes, begin) for spent in _exclusive(each)]
    except (KeyError, TypeError, ValueError) as exc:
        raise EngineFailed(f"ONNX Runtime's trace cannot be read: {type(exc).__name__} {exc}") from exc


def _threads(nodes: Iterable[Event], begin: int) -> Iterable[list[Event]]:
    """Return the operators of each thread since `begin`, those that contain others before them."""
    found = defaultdict[Any, list[Event]](list)
    for node in nodes:
        if int(node["ts"]) >= begin:
            found[node.get("tid")].append(node)
    for each in found.values():
        each.sort(key=lambda node: (int(node["ts"]), -int(node["dur"])))
    return found.values()


def _exclusive(nodes: Sequence[Event]) -> list[Spent]:
    """Return each operator's time without that of the operators inside it."""
    left = [float(node["dur"]) for node in nodes]
    around: list[tuple[int, int]] = []  # (place, end) of the operators that the present one lies in
    for place, node in enumerate(nodes):
        start, end = int(node["ts"]), int(node["ts"]) + int(node["dur"])
        while around and around[-1][1] < end:
            around.pop()
        if around and around[-1][1] > start:
            left[around[-1][0]] -= float(node["dur"])
        around.append((place, end))
    return [Spent(str(node["args"]["op_name"]), 1, max(0.0, time)) for node, time in zip(nodes, left, strict=True)]
