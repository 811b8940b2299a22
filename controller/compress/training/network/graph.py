"""An ONNX graph as a PyTorch module: the same function, with weights that can be trained and written back.

    network = Network(onnx.load("m.onnx"))
    network(torch.zeros(8, 1, 28, 28))[0]  # the first output
    onnx.save(network.written(), "trained.onnx")

Decides: which constants are weights. A quantised graph (QDQ) is trained as it is: its integers become real numbers that
are rounded in each pass. Leaves out: what operators compute (`operators.py`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor

from controller.compress.training.network import rewrite
from controller.compress.training.network.operators import OPERATORS, Call, check_known
from controller.compress.training.network.quantised import LEAST_SCALE, LIMITS, Levels, quantised
from controller.convert.workers.frame import Unusable

_WEIGHTS = {"Conv": (1, 2), "ConvTranspose": (1, 2), "Gemm": (1, 2), "MatMul": (0, 1), "BatchNormalization": (1, 2),
            "InstanceNormalization": (1, 2), "LayerNormalization": (1, 2), "PRelu": (1,)}  # fmt: skip
_RUNNING = {"BatchNormalization": (3, 4)}
_SHIFTS = frozenset({"Add", "Mul"})


@dataclass(frozen=True)
class Step:
    """One operator of the graph: its names, and the values that nobody reads after it."""

    kind: str
    attributes: Mapping[str, Any]
    given: tuple[str, ...]
    made: tuple[str, ...]
    done_with: tuple[str, ...]


@dataclass(frozen=True)
class Stored:
    """A constant that is stored in whole numbers: its scale, zero point and levels; `bias`: int32, not rounded here."""

    scale: str
    zero: str
    levels: Levels
    bias: bool


class Network(torch.nn.Module):  # type: ignore[misc, unused-ignore]
    """See the module's text. Its constants stand among the initialisers (`inlined`).

    Raises:
        Unusable: An operator that cannot be trained through, or more than one input.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        super().__init__()
        graph = model.graph
        check_known([each.op_type for each in graph.node if each.op_type not in ("QuantizeLinear", "DequantizeLinear")])
        self.model = model
        constants = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
        inputs = [each.name for each in graph.input if each.name not in constants]
        if len(inputs) != 1:
            raise Unusable(f"training takes networks of one input, this one has {', '.join(inputs) or 'none'}")
        self.input, self.outputs = inputs[0], [each.name for each in graph.output]
        self.steps = _steps(graph, set(self.outputs))
        self.stored = _stored(graph, constants)
        self.weights, self.places = torch.nn.ParameterDict(), dict[str, str]()
        self.momentum = 0.1
        self._hold(constants, _trained(graph, constants), _running(graph))

    def _hold(self, constants: Mapping[str, np.ndarray[Any, Any]], trained: set[str], running: set[str]) -> None:
        scales = {each.scale for each in self.stored.values() if not each.bias} | _activation_scales(self.steps)
        for place, (name, values) in enumerate(constants.items()):
            if name in self.stored:
                one = self.stored[name]
                values = rewrite.real(values, constants[one.scale], constants.get(one.zero), one.levels.axis)
            tensor = torch.from_numpy(np.array(values))
            if name in scales:  # its logarithm, relative to what it is now
                self.register_buffer(f"s{place}", tensor.clamp_min(LEAST_SCALE))
                tensor = torch.zeros_like(tensor)
            if name in trained or name in self.stored or name in scales:
                self.weights[f"w{place}"] = torch.nn.Parameter(tensor.float())
            else:
                self.register_buffer(f"c{place}", tensor)
            self.places[name] = f"w{place}" if f"w{place}" in self.weights else f"c{place}"
        self.running, self.scales = running, scales

    def constant(self, name: str) -> Tensor:
        """Return a constant, a weight or not, by its name in the graph."""
        place = self.places[name]
        found: Tensor = self.weights[place] if place in self.weights else getattr(self, place)
        return getattr(self, place.replace("w", "s")) * torch.exp(found) if name in self.scales else found

    def matrices(self) -> dict[str, Tensor]:
        """Return the weights of convolutions and products by name: those of two axes or more."""
        trained = {name: self.weights[place] for name, place in self.places.items() if place in self.weights}
        return {name: each for name, each in trained.items() if each.dim() > 1 and name not in self.scales}

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs in the graph's order, for inputs of shape (n, ...)."""
        found = self.values(x, self.outputs)
        return tuple(found[name] for name in self.outputs)

    def values(self, x: Tensor, names: Iterable[str]) -> dict[str, Tensor]:
        """Return what stands on some of the graph's wires."""
        wanted, known = dict.fromkeys(names), {self.input: x}  # in the order given
        for step in self.steps:
            given = [self._value(name, known) for name in step.given]
            made = self._made(step, given, x.shape[0])
            known.update(zip(step.made, made if isinstance(made, tuple) else (made,), strict=False))
            for name in step.done_with:
                if name not in wanted:
                    known.pop(name, None)
        return {name: known[name] for name in wanted}

    def _value(self, name: str, known: Mapping[str, Tensor]) -> Tensor | None:
        if not name:
            return None
        return known[name] if name in known else self.constant(name)

    def _made(self, step: Step, given: Sequence[Any], batch: int) -> Any:
        if step.kind == "DequantizeLinear":
            one = self.stored.get(step.given[0])
            if one is None or one.bias:
                return given[0]  # rounded where it was quantised; a bias is stored finely enough
            return quantised(given[0], given[1], self._zero(given), one.levels)
        if step.kind == "QuantizeLinear":
            low, high = LIMITS[self._zero(given).dtype]
            return quantised(given[0], given[1], self._zero(given), Levels(low, high, None))
        call = Call(step.kind, step.attributes, given, batch, self.momentum if self.training else None)
        return OPERATORS[step.kind](call)

    @staticmethod
    def _zero(given: Sequence[Any]) -> Tensor:
        return given[2] if len(given) > 2 and given[2] is not None else torch.zeros((), dtype=torch.uint8)

    def written(self) -> onnx.ModelProto:
        """Return the graph with the weights as they are now."""
        return rewrite.written(self)


