"""Which of a file's tensors is the query, which the answer, and which are state that an output gives back to an input.

Decides: how state is recognised: by names that say the same (`h` and `h_out`, `stateN` and `state`), else by
shapes that occur once. Leaves out: carrying it from query to query (the agent's pipeline). Pure.

>>> ends(signature, Path("m.onnx"), None).entry
{'input': 'chunk', 'output': 'speech', 'state': {'h': 'hn'}}
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controller.convert.signature import Signature
from controller.errors import UnusableModel
from wire.spec import TensorSpec

_SIDES = frozenset(
    ("in", "input", "out", "output", "init", "initial", "final", "past", "present", "prev", "previous", "new", "n")
)
_HINTS = frozenset(("state", "states", "hidden", "cell", "cache", "memory", "mem", "context", "ctx", "h", "c"))
"""A shape alone is no reason to take a tensor for state: one of the names has to say so too."""


@dataclass(frozen=True)
class Ends:
    """signature: without state. entry: `input`, `output` and `state` of a format in model.yaml."""

    signature: Signature
    entry: dict[str, Any]


def ends(signature: Signature, path: Path, output: str | None) -> Ends:
    """Tell the query, the answer and the state of a file apart.

    Args:
        signature: Of the file.
        path: For messages.
        output: The answer's name, where the user gave one.
    Raises:
        UnusableModel: More than one input is left that nothing feeds, or there is no such output.
    """
    state = state_pairs(signature) if len(signature.inputs) > 1 else {}
    inputs = tuple(tensor for tensor in signature.inputs if tensor.name not in state)
    outputs = tuple(tensor for tensor in signature.outputs if tensor.name not in state.values())
    if len(inputs) != 1:
        names = ", ".join(f"{tensor.name} {tensor.shape}" for tensor in inputs) or "none"
        raise UnusableModel(
            f"{path}: a query goes into one input, this file has {len(inputs)} that nothing else feeds: {names}. "
            f"Give those that are the same in every query (--set NAME=VALUE); import a model of text as a folder whose "
            f"model.yaml says `pre.kind: text`, or export the model with one input"
        )
    if not outputs:
        raise UnusableModel(f"{path}: every output is state ({', '.join(state.values())}); none holds an answer")
    known = Signature(inputs, outputs)
    answer = known.output(output)
    entry = {"input": inputs[0].name, "output": answer.name, **({"state": state} if state else {})}
    return Ends(known, entry)


def state_pairs(signature: Signature) -> dict[str, str]:
    """Return input -> output of the state that a model takes and gives."""
    first, *others = signature.inputs
    candidates = [tensor for tensor in others if _carried(tensor)]
    pairs = _by_name((first, *candidates) if _carried(first) else candidates, signature.outputs)
    left = [tensor for tensor in candidates if tensor.name not in pairs]
    free = [tensor for tensor in signature.outputs[1:] if tensor.name not in pairs.values()]
    return {**pairs, **_by_shape(left, free)}


def _by_name(inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for tensor in inputs:
        alike = [one.name for one in outputs if _same(tensor, one) and _stem(one.name) == _stem(tensor.name)]
        if len(alike) == 1 and _stem(tensor.name) and alike[0] not in pairs.values():
            pairs[tensor.name] = alike[0]
    return pairs


def _by_shape(inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> dict[str, str]:
    """Pair what has a shape that one input and one output have, and no other."""
    pairs: dict[str, str] = {}
    for tensor in inputs:
        alike = [
            one.name for one in outputs if _same(tensor, one) and _HINTS & {*_words(tensor.name), *_words(one.name)}
        ]
        if len(alike) == 1 and sum(_same(other, tensor) for other in inputs) == 1:
            pairs[tensor.name] = alike[0]
    return pairs


def _carried(tensor: TensorSpec) -> bool:
    """State has one size: at most one axis is free, the batch's, wherever that stands."""
    return tensor.dtype in ("float32", "float16", "int8", "uint8") and tensor.shape.count(-1) <= 1


def _same(one: TensorSpec, other: TensorSpec) -> bool:
    if one.dtype != other.dtype or len(one.shape) != len(other.shape):
        return False
    return all(a == b or -1 in (a, b) for a, b in zip(one.shape, other.shape, strict=True))


def _words(name: str) -> list[str]:
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
    return [word for word in re.split(r"[^a-z0-9]+", parted) if word]


def _stem(name: str) -> str:
    """Return what a name says besides which side it is on: `state_in`, `stateN` and `new_state` all say `state`."""
    words = [re.sub(r"(?<=^[a-z])[n0]$", "", word) for word in _words(name) if word not in _SIDES]
    return "_".join(words)
