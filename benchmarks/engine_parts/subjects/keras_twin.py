"""A reference model written in Keras, with the weights of its PyTorch twin: a TensorFlow source with the same answers.

    PYTHON -P keras_twin.py MODEL STATE.safetensors OUT.keras       PYTHON: with Keras 3

Decides: the three architectures. They take what the ONNX files take, channels first; the first layer turns the axes,
since Keras convolves channels last alone on a processor. Runs in the converter environment `tensorflow` and imports
nothing of ours.
"""

import json
import struct
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

EPSILON = 1e-5
"""Of batch normalisation in PyTorch; Keras has another default."""

Weights = Mapping[str, Any]


def main(arguments: list[str]) -> int:
    """Write the Keras file."""
    name, state, out = arguments
    BUILDERS[name](read_safetensors(Path(state))).save(out)
    return 0


def read_safetensors(path: Path) -> dict[str, Any]:
    """Return the tensors of a file that holds float32 ones: 8 bytes of length, a JSON header, then their bytes."""
    import numpy as np

    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    return {
        name: np.frombuffer(data[slice(*entry["data_offsets"])], np.float32).reshape(entry["shape"])
        for name, entry in header.items()
        if name != "__metadata__" and entry["dtype"] == "F32"
    }


def dense(x: Any, weights: Weights, name: str, activation: str | None = None) -> Any:
    """Return a linear layer on x."""
    from keras import layers

    layer = layers.Dense(len(weights[f"{name}.bias"]), activation=activation)
    y = layer(x)
    layer.set_weights([weights[f"{name}.weight"].T, weights[f"{name}.bias"]])
    return y


def convolution(x: Any, weights: Weights, name: str) -> Any:
    """Return a convolution without bias whose output is as large as x, in one or two dimensions."""
    from keras import layers

    kernel = weights[f"{name}.weight"]
    kinds = {3: layers.Conv1D, 4: layers.Conv2D}
    layer = kinds[kernel.ndim](kernel.shape[0], kernel.shape[2:], padding="same", use_bias=False)
    y = layer(x)
    layer.set_weights([kernel.transpose(*range(2, kernel.ndim), 1, 0)])
    return y


def normalisation(x: Any, weights: Weights, name: str) -> Any:
    """Return batch normalisation of x."""
    from keras import layers

    layer = layers.BatchNormalization(epsilon=EPSILON)
    y = layer(x)
    layer.set_weights([weights[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")])
    return y


def leaf_outline(weights: Weights) -> Any:
    """Return the residual network for outlines: (n, 1, 427) in, logits (n, 6) out."""
    import keras
    from keras import layers

    inputs = keras.Input((1, 427), name="outline")
    x = layers.Permute((2, 1))(inputs)
    for block in ("blocks.0", "blocks.1", "blocks.2"):
        body = x
        for number in (0, 2, 4):
            body = normalisation(
                convolution(body, weights, f"{block}.body.{number}.1"), weights, f"{block}.body.{number}.2"
            )
            body = layers.ReLU()(body) if number < 4 else body
        if f"{block}.shortcut.1.weight" in weights:
            shortcut = convolution(x, weights, f"{block}.shortcut.1")
            shortcut = normalisation(shortcut, weights, f"{block}.shortcut.2")
        else:
            shortcut = normalisation(x, weights, f"{block}.shortcut")
        x = layers.ReLU()(layers.Add()([body, shortcut]))
    return keras.Model(inputs, dense(layers.GlobalAveragePooling1D()(x), weights, "head"))


def fashion(weights: Weights) -> Any:
    """Return the network for small pictures: (n, 1, 28, 28) in, logits (n, 10) out."""
    import keras
    from keras import layers

    inputs = keras.Input((1, 28, 28), name="picture")
    x = layers.Permute((2, 3, 1))(inputs)
    for number in (0, 2, 4):
        x = normalisation(convolution(x, weights, f"body.{number}.0"), weights, f"body.{number}.1")
        x = layers.ReLU()(x)
        x = layers.MaxPooling2D(2)(x) if number < 4 else x
    return keras.Model(inputs, dense(layers.GlobalAveragePooling2D()(x), weights, "head"))


def soil_carbon(weights: Weights) -> Any:
    """Return the perceptron: (n, 17) in, (n, 1) out."""
    import keras

    inputs = keras.Input((17,), name="sensors")
    x = inputs
    for name in ("0", "2", "4"):
        x = dense(x, weights, name, None if name == "4" else "relu")
    return keras.Model(inputs, x)


BUILDERS: Mapping[str, Callable[[Weights], Any]] = {
    "leaf_outline": leaf_outline,
    "soil_carbon": soil_carbon,
    "fashion": fashion,
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
