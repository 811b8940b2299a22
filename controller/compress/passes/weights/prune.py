"""Set the least important weights to zero, one by one or two of every four.

Decides: which weights count (convolutions and products; not biases). Zeros make no engine here faster; they pack well,
so the download shrinks. Leaves out: training them back in (`controller/train`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controller.compress.passes.base import Artifact, Capabilities, CompressionPass, Needs, PassContext, needs_float
from controller.compress.passes.weights import float_onnx
from controller.compress.weights import operators, sparsify
from controller.compress.weights.operators import Weighted, replace_values, values_of, weighted


class PrunePass:
    """Magnitude pruning."""

    name = "prune"
    needs = Needs(libraries=("onnx", "numpy"), sources=(float_onnx.__name__, operators.__name__, sparsify.__name__))

    def applies(self, capabilities: Capabilities, artifact: Artifact) -> str | None:
        return needs_float(self.name, "onnx", capabilities, artifact)

    def space(self, _capabilities: Capabilities) -> Mapping[str, Sequence[Any]]:
        return {"amount": (0.3, 0.5, 0.7), "scope": ("layer", "global")}

    def run(self, artifact: Artifact, parameters: Mapping[str, Any], context: PassContext) -> Artifact:
        model = float_onnx.opened(artifact)
        found = {each.weight: each for each in weighted(model)}
        values = {name: values_of(model, name) for name in found}
        for name, stays in _stays(found, values, parameters).items():
            values[name] = np.where(stays, values[name], np.float32(0))
            replace_values(model, name, values[name])
        zeros = sum(int((each == 0).sum()) for each in values.values())
        of = sum(each.size for each in values.values())
        return float_onnx.written(model, context, f"{zeros} of {of} weights are zero")


def _stays(
    found: Mapping[str, Weighted], values: Mapping[str, NDArray[Any]], parameters: Mapping[str, Any]
) -> sparsify.Masks:
    importance = {name: np.abs(each) for name, each in values.items()}
    if (pattern := parameters["pattern"]) is None:
        return sparsify.masks(importance, parameters["amount"], parameters["scope"])
    n, m = (int(part) for part in pattern.split(":"))
    return {
        name: each.restored(sparsify.n_of_m(each.matrix(importance[name]), n, m), values[name].shape)
        for name, each in found.items()
    }


PASS: CompressionPass = PrunePass()
