"""Weights as places in a short table: each weight becomes the nearest of at most 2**bits levels.

Decides: how table and places lie in the file: places as bytes, which a Gather turns into weights when the engine loads
the model (it folds constants). Computes in float32, as fast as before; the file and the download shrink. Leaves out:
the levels (`controller/compress/weights/codebook.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from controller.compress.passes.base import Artifact, Capabilities, CompressionPass, Needs, PassContext, needs_float
from controller.compress.passes.weights import float_onnx
from controller.compress.weights import codebook, operators
from controller.compress.weights.operators import values_of, weighted
from controller.errors import UnusableModel

if TYPE_CHECKING:
    import onnx

SMALLEST = 1024
"""Values of a weight, below which a table and two operators take more than they save."""


class CodebookPass:
    """Non-linear quantisation for transport."""

    name = "codebook"
    needs = Needs(libraries=("onnx", "numpy"), sources=(float_onnx.__name__, operators.__name__, codebook.__name__))

    def applies(self, capabilities: Capabilities, artifact: Artifact) -> str | None:
        return needs_float(self.name, "onnx", capabilities, artifact)

    def space(self, _capabilities: Capabilities) -> Mapping[str, Sequence[Any]]:
        return {"bits": (3, 4, 5, 6, 8), "levels": ("kmeans", "power_of_two", "mu_law")}

    def run(self, artifact: Artifact, parameters: Mapping[str, Any], context: PassContext) -> Artifact:
        model = float_onnx.opened(artifact)
        names = list(dict.fromkeys(each.weight for each in weighted(model)))
        large = [name for name in names if values_of(model, name).size >= SMALLEST]
        if not large:
            raise UnusableModel(f"no weight of {SMALLEST} values or more: a table for each would not pay")
        for name in reversed(large):
            _put_in_table(model, name, parameters["bits"], parameters["levels"])
        return float_onnx.written(
            model, context, f"{len(large)} of {len(names)} weights in tables of {2 ** parameters['bits']} levels"
        )


def _put_in_table(model: onnx.ModelProto, name: str, bits: int, kind: codebook.Kind) -> None:
    """Put table, places and what joins them in a weight's place."""
    from onnx import TensorProto, helper, numpy_helper

    weights = values_of(model, name)
    table = codebook.levels(weights, bits, kind)
    kept = [each for each in model.graph.initializer if each.name != name]
    kept.append(numpy_helper.from_array(table.astype(np.float32), f"{name}_table"))
    kept.append(numpy_helper.from_array(codebook.places(weights, table), f"{name}_places"))
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    cast = helper.make_node("Cast", [f"{name}_places"], [f"{name}_rows"], to=TensorProto.INT32)
    gather = helper.make_node("Gather", [f"{name}_table", f"{name}_rows"], [name])
    model.graph.node.insert(0, gather)
    model.graph.node.insert(0, cast)


PASS: CompressionPass = CodebookPass()
