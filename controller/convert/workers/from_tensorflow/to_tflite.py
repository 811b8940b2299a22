"""Keras or SavedModel -> TFLite by TensorFlow's own converter, for one query at a time.

Order, besides `source.py`'s: `precision` (`float`, `fp16`, `int8`), and for int8 `calibration` (`.npy` like `inputs`).
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from controller.convert.workers.frame import Unusable, carry_out
from controller.convert.workers.from_tensorflow.source import Function, load_function, stacked, traced, write_outputs
from controller.convert.workers.telling import last_words, used_versions


def convert(order: Mapping[str, Any]) -> dict[str, Any]:
    """Write `model.tflite`; inputs and outputs stay float32.

    Raises:
        Unusable: An operator has no TFLite form, or the model cannot be read.
    """
    import tensorflow as tf

    function, model = load_function(order)
    outputs = write_outputs(function, order)
    converter = tf.lite.TFLiteConverter.from_saved_model(_frozen(function, order))
    del model  # held until here: the function reads its variables
    _set_precision(converter, order)
    try:
        content = converter.convert()
    except Exception as exc:  # its errors come from MLIR and share no base
        raise Unusable(f"TensorFlow's TFLite converter refuses the model: {last_words(exc)}") from exc
    path = Path(order["folder"]) / "model.tflite"
    path.write_bytes(content)
    return {
        "file": path.name,
        "source_outputs": outputs,
        "versions": used_versions("tensorflow", "tensorflow-cpu", "keras"),
        "notes": [],
    }


def _frozen(function: Function, order: Mapping[str, Any]) -> str:
    """Write a SavedModel in which variables are constants: a TFLite file with variables needs them set first."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    graph = traced(function, order, batch=1)
    frozen = convert_variables_to_constants_v2(graph.get_concrete_function())
    names = sorted(graph.get_concrete_function().structured_outputs)  # the order in which TensorFlow lays them flat
    saved = tf.Module()
    saved.forward = tf.function(
        lambda x: dict(zip(names, frozen(x), strict=True)), input_signature=list(graph.input_signature)
    )
    place = str(Path(order["folder"]) / "saved")
    tf.saved_model.save(saved, place, signatures=saved.forward)
    return place


def _set_precision(converter: Any, order: Mapping[str, Any]) -> None:
    import numpy as np
    import tensorflow as tf

    if order["precision"] == "float":
        return
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if order["precision"] == "fp16":
        converter.target_spec.supported_types = [tf.float16]
        return
    samples = stacked(order, "calibration")
    converter.representative_dataset = lambda: ([sample[np.newaxis]] for sample in samples)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]


if __name__ == "__main__":
    sys.exit(carry_out(convert, sys.argv))
