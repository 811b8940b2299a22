"""The Keras model or SavedModel that a model folder names, as one function from a batch of inputs to its outputs.

Decides: which function of a SavedModel is meant (`serving_default`, else the only one), and that a Keras file brings no
code. Leaves out: the converters.

Every order of this package has: `model` (a `.keras` file, or a SavedModel's folder), `inputs` (`.npy` of model inputs,
shape (n, …), a query a row), `names` (`{"input", "outputs"}`, both may be left out) and `folder` (gets the files).
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from controller.convert.workers.frame import Unusable
from controller.convert.workers.telling import last_words, write_stacked

DEFAULT_SIGNATURE = "serving_default"

Function = Callable[[Any], list[Any]]


def load_function(order: Mapping[str, Any]) -> tuple[Function, Any]:
    """Return the model as a function from a batch to its outputs, and the object that keeps its variables alive.

    Raises:
        Unusable: The model cannot be read, has several inputs, or a weight is NaN.
    """
    path = Path(order["model"])
    function, model = _saved_model(path) if path.is_dir() else _keras(path)
    _check_finite(model)
    return function, model


def traced(function: Function, order: Mapping[str, Any], batch: int | None) -> Any:
    """Return the function as a graph with named outputs, for a batch of a size or (null) of any.

    Raises:
        Unusable: It does not take the order's inputs.
    """
    import tensorflow as tf

    inputs, names = stacked(order), order.get("names") or {}
    count = len(function(tf.constant(inputs[:1])))
    outputs = list(names.get("outputs") or ())
    outputs = outputs if len(outputs) == count else ["output", *(f"output_{n}" for n in range(1, count))]
    spec = tf.TensorSpec((batch, *inputs.shape[1:]), inputs.dtype, name=names.get("input") or "input")
    return tf.function(lambda x: dict(zip(outputs, function(x), strict=True)), input_signature=[spec])


def stacked(order: Mapping[str, Any], name: str = "inputs") -> Any:
    """Return the order's inputs, shape (n, …)."""
    import numpy as np

    return np.load(order[name], allow_pickle=False)


def write_outputs(function: Function, order: Mapping[str, Any]) -> list[str]:
    """Write the model's outputs for all inputs, query by query; return the files' names, one an output.

    Raises:
        Unusable: It does not take the inputs.
    """
    import numpy as np
    import tensorflow as tf

    rows = []
    for query in stacked(order):
        try:
            rows.append([np.asarray(output, np.float32) for output in function(tf.constant(query[np.newaxis]))])
        except (ValueError, TypeError, tf.errors.OpError) as exc:
            raise Unusable(f"the model does not take inputs of shape {(1, *query.shape)}: {last_words(exc)}") from exc
    return write_stacked(rows, Path(order["folder"]), "source-outputs")


def read_keras(path: Path) -> Any:
    """Return the model of a Keras file.

    Raises:
        Unusable: It cannot be read, brings code, or has several inputs.
    """
    import keras

    try:
        model = keras.models.load_model(path, compile=False, safe_mode=True)
    except (ValueError, TypeError, OSError, KeyError) as exc:
        raise Unusable(
            f"{path.name} cannot be read: {last_words(exc)}. Layers of your own and lambdas are refused: they are "
            f"code; write the model with model.export(FOLDER) and name that folder"
        ) from exc
    if len(model.inputs) != 1:
        raise Unusable(f"{path.name} has {len(model.inputs)} inputs, one is supported")
    return model


def read_saved_model(path: Path) -> tuple[Any, Any]:
    """Return the function of a SavedModel's folder that is meant, and the object that keeps its variables alive.

    Raises:
        Unusable: It cannot be read, several functions could be meant, or the one has several inputs.
    """
    import tensorflow as tf

    try:
        model = tf.saved_model.load(str(path))
        signatures = dict(model.signatures)
    except (AttributeError, KeyError, OSError, TypeError, ValueError, tf.errors.OpError) as exc:
        raise Unusable(
            f"{path.name} is no SavedModel that can be read: {last_words(exc)}; write it for inference alone, with "
            f"model.export(FOLDER)"
        ) from exc
    named = signatures.get(DEFAULT_SIGNATURE) or (next(iter(signatures.values())) if len(signatures) == 1 else None)
    if named is None:
        raise Unusable(
            f"{path.name} has no signature {DEFAULT_SIGNATURE}; it has {', '.join(signatures) or 'none'}: write it "
            f"with model.export(FOLDER)"
        )
    arguments = named.structured_input_signature[1]
    if len(arguments) != 1:
        raise Unusable(f"{path.name} has {len(arguments)} inputs, one is supported")
    return named, model


def _keras(path: Path) -> tuple[Function, Any]:
    model = read_keras(path)
    return lambda x: _listed(model(x, training=False)), model


def _saved_model(path: Path) -> tuple[Function, Any]:
    named, model = read_saved_model(path)
    (argument,) = named.structured_input_signature[1]
    return lambda x: _listed(named(**{argument: x})), model


def _listed(outputs: Any) -> list[Any]:
    if isinstance(outputs, Mapping):
        return [outputs[name] for name in sorted(outputs)]
    return list(outputs) if isinstance(outputs, list | tuple) else [outputs]


def _check_finite(model: Any) -> None:
    import numpy as np

    for weight in getattr(model, "variables", ()):
        values = np.asarray(weight)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            name = getattr(weight, "path", weight.name)
            raise Unusable(f"the weights {name!r} hold NaN or infinite values; train or export again")
