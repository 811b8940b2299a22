"""What ONNX operators compute, in PyTorch, so that gradients flow through a graph.

Decides: which operators can be trained through. Leaves out: weights and order (`graph.py`).
Source of the arithmetic: the operators' definitions in the ONNX standard, opsets 11 to 23.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from controller.compress.training.network import shapes, windows
from controller.convert.workers.frame import Unusable


@dataclass(frozen=True)
class Call:
    """One use of an operator.

    given: its inputs, None where one is left out. batch: samples at once. momentum: of running statistics, null where
    they are used and not updated.
    """

    kind: str
    attributes: Mapping[str, Any]
    given: Sequence[Any]
    batch: int = 1
    momentum: float | None = None

    def input(self, place: int) -> Any:
        """Return an input, None where it is left out."""
        return self.given[place] if place < len(self.given) else None

    def get(self, name: str, default: Any = None) -> Any:
        return self.attributes.get(name, default)


Operator = Callable[[Call], Any]


def gemm(call: Call) -> Tensor:
    left = call.given[0].t() if call.get("transA", 0) else call.given[0]
    right = call.given[1].t() if call.get("transB", 0) else call.given[1]
    product = call.get("alpha", 1.0) * (left @ right)
    return product if call.input(2) is None else product + call.get("beta", 1.0) * call.given[2]


def batch_normalization(call: Call) -> Tensor:
    """While training the batch's own statistics count, and the running ones follow them in place."""
    x, scale, offset, mean, variance = call.given[:5]
    training, momentum, epsilon = call.momentum is not None, call.momentum or 0.0, call.get("epsilon", 1e-5)
    return functional.batch_norm(x, mean, variance, scale, offset, training, momentum, epsilon)


def instance_normalization(call: Call) -> Tensor:
    x, scale, offset = call.given[:3]
    return functional.instance_norm(x, None, None, scale, offset, eps=call.get("epsilon", 1e-5))


def layer_normalization(call: Call) -> Tensor:
    axis = call.get("axis", -1) % call.given[0].dim()
    shape = call.given[0].shape[axis:]
    return functional.layer_norm(call.given[0], shape, call.given[1], call.input(2), call.get("epsilon", 1e-5))


def clip(call: Call) -> Tensor:
    low = call.input(1) if call.input(1) is not None else call.get("min")
    high = call.input(2) if call.input(2) is not None else call.get("max")
    return call.given[0] if low is None and high is None else torch.clamp(call.given[0], min=low, max=high)


def gelu(call: Call) -> Tensor:
    return functional.gelu(call.given[0], approximate=_text(call.get("approximate", "none")))


def softmax(call: Call) -> Tensor:
    return functional.softmax(call.given[0], dim=call.get("axis", -1))


def log_softmax(call: Call) -> Tensor:
    return functional.log_softmax(call.given[0], dim=call.get("axis", -1))


def hard_sigmoid(call: Call) -> Tensor:
    return torch.clamp(call.get("alpha", 0.2) * call.given[0] + call.get("beta", 0.5), 0.0, 1.0)


def prelu(call: Call) -> Tensor:
    return torch.where(call.given[0] < 0, call.given[1] * call.given[0], call.given[0])


def variadic(function: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    """Return an operator over one or more inputs."""

    def run(call: Call) -> Any:
        found = call.given[0]
        for other in call.given[1:]:
            found = function(found, other)
        return found

    return run


def elementwise(function: Callable[..., Tensor]) -> Operator:
    """Return an operator that is a function of its inputs alone."""
    return lambda call: function(*call.given)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


OPERATORS: dict[str, Operator] = {
    "Add": elementwise(torch.add), "Sub": elementwise(torch.sub), "Mul": elementwise(torch.mul),
    "Div": elementwise(torch.div), "Pow": elementwise(torch.pow), "MatMul": elementwise(torch.matmul),
    "Min": variadic(torch.minimum), "Max": variadic(torch.maximum), "Sum": variadic(torch.add),
    "Relu": elementwise(functional.relu), "Sigmoid": elementwise(torch.sigmoid), "Tanh": elementwise(torch.tanh),
    "Erf": elementwise(torch.erf), "Exp": elementwise(torch.exp), "Log": elementwise(torch.log),
    "Sqrt": elementwise(torch.sqrt), "Reciprocal": elementwise(torch.reciprocal), "Neg": elementwise(torch.neg),
    "Abs": elementwise(torch.abs), "Softplus": elementwise(functional.softplus),
    "HardSwish": elementwise(functional.hardswish), "Mish": elementwise(functional.mish),
    "Where": elementwise(torch.where), "Equal": elementwise(torch.eq),
    "LeakyRelu": lambda call: functional.leaky_relu(call.given[0], call.get("alpha", 0.01)),
    "Elu": lambda call: functional.elu(call.given[0], call.get("alpha", 1.0)),
    "PRelu": prelu, "Clip": clip, "Gelu": gelu, "HardSigmoid": hard_sigmoid,
    "Softmax": softmax, "LogSoftmax": log_softmax,
    "Gemm": gemm, "Conv": windows.conv, "ConvTranspose": windows.conv_transpose,
    "MaxPool": windows.max_pool, "AveragePool": windows.average_pool,
    "GlobalAveragePool": windows.global_average, "GlobalMaxPool": windows.global_max, "Pad": windows.pad,
    "BatchNormalization": batch_normalization, "InstanceNormalization": instance_normalization,
    "LayerNormalization": layer_normalization,
    **shapes.OPERATORS,
}  # fmt: skip
"""Kind -> what it computes; kinds that are not here cannot be trained through."""


def check_known(kinds: Sequence[str]) -> None:
    """Refuse a graph with operators that cannot be trained through.

    Raises:
        Unusable: Names them.
    """
    if unknown := sorted(set(kinds) - set(OPERATORS)):
        raise Unusable(
            f"training goes through no {', '.join(unknown)}; passes that need no training are left, such as "
            "quantize_static, codebook and prune"
        )
