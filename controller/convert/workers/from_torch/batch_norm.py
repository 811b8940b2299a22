"""Batch normalisation that follows no convolution, made into a depthwise convolution of one element.

Decides: where that is done. XNNPACK lowers such a normalisation so itself, but with float weights: among integers it
then refuses the whole network. Made before the quantiser sees it, it is quantised like any other convolution.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_PLACES = ("weight", "bias", "running_mean", "running_var")


def as_convolutions(graph: "torch.fx.GraphModule") -> int:
    """Replace lone batch normalisations of pictures and series in an exported graph; return how many there were."""
    import torch

    aten = torch.ops.aten
    before = [aten.conv1d.default, aten.conv2d.default, aten.conv_transpose1d.default]
    before += [aten.conv_transpose2d.input, aten.linear.default]  # the quantiser folds what follows these
    found = [node for node in graph.graph.nodes if node.target == aten.batch_norm.default]
    lone = [node for node in found if node.args[0].target not in before and _rank(node) in (3, 4)]
    for number, node in enumerate(lone):
        _replace(graph, node, f"lone_norm_{number}")
    graph.graph.lint()
    graph.recompile()
    return len(lone)


def _rank(node: "torch.fx.Node") -> int:
    return len(node.args[0].meta["val"].shape)  # type: ignore[union-attr, index, arg-type, unused-ignore]


def _replace(graph: "torch.fx.GraphModule", node: "torch.fx.Node", name: str) -> None:
    """Put a convolution that scales and shifts each channel in the place of a normalisation."""
    import torch

    places = dict(zip(_PLACES, node.args[1:5], strict=True))
    values = {key: _tensor(graph, place) for key, place in places.items()}
    scale = values["weight"] / torch.sqrt(values["running_var"] + float(node.args[7]))
    shift = values["bias"] - values["running_mean"] * scale
    axes = _rank(node) - 2
    graph.register_parameter(f"{name}_weight", torch.nn.Parameter(scale.reshape(-1, *[1] * (axes + 1)), False))
    graph.register_parameter(f"{name}_bias", torch.nn.Parameter(shift, False))
    convolution = torch.ops.aten.conv1d.default if axes == 1 else torch.ops.aten.conv2d.default
    with graph.graph.inserting_before(node):
        weight = graph.graph.get_attr(f"{name}_weight")
        bias = graph.graph.get_attr(f"{name}_bias")
        weight.meta["val"], bias.meta["val"] = (graph.get_parameter(each.target) for each in (weight, bias))
        arguments = (node.args[0], weight, bias, [1] * axes, [0] * axes, [1] * axes, len(scale))
        made = graph.graph.call_function(convolution, arguments)
    made.meta = dict(node.meta)
    node.replace_all_uses_with(made)
    graph.graph.erase_node(node)


def _tensor(graph: "torch.fx.GraphModule", place: "torch.fx.Node") -> "torch.Tensor":
    """Return a parameter or buffer that the graph reads."""
    found = graph
    for step in str(place.target).split("."):
        found = getattr(found, step)
    return found.detach()  # type: ignore[operator, return-value, unused-ignore]
