"""What makes a file's answer: its last operator, found through those that only move, name or rescale numbers.

Decides: when scores are probabilities already, so that no activation comes after them. Leaves out: which output holds
the answer (`states.py`) and what an activation computes (the agent's pipeline). Nothing is run.

    finished_by("onnx", Path("m.onnx"), "scores")  # "Softmax": its probabilities add up to 1 without our softmax
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_MOVES = frozenset(
    {
        "Identity",
        "Cast",
        "Reshape",
        "Squeeze",
        "Unsqueeze",
        "Flatten",
        "Transpose",
        "QuantizeLinear",
        "DequantizeLinear",
    }
    | {"RESHAPE", "SQUEEZE", "EXPAND_DIMS", "CAST", "TRANSPOSE", "QUANTIZE", "DEQUANTIZE"}
)
_ACTIVATIONS = frozenset({"Softmax", "Sigmoid", "SOFTMAX", "LOGISTIC"})


def finished_by(form: str, path: Path, output: str) -> str | None:
    """Return the activation that an output ends in, as the format calls it; null where it ends in another operator.

    Args:
        form: Format; of formats other than ONNX and TFLite nothing is known.
        path: The file, already checked.
        output: The answer's name.
    """
    makers = _MAKERS.get(form)
    made_by = makers(path) if makers else {}
    seen = set()
    while output in made_by and output not in seen:
        seen.add(output)
        operator, source = made_by[output]
        if operator in _ACTIVATIONS:
            return operator
        if operator not in _MOVES:
            return None
        output = source
    return None


def _onnx_makers(path: Path) -> dict[str, tuple[str, str]]:
    """Return tensor -> the operator that makes it, and that operator's first input."""
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    return {name: (each.op_type, each.input[0]) for each in graph.node if each.input for name in each.output}


def _tflite_makers(path: Path) -> dict[str, tuple[str, str]]:
    from controller.convert.tflite import operator_name, parse_tflite

    model = parse_tflite(path.read_bytes(), path)
    graph = model.subgraphs[0]

    def named(index: Any) -> str:
        return str(graph.tensors[int(index)].name.decode())

    return {
        named(index): (operator_name(model, each), named(each.inputs[0]))
        for each in graph.operators
        if each.inputs is not None and len(each.inputs)
        for index in each.outputs
    }


_MAKERS: Mapping[str, Callable[[Path], dict[str, tuple[str, str]]]] = {"onnx": _onnx_makers, "tflite": _tflite_makers}
