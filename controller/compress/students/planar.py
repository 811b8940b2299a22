"""Convolutions along one axis as ones over pictures of one row: engines have their blocked kernels for those alone.

Decides: from the convolutions that read along one axis, through everything that works on each number or each channel,
to where another operator reads: there the row goes again. The function stays the same, to the last digit that rounding
leaves. ONNX Runtime's blocked layout (`NCHWc`) and its fused additions take convolutions of two axes only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from controller.compress.students.graph import changed, look, without
from controller.compress.weights.operators import attributes
from controller.errors import UnusableModel
from controller.models.graph import infer_shapes

if TYPE_CHECKING:
    import onnx

WINDOWED = frozenset({"Conv", "MaxPool", "AveragePool"})
PLAIN = frozenset(
    {"BatchNormalization", "Relu", "LeakyRelu", "Clip", "Elu", "Selu", "Celu", "Sigmoid", "Tanh", "HardSigmoid"}
    | {"HardSwish", "Gelu", "Mish", "Softplus", "GlobalAveragePool", "GlobalMaxPool", "Identity", "Dropout"}
)
"""Read one value and do the same to each number, channel or sample, however many axes there are."""

TOGETHER = frozenset({"Add", "Sub", "Mul", "Sum", "Max", "Min"})
"""Join values of one shape."""

MEANS = {"ReduceMean": "GlobalAveragePool", "ReduceMax": "GlobalMaxPool"}
"""Over all places, and nothing else."""

_TO_ROW, _FROM_ROW, _TO_CHANNELS = "planar_to_row", "planar_from_row", "planar_to_channels"
_SHAPES = {_TO_ROW: (0, 0, 1, -1), _FROM_ROW: (0, 0, -1), _TO_CHANNELS: (0, -1)}


def planar(model: onnx.ModelProto) -> tuple[onnx.ModelProto, str]:
    """Return the model with its convolutions along one axis as ones over rows, and what was done.

    Args:
        model: As `prepared` returns it.
    Raises:
        UnusableModel: No convolution with a weight of its own works along one axis.
    """
    work = _Work(model)
    for operator in model.graph.node:
        work.take(operator)
    if not work.convolutions:
        raise UnusableModel("planar: no convolution with a constant weight works along one axis")
    constants = {**work.constants, **{name: np.array(shape, np.int64) for name, shape in _SHAPES.items()}}
    made = changed(model, work.replaced, added=work.added, constants=constants)
    return made, f"planar: {work.convolutions} convolutions along one axis made ones over rows"


class _Work:
    """What has been replaced so far. rows: value -> the same value as a row."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._seen, self._shapes = look(model), infer_shapes(model)
        self._rows: dict[str, str] = {}
        self.replaced: dict[str, list[onnx.NodeProto]] = {}
        self.added: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray[Any, Any]] = {}
        self.convolutions = 0

    def take(self, operator: onnx.NodeProto) -> None:
        """Replace an operator where it works on rows, or can begin them."""
        computed, kind = self._seen.computed(operator), operator.op_type
        if kind == "Conv" and self._along_one_axis(operator):
            self._begin(operator.input[0])
            self._convolution(operator)
        elif len(operator.output) > 1 or not computed or not self._rows.keys() >= set(computed):
            return
        elif kind in WINDOWED - {"Conv"}:
            self._row(operator, list(operator.input), _with_row(operator))
        elif kind in PLAIN or (kind in TOGETHER and len(computed) == len(operator.input)) or _joins_channels(operator):
            self._row(operator, list(operator.input), without(operator))
        elif kind in MEANS and self._over_places(operator):
            self._mean(operator)

    def _along_one_axis(self, operator: onnx.NodeProto) -> bool:
        weight = self._seen.constants.get(operator.input[1])
        return weight is not None and len(weight.dims) == 3 and operator.input[0] not in self._seen.constants

    def _begin(self, value: str) -> None:
        from onnx import helper

        if value not in self._rows:
            self._rows[value] = f"{value}_row"
            self.added.append(helper.make_node("Reshape", [value, _TO_ROW], [self._rows[value]]))

    def _convolution(self, operator: onnx.NodeProto) -> None:
        from onnx import numpy_helper

        weight = operator.input[1]
        self.constants[f"{weight}_row"] = numpy_helper.to_array(self._seen.constants[weight])[:, :, None]
        self._row(operator, [operator.input[0], f"{weight}_row", *operator.input[2:]], _with_row(operator))
        self.convolutions += 1

    def _row(self, operator: onnx.NodeProto, inputs: list[str], given: dict[str, Any]) -> None:
        """Let an operator make a row, which becomes what it was for those that read it so."""
        from onnx import helper

        value = operator.output[0]
        row = self._rows[value] = f"{value}_row"
        names = [self._rows.get(name, name) for name in inputs]
        made = helper.make_node(operator.op_type, names, [row], name=operator.name, **given)
        self.replaced[value] = [made, helper.make_node("Reshape", [row, _FROM_ROW], [value])]

    def _mean(self, operator: onnx.NodeProto) -> None:
        from onnx import helper

        value, kind = operator.output[0], MEANS[operator.op_type]
        whole, shape = f"{value}_whole", _FROM_ROW if attributes(operator).get("keepdims", 1) else _TO_CHANNELS
        pool = helper.make_node(kind, [self._rows[operator.input[0]]], [whole], name=operator.name)
        self.replaced[value] = [pool, helper.make_node("Reshape", [whole, shape], [value])]

    def _over_places(self, operator: onnx.NodeProto) -> bool:
        axes = attributes(operator).get("axes")
        if axes is None and len(operator.input) > 1 and operator.input[1] in self._seen.constants:
            from onnx import numpy_helper

            axes = numpy_helper.to_array(self._seen.constants[operator.input[1]]).tolist()
        return axes in ([2], [-1])


def _with_row(operator: onnx.NodeProto) -> dict[str, Any]:
    """Return the attributes of an operator with windows, for a row of one place more."""
    given = without(operator, "pads")
    given |= {name: [1, *given[name]] for name in ("kernel_shape", "strides", "dilations") if name in given}
    pads = attributes(operator).get("pads")
    return given if pads is None else {**given, "pads": [0, pads[0], 0, pads[1]]}


def _joins_channels(operator: onnx.NodeProto) -> bool:
    return operator.op_type == "Concat" and attributes(operator).get("axis") == 1
