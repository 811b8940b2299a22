"""Small networks with one thing each that channels go through, and random ones made of them."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Array = NDArray[Any]
SIZE = 8
"""Height and width of the inputs, which have three channels."""


class Network:
    """A graph under construction, with random weights. Values are named by their order."""

    def __init__(self, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.operators: list[onnx.NodeProto] = []
        self.weights: dict[str, Array] = {}

    def weight(self, *shape: int, values: Any = None) -> str:
        name = f"w{len(self.weights)}"
        made = self.random.normal(0, 0.5, shape).astype(np.float32) if values is None else np.asarray(values)
        self.weights[name] = made
        return name

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"v{len(self.operators)}"
        self.operators.append(helper.make_node(kind, list(inputs), [name], name=f"{kind}_{name}", **attributes))
        return name

    def conv(self, x: str, read: int, made: int, size: int = 3, **more: Any) -> str:
        weight, bias = self.weight(made, read // more.get("group", 1), size, size), self.weight(made)
        return self.add("Conv", x, weight, bias, pads=[size // 2] * 4, **more)

    def norm(self, x: str, channels: int) -> str:
        variance = self.weight(channels, values=self.random.uniform(0.5, 2, channels).astype(np.float32))
        return self.add("BatchNormalization", x, *(self.weight(channels) for _ in range(3)), variance)

    def head(self, x: str, features: int, classes: int = 5) -> str:
        flat = self.add("Flatten", self.add("GlobalAveragePool", x))
        return self.add("Gemm", flat, self.weight(classes, features), self.weight(classes), transB=1)

    def model(self, *outputs: str) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.operators,
            "network",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, SIZE, SIZE])],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            [numpy_helper.from_array(value, name) for name, value in self.weights.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
        return onnx.shape_inference.infer_shapes(model)  # the output's shape too


def plain() -> onnx.ModelProto:
    net = Network()
    x = net.add("Relu", net.norm(net.conv("x", 3, 8), 8))
    x = net.add("MaxPool", net.add("HardSwish", net.conv(x, 8, 12)), kernel_shape=[2, 2])
    return net.model(net.head(x, 12))


def residual() -> onnx.ModelProto:
    net = Network()
    first = net.add("Relu", net.conv("x", 3, 8))
    body = net.conv(net.add("Relu", net.norm(net.conv(first, 8, 6), 6)), 6, 8)
    return net.model(net.head(net.add("Relu", net.add("Add", body, first)), 8))


def inverted_bottleneck() -> onnx.ModelProto:
    net = Network()
    x = net.add("Clip", net.conv("x", 3, 16, 1), net.weight(values=np.float32(0)), net.weight(values=np.float32(6)))
    x = net.conv(net.norm(net.conv(x, 16, 16, group=16), 16), 16, 8, 1)
    return net.model(net.head(x, 8))


def depthwise_multiplier() -> onnx.ModelProto:
    net = Network()
    x = net.conv(net.conv("x", 3, 6), 6, 12, group=6)
    return net.model(net.head(net.conv(x, 12, 4), 4))


def squeeze_and_excite() -> onnx.ModelProto:
    net = Network()
    x = net.conv("x", 3, 8)
    gate = net.add("Sigmoid", net.conv(net.conv(net.add("GlobalAveragePool", x), 8, 4, 1), 4, 8, 1))
    return net.model(net.head(net.add("Mul", x, gate), 8))


def spatial_attention() -> onnx.ModelProto:
    net = Network()
    x = net.conv("x", 3, 8)
    return net.model(net.head(net.add("Mul", x, net.add("Sigmoid", net.conv(x, 8, 1))), 8))


def dense_block() -> onnx.ModelProto:
    net = Network()
    first = net.add("Relu", net.conv("x", 3, 6))
    x = net.add("Concat", first, net.add("Relu", net.conv(first, 6, 4)), axis=1)
    x = net.add("Concat", "x", net.norm(x, 10), axis=1)
    return net.model(net.head(net.conv(x, 13, 8), 8))


def places_in_a_row() -> onnx.ModelProto:
    net = Network()
    x = net.add("Flatten", net.add("AveragePool", net.conv("x", 3, 6), kernel_shape=[4, 4], strides=[4, 4]))
    hidden = net.add("Gemm", x, net.weight(24, 10), net.weight(1, 10))
    return net.model(net.add("MatMul", net.add("PRelu", hidden, net.weight(10)), net.weight(10, 5)))


def stated_in_a_shape() -> onnx.ModelProto:
    net = Network()
    x = net.add("GlobalAveragePool", net.conv("x", 3, 8))
    x = net.add("Reshape", x, net.weight(values=np.array([-1, 8], dtype=np.int64)))
    x = net.add("Gemm", x, net.weight(8, 6), net.weight(6))
    x = net.add("Reshape", x, net.weight(values=np.array([-1, 6, 1, 1], dtype=np.int64)))
    return net.model(net.head(net.conv(x, 6, 4, 1), 4))


def channels_last() -> onnx.ModelProto:
    net = Network()
    x = net.add("Transpose", net.conv("x", 3, 8), perm=[0, 2, 3, 1])
    x = net.add("Relu", net.add("Add", net.add("MatMul", x, net.weight(8, 12)), net.weight(12)))
    x = net.add("ReduceMean", x, net.weight(values=np.array([1, 2], dtype=np.int64)), keepdims=0)
    return net.model(net.add("MatMul", x, net.weight(12, 5)))


def squeezed() -> onnx.ModelProto:
    net = Network()
    axes = net.weight(values=np.array([2, 3], dtype=np.int64))
    x = net.add("Squeeze", net.add("GlobalMaxPool", net.conv("x", 3, 8)), axes)
    x = net.add("Unsqueeze", net.add("Tanh", x), axes)
    return net.model(net.head(net.conv(x, 8, 4, 1), 4))


def upsampled() -> onnx.ModelProto:
    net = Network()
    scales = net.weight(values=np.array([1, 1, 2, 2], dtype=np.float32))
    x = net.add("ConvTranspose", net.conv("x", 3, 8), net.weight(8, 6, 2, 2), net.weight(6), strides=[2, 2])
    x = net.add("Resize", net.add("Pad", x, net.weight(values=np.array([0, 0, 1, 1, 0, 0, 1, 1]))), "", scales)
    return net.model(net.head(net.conv(x, 6, 4), 4))


def shared_weights() -> onnx.ModelProto:
    net = Network()
    first, weight = net.conv("x", 3, 8), net.weight(8, 8, 1, 1)
    x = net.add("Conv", net.add("Relu", net.add("Conv", first, weight)), weight)
    return net.model(net.head(x, 8))


NETWORKS: Sequence[Callable[[], onnx.ModelProto]] = (
    plain,
    residual,
    inverted_bottleneck,
    depthwise_multiplier,
    squeeze_and_excite,
    spatial_attention,
    dense_block,
    places_in_a_row,
    stated_in_a_shape,
    channels_last,
    squeezed,
    upsampled,
    shared_weights,
)


def random_network(seed: int, steps: int) -> onnx.ModelProto:
    """Return a network of random steps, each of which keeps or changes the width."""
    net = Network(seed)
    x, width = net.conv("x", 3, 6), 6
    earlier = [(x, width)]
    for _ in range(steps):
        x, width = _step(net, x, width, earlier)
        earlier.append((x, width))
    return net.model(net.head(x, width))


def _step(net: Network, x: str, width: int, earlier: list[tuple[str, int]]) -> tuple[str, int]:
    other, other_width = earlier[int(net.random.integers(len(earlier)))]
    match int(net.random.integers(7)):
        case 0:
            made = int(net.random.integers(2, 9))
            return net.conv(x, width, made), made
        case 1:
            return net.conv(x, width, width, group=width), width
        case 2 if other_width == width:
            return net.add("Add", x, other), width
        case 3:
            return net.add("Concat", x, other, axis=1), width + other_width
        case 4:
            return net.norm(x, width), width
        case 5:
            return net.add(
                "Mul", x, net.add("Sigmoid", net.conv(net.add("GlobalAveragePool", x), width, width, 1))
            ), width
        case _:
            return net.add("Relu", x), width
