"""Networks that students are derived from, and what a graph holds."""

import onnx

from controller.compress.weights.operators import values_of, weighted
from controller.models.graph import measure_graph
from tests.unit.controller.compress.channels import small_networks as small


def two_convolutions() -> onnx.ModelProto:
    net = small.Network()
    x = net.add("Relu", net.conv("x", 3, 8))
    return net.model(net.head(net.add("Relu", net.conv(x, 8, 16)), 16))


def three_blocks() -> onnx.ModelProto:
    """Two residual blocks of one width, one that widens and halves, and one behind it."""
    net = small.Network()
    x = net.add("Relu", net.conv("x", 3, 8))
    for _ in range(2):
        x = net.add("Relu", net.add("Add", net.conv(net.add("Relu", net.conv(x, 8, 8)), 8, 8), x))
    wider = net.conv(net.add("Relu", net.conv(x, 8, 16, strides=[2, 2])), 16, 16)
    x = net.add("Relu", net.add("Add", wider, net.conv(x, 8, 16, 1, strides=[2, 2])))
    x = net.add("Relu", net.add("Add", net.norm(x, 16), net.conv(x, 16, 16)))
    return net.model(net.head(x, 16))


def made_by(model: onnx.ModelProto) -> list[int]:
    return [values_of(model, each.weight).shape[each.made] for each in weighted(model)]


def operators(model: onnx.ModelProto) -> list[str]:
    return [each.op_type for each in model.graph.node]


def macs(model: onnx.ModelProto) -> int:
    counts = measure_graph(model)
    assert counts.uncounted == ()
    return counts.macs
