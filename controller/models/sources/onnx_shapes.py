"""Make an ONNX graph's inputs what a bundle can describe: free axes get a size, constant inputs become weights.

Decides: how far a size goes (axes of one name have one size, outputs follow by inference). Leaves out: which axes must
be fixed (`controller/models/checking.py`).

    with_shapes(model, (GivenShape.parse("image=1,3,224,224", "--shape"),), Path("m.onnx"))
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from controller.errors import ConfigurationError, UnusableModel
from controller.models.sources.base import GivenShape

if TYPE_CHECKING:
    import onnx


def with_shapes(model: onnx.ModelProto, given: Sequence[GivenShape], path: Path) -> onnx.ModelProto:
    """Return the model with the sizes that were given, and what follows from them for its outputs.

    Raises:
        ConfigurationError: No such input, or another number of axes.
        UnusableModel: An axis has another size in the file.
    """
    if not given:
        return model
    import onnx

    named: dict[str, int] = {}
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    for shape in given:
        named |= _fix(_input(fixed, shape.name, "--shape", path), shape, path)
    for value in (*fixed.graph.input, *fixed.graph.output):
        for axis in value.type.tensor_type.shape.dim:
            if axis.dim_param in named:
                axis.dim_value = named[axis.dim_param]
    del fixed.graph.value_info[:]
    _infer_outputs(fixed)
    return fixed


def with_constants(model: onnx.ModelProto, constants: Mapping[str, float], path: Path) -> onnx.ModelProto:
    """Return the model with the named inputs as weights: the value in every element.

    Raises:
        ConfigurationError: No such input.
        UnusableModel: It has free axes, so that nobody knows how many elements.
    """
    if not constants:
        return model
    import onnx
    from onnx import numpy_helper

    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for name, number in constants.items():
        value = _input(changed, name, "--set", path)
        sizes = [axis.dim_value for axis in value.type.tensor_type.shape.dim]
        if not all(sizes):
            raise UnusableModel(f"{path}: the input {name!r} has free axes; fix them first: --shape {name}=…")
        dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        if not np.all(np.asarray(number).astype(dtype) == number):
            raise ConfigurationError(f"--set {name}={number:g}: the input is {dtype}, which does not hold that number")
        changed.graph.initializer.append(numpy_helper.from_array(np.full(sizes, number, dtype), name))
        changed.graph.input.remove(value)
    return _folded(changed)


def _folded(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model without what the constants decide: branches that are never taken can be neither counted nor
    quantised."""
    import onnx
    import onnxslim

    try:
        folded = onnxslim.slim(model)
    except Exception:  # it raises whatever a rule of it trips over; the model is right as it is, only longer
        return model
    return folded if isinstance(folded, onnx.ModelProto) else model


def _input(model: onnx.ModelProto, name: str | None, option: str, path: Path) -> onnx.ValueInfoProto:
    """Return an input by its name, or the only one."""
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs: dict[str, onnx.ValueInfoProto] = {
        value.name: value for value in model.graph.input if value.name not in weights
    }
    if name is None and len(inputs) == 1:
        return next(iter(inputs.values()))
    if name is not None and name in inputs:
        return inputs[name]
    meant = f"no input is called {name!r}" if name else "which input is meant?"
    raise ConfigurationError(f"{option}: {meant}; {path} has {', '.join(inputs)}: {option} NAME=…")


def _fix(value: onnx.ValueInfoProto, shape: GivenShape, path: Path) -> dict[str, int]:
    """Set the sizes of one input; return those that have a name."""
    axes = value.type.tensor_type.shape.dim
    if len(axes) != len(shape.sizes):
        raise ConfigurationError(
            f"--shape {value.name}: {len(shape.sizes)} sizes are given, the input has {len(axes)} axes in {path}"
        )
    named: dict[str, int] = {}
    for place, (axis, size) in enumerate(zip(axes, shape.sizes, strict=True)):
        if axis.dim_value > 0 and axis.dim_value != size:
            raise UnusableModel(
                f"{path}: axis {place} of {value.name!r} is fixed at {axis.dim_value}, --shape gives {size}; "
                f"give {axis.dim_value}, or export the model with another size"
            )
        if size > 0:
            named |= {axis.dim_param: size} if axis.dim_param else {}
            axis.dim_value = size
    return named


def _infer_outputs(model: onnx.ModelProto) -> None:
    """Give outputs the sizes that follow from the inputs; what cannot be inferred stays as it is."""
    import onnx

    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except (onnx.shape_inference.InferenceError, ValueError):
        return  # the checker says why, with the file's name
    for value, known in zip(model.graph.output, inferred.graph.output, strict=True):
        for axis, size in zip(_axes(value), _axes(known), strict=False):
            if size.dim_value > 0 and not axis.dim_value:
                axis.dim_value = size.dim_value


def _axes(value: onnx.ValueInfoProto) -> Iterable[onnx.TensorShapeProto.Dimension]:
    axes: Iterable[onnx.TensorShapeProto.Dimension] = value.type.tensor_type.shape.dim
    return axes
