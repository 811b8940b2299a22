"""Batch normalisation where exporting folded it away: without it, training from nothing hardly begins.

Decides: behind which convolutions: all that have none between them and their activation, but for those that end in an
output with no further weights, and those of a single place (gates of whole channels): over few samples of one number
each, a normalisation is noise. Source: Ioffe and Szegedy, *Batch Normalization*, ICML 2015.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from controller.compress.students.graph import Look, changed, look, sees_places
from controller.models.graph import infer_shapes

if TYPE_CHECKING:
    import onnx

NORMALISING = frozenset(
    {"BatchNormalization", "InstanceNormalization", "GroupNormalization", "LayerNormalization", "LpNormalization"}
)
PASSING = frozenset(
    {"Add", "Sum", "Concat", "Identity", "Dropout", "Pad", "MaxPool", "AveragePool", "GlobalAveragePool", "Transpose"}
)
"""What may stand between a convolution and its normalisation."""

CONVOLUTIONS = frozenset({"Conv", "ConvTranspose"})
EPSILON = 1e-5
MOMENTUM = 0.9


def normalise(model: onnx.ModelProto) -> tuple[onnx.ModelProto, str]:
    """Return the model with normalisations behind its convolutions, and what was done; none may be missing.

    Each begins as what the convolution's bias did: scale 1, offset the bias, mean 0, variance 1.

    Args:
        model: As `prepared` returns it, with its weights as they will be.
    """
    seen, shapes = look(model), infer_shapes(model)
    inner = _before_weights(model, seen)
    convolutions = [each for each in model.graph.node if each.op_type in CONVOLUTIONS and seen.holds_weight(each)]
    wide = [each for each in convolutions if each.output[0] in inner and sees_places(each, shapes)]
    bare = [each for each in wide if not _normalised(each.output[0], seen)]
    usable = [each for each in bare if len(each.input) < 3 or not each.input[2] or each.input[2] in seen.constants]
    replaced, constants = {}, {}
    for each in usable:
        replaced[each.output[0]], own = _with_normalisation(each, seen)
        constants.update(own)
    said = f"behind {len(usable)} of {len(convolutions)} convolutions, which had none" if usable else "nowhere missing"
    return changed(model, replaced, constants=constants), f"normalise: batch normalisation {said}"


def normalisation(value: str, out: str, channels: int) -> tuple[onnx.NodeProto, dict[str, NDArray[np.float32]]]:
    """Return an operator that normalises a value, and its constants as they are before training."""
    from onnx import helper

    begins = {"scale": 1, "offset": 0, "mean": 0, "variance": 1}
    constants = {f"{out}_{name}": np.full(channels, number, np.float32) for name, number in begins.items()}
    made = helper.make_node(
        "BatchNormalization", [value, *constants], [out], name=f"{out}_norm", epsilon=EPSILON, momentum=MOMENTUM
    )
    return made, constants


def _with_normalisation(
    operator: onnx.NodeProto, seen: Look
) -> tuple[list[onnx.NodeProto], dict[str, NDArray[np.float32]]]:
    import onnx
    from onnx import numpy_helper

    from controller.compress.weights.operators import attributes

    out, weight = operator.output[0], seen.constants[operator.input[1]]
    groups = attributes(operator).get("group", 1)
    channels = weight.dims[0] if operator.op_type == "Conv" else weight.dims[1] * groups
    plain = onnx.NodeProto()
    plain.CopyFrom(operator)
    plain.output[0] = f"{out}_convolved"
    made, constants = normalisation(plain.output[0], out, channels)
    if len(operator.input) > 2 and operator.input[2]:
        constants[f"{out}_offset"] = np.array(numpy_helper.to_array(seen.constants[operator.input[2]]), np.float32)
    del plain.input[2:]
    return [plain, made], constants


def _before_weights(model: onnx.ModelProto, seen: Look) -> set[str]:
    """Return the values that something with weights depends on."""
    found, wanted = set[str](), [n for each in model.graph.node if seen.holds_weight(each) for n in seen.computed(each)]
    while wanted:
        name = wanted.pop()
        if name not in found:
            found.add(name)
            wanted += seen.makers[name].input if name in seen.makers else ()
    return found


def _normalised(value: str, seen: Look) -> bool:
    """Whether all that reads a value normalises it before anything else happens to it."""
    readers = seen.readers.get(value, ())
    return bool(readers) and all(
        each.op_type in NORMALISING or (each.op_type in PASSING and _normalised(each.output[0], seen))
        for each in readers
    )
