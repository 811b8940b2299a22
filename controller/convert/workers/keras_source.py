"""A Keras model or a SavedModel, for an import: which input it has, and ONNX and TFLite made of it in one process.

Order: `model`, `folder`, `opset` as in `from_tensorflow`, and `shape` of one query where the model leaves axes free, or
null. Result: `onnx` and `tflite`, each the result of its conversion (`tflite` may be null, with the reason in `notes`),
and `queries`, the `.npy` on which both were compared with the source.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from controller.convert.workers.frame import Unusable, carry_out
from controller.convert.workers.from_tensorflow import to_onnx, to_tflite
from controller.convert.workers.from_tensorflow.source import read_keras, read_saved_model

QUERIES = 8
SEED = 2017


def convert(order: Mapping[str, Any]) -> dict[str, Any]:
    """Write `model.onnx` and, where that can be, `model.tflite`.

    Raises:
        Unusable: The model cannot be read, has axes of which nobody knows the size, or has no ONNX form.
    """
    import numpy as np

    folder = Path(order["folder"])
    shape = _shape(Path(order["model"]), order.get("shape"))
    queries = folder / "queries.npy"
    np.save(queries, np.random.default_rng(SEED).normal(size=(QUERIES, *shape)).astype(np.float32), allow_pickle=False)
    full = {**order, "inputs": str(queries), "precision": "float"}
    onnx, tflite, notes = to_onnx.convert(full), None, []
    try:
        tflite = to_tflite.convert(full)
    except Unusable as exc:
        notes = [f"no TFLite file was made: {exc}"]
    return {"onnx": onnx, "tflite": tflite, "queries": queries.name, "notes": notes}


def _shape(path: Path, given: list[int] | None) -> list[int]:
    """Return the shape of one query: the model's own, its free axes as given."""
    own = _saved_shape(path) if path.is_dir() else _keras_shape(path)
    if given is not None and (
        len(given) != len(own) or any(a not in (None, b) for a, b in zip(own, given, strict=True))
    ):
        raise Unusable(f"the model takes {_told(own)}, given is {_told(given)}")
    sizes = own if given is None else given
    if None in sizes:
        raise Unusable(f"the model takes {_told(own)}: give the sizes that it leaves free, e.g. --input 1,96,96,3")
    return [int(size) for size in sizes if size is not None]


def _keras_shape(path: Path) -> list[int | None]:
    return list(read_keras(path).inputs[0].shape[1:])


def _saved_shape(path: Path) -> list[int | None]:
    function, _ = read_saved_model(path)
    (spec,) = function.structured_input_signature[1].values()
    if spec.shape.rank is None:
        raise Unusable(f"{path.name} takes any number of axes, one of a known number is supported")
    return list(spec.shape.as_list()[1:])


def _told(sizes: list[Any]) -> str:
    return f"(batch, {', '.join('any' if size is None else str(size) for size in sizes)})"


if __name__ == "__main__":
    sys.exit(carry_out(convert, sys.argv))
