"""Keras or SavedModel -> ONNX by tf2onnx, with a free batch.

Order: `source.py`'s, and `opset`.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from controller.convert.workers.frame import Unusable, carry_out
from controller.convert.workers.from_tensorflow.source import load_function, traced, write_outputs
from controller.convert.workers.telling import last_words, used_versions


def convert(order: Mapping[str, Any]) -> dict[str, Any]:
    """Write `model.onnx`.

    Raises:
        Unusable: An operator has no ONNX form, or the model cannot be read.
    """
    import onnx
    import tf2onnx

    function, model = load_function(order)
    outputs = write_outputs(function, order)
    graph = traced(function, order, batch=None)
    try:
        proto, _ = tf2onnx.convert.from_function(
            graph, input_signature=list(graph.input_signature), opset=order["opset"]
        )
    except Exception as exc:  # tf2onnx and TensorFlow raise errors of many kinds; all mean a refusal
        raise Unusable(f"tf2onnx refuses the model: {last_words(exc)}") from exc
    onnx.checker.check_model(proto, full_check=True)
    path = Path(order["folder"]) / "model.onnx"
    onnx.save(proto, path)
    del model  # held until here: the graph reads its variables
    return {
        "file": path.name,
        "source_outputs": outputs,
        "versions": used_versions("tensorflow", "tensorflow-cpu", "keras", "tf2onnx", "onnx"),
        "notes": [],
    }


if __name__ == "__main__":
    sys.exit(carry_out(convert, sys.argv))
