"""Structured pruning: whole channels out of the network, so that every engine computes less.

Decides: nothing but the order: follow channels, judge them, take them out (`controller/compress/channels`). Leaves out:
training what is left, without which more than a few channels cost accuracy.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from controller.compress.channels import atoms, cut, rules, select, trace
from controller.compress.passes.base import Artifact, Capabilities, CompressionPass, Needs, PassContext, needs_float
from controller.compress.passes.weights import float_onnx
from controller.errors import UnusableModel


class PruneChannelsPass:
    """Dependency-graph pruning."""

    name = "prune_channels"
    needs = Needs(
        libraries=("onnx", "numpy"),
        sources=tuple(each.__name__ for each in (float_onnx, atoms, trace, rules, select, cut)),
    )

    def applies(self, capabilities: Capabilities, artifact: Artifact) -> str | None:
        return needs_float(self.name, "onnx", capabilities, artifact)

    def space(self, _capabilities: Capabilities) -> Mapping[str, Sequence[Any]]:
        return {"amount": (0.1, 0.2, 0.3, 0.5), "round_to": (1, 8, 16), "scope": ("layer", "global")}

    def run(self, artifact: Artifact, parameters: Mapping[str, Any], context: PassContext) -> Artifact:
        from onnx import numpy_helper

        model = float_onnx.opened(artifact)
        traced = trace.trace(model)
        weights = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
        scores = select.importances(traced, weights, parameters["norm"])
        chosen = {name: parameters[name] for name in ("round_to", "scope")}
        gone = select.select(traced, scores, parameters["amount"], **chosen)
        if len(gone) == 0:
            raise UnusableModel(_nothing(traced, parameters))
        free = len(traced.atoms.free())
        return float_onnx.written(cut.cut(model, traced, gone), context, f"{len(gone)} of {free} channels taken out")


def _nothing(traced: trace.Traced, parameters: Mapping[str, Any]) -> str:
    widths = sorted({len(each) for each in atoms.components(traced.atoms, traced.pieces)})
    if not widths:
        return "no channel of this network can be taken out: its operators mix them in ways that are not followed"
    return (
        f"no channel is taken out: amount {parameters['amount']} of widths {', '.join(map(str, widths))}, rounded up "
        f"to a multiple of {parameters['round_to']}, leaves them whole; take a larger amount or a smaller round_to"
    )


PASS: CompressionPass = PruneChannelsPass()
