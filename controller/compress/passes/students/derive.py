"""Derive a student: a smaller network with the model's inputs and outputs, made of the model's own graph.

Decides: which parameters are worth a search. Leaves out: the changes (`controller/compress/students`), and training,
without which the student knows nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from controller.compress.channels import atoms, cut, rules, select, trace
from controller.compress.passes.base import Artifact, Capabilities, CompressionPass, Needs, PassContext, needs_float
from controller.compress.passes.weights import float_onnx
from controller.compress.students import depth, derive, fresh, graph, normalise, planar, separable, stems, width
from controller.compress.students.early import later, legal, pools, refit, stages, stride
from controller.compress.weights import operators
from controller.models.graph import measure_graph

if TYPE_CHECKING:
    import onnx

SOURCES = (
    *(depth, derive, fresh, graph, normalise, planar, separable, stems, width),
    *(later, legal, pools, refit, stages, stride),
    *(float_onnx, operators, atoms, trace, rules, select, cut),
)


class DerivePass:
    """Width, depth, resolution and separable convolutions, one or all of them."""

    name = "derive"
    needs = Needs(libraries=("onnx", "numpy"), sources=tuple(each.__name__ for each in SOURCES))

    def applies(self, capabilities: Capabilities, artifact: Artifact) -> str | None:
        return needs_float(self.name, "onnx", capabilities, artifact)

    def space(self, _capabilities: Capabilities) -> Mapping[str, Sequence[Any]]:
        return {
            "width": (0.125, 0.25, 0.375, 0.5, 0.75, 1.0),
            "round_to": (4, 8, 16),
            "separable": (False, True),
            "pools": ("kept", "strides"),
            "early_stride": (1, 2, 4, 8),
            "stride_at": ("stem", "input"),
            "later_strides": ("kept", "reduced"),
            "stages": ("kept", "strided"),
            "depth": (0.0, 0.5, 1.0),
            "planar": (False, True),
            "weights": ("fresh", "inherited"),
        }

    def space_of(self, capabilities: Capabilities, artifact: Artifact) -> Mapping[str, Sequence[Any]]:
        """Return the space without what this model would refuse."""
        return derive.possible(float_onnx.opened(artifact), self.space(capabilities))

    def run(self, artifact: Artifact, parameters: Mapping[str, Any], context: PassContext) -> Artifact:
        baseline = float_onnx.opened(artifact)
        student, notes = derive.derived(baseline, parameters, context.seed)
        return float_onnx.written(student, context, *notes, _counted(baseline, student), "not trained yet")


def _counted(baseline: onnx.ModelProto, student: onnx.ModelProto) -> str:
    before, after = measure_graph(baseline), measure_graph(student)
    left = f"; not counted: {', '.join(after.uncounted)}" if after.uncounted else ""
    return (
        f"parameters {before.parameters:,} -> {after.parameters:,}, multiply-accumulates {before.macs:,} -> "
        f"{after.macs:,}{left}"
    )


PASS: CompressionPass = DerivePass()