def _steps(graph: onnx.GraphProto, kept: set[str]) -> list[Step]:
    last: dict[str, int] = {}
    for index, operator in enumerate(graph.node):
        last.update(dict.fromkeys([*operator.input, *operator.output], index))
    done: dict[int, list[str]] = {}
    for name, index in last.items():
        done.setdefault(index, []).append(name)
    return [
        Step(
            each.op_type,
            {one.name: helper.get_attribute_value(one) for one in each.attribute},
            tuple(each.input),
            tuple(each.output),
            tuple(name for name in done.get(index, ()) if name not in kept),
        )
        for index, each in enumerate(graph.node)
    ]


def _trained(graph: onnx.GraphProto, constants: Mapping[str, np.ndarray[Any, Any]]) -> set[str]:
    """Return the constants that are weights: of operators that have some, and biases that are added behind them."""
    made = {name for each in graph.node if each.op_type in _WEIGHTS for name in each.output}
    found: set[str] = set()
    for each in graph.node:
        found |= {each.input[place] for place in _WEIGHTS.get(each.op_type, ()) if place < len(each.input)}
        if each.op_type in _SHIFTS and made.intersection(each.input):
            found |= set(each.input)
    return {name for name in found if name in constants and constants[name].dtype == np.float32}


def _running(graph: onnx.GraphProto) -> set[str]:
    return {each.input[place] for each in graph.node for place in _RUNNING.get(each.op_type, ())}


def _activation_scales(steps: Sequence[Step]) -> set[str]:
    return {each.given[1] for each in steps if each.kind == "QuantizeLinear"}


def _stored(graph: onnx.GraphProto, constants: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, Stored]:
    """Return the constants that are stored in whole numbers."""
    found = {}
    for each in graph.node:
        if each.op_type != "DequantizeLinear" or each.input[0] not in constants:
            continue
        values = constants[each.input[0]]
        if values.dtype not in (np.int8, np.uint8, np.int32) or each.input[1] not in constants:
            raise Unusable(f"training goes through no weight stored as {values.dtype}")
        bias, axis = values.dtype == np.int32, next((one.i for one in each.attribute if one.name == "axis"), 1)
        limits = (-(2**31), 2**31 - 1) if bias else (-128, 127) if values.dtype == np.int8 else (0, 255)
        along = axis % values.ndim if constants[each.input[1]].size > 1 else None
        zero = each.input[2] if len(each.input) > 2 else ""
        found[each.input[0]] = Stored(each.input[1], zero, Levels(*limits, along), bias)
    return found
