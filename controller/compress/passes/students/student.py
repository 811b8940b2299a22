"""A student of the user's own: the network that a factory in the model's folder makes, as an ONNX file.

Decides: that it answers to the names of the model's input and outputs, and that it gets back the batch normalisation
that exporting folds away. Leaves out: exporting (`controller/convert/workers/from_torch`), and training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from controller.compress.channels import trace
from controller.compress.materials.training import INPUTS
from controller.compress.passes.base import Artifact, Capabilities, CompressionPass, Needs, PassContext, needs_float
from controller.compress.passes.weights import float_onnx
from controller.compress.students import graph, normalise
from controller.convert.environments import Limits, required, run_worker
from controller.convert.onnx_io import parse_onnx
from controller.errors import UnusableData, UnusableModel

if TYPE_CHECKING:
    import onnx

ENVIRONMENT = "torch"
OPSET = 18
_WORKERS = "controller.convert.workers.from_torch"


class StudentPass:
    """The file before it is not read, but for its names and shapes."""

    name = "student"
    needs = Needs(
        libraries=("onnx", "numpy"),
        training=True,
        environment=ENVIRONMENT,
        root=True,
        sources=(
            *(each.__name__ for each in (float_onnx, graph, normalise)),
            *(f"{_WORKERS}.{name}" for name in ("to_onnx", "source", "load")),
        ),
    )

    def applies(self, capabilities: Capabilities, artifact: Artifact) -> str | None:
        return needs_float(self.name, "onnx", capabilities, artifact)

    def space(self, _capabilities: Capabilities) -> Mapping[str, Sequence[Any]]:
        return {}

    def run(self, artifact: Artifact, parameters: Mapping[str, Any], context: PassContext) -> Artifact:
        model = parse_onnx(artifact.path)
        student = trace.inlined(_exported(model, parameters, context))
        _check_ends(model, student, parameters["factory"])
        student, said = normalise.normalise(graph.prepared(student))
        return float_onnx.written(student, context, f"the network of {parameters['factory']}", said, "not trained yet")


def _exported(model: onnx.ModelProto, parameters: Mapping[str, Any], context: PassContext) -> onnx.ModelProto:
    if context.training is None:
        raise UnusableData("a student is trained, and the model names no samples; add `data` to its model.yaml")
    constants = {each.name for each in model.graph.initializer}
    source = next(each.name for each in model.graph.input if each.name not in constants)
    order = {
        "root": str(context.root),
        "torch": {"factory": parameters["factory"], "state": parameters["state"]},
        "inputs": str(_some_inputs(context)),
        "folder": str(context.folder),
        "names": {"input": source, "outputs": [each.name for each in model.graph.output]},
        "opset": OPSET,
        "seed": context.seed,
    }
    result = run_worker(required(ENVIRONMENT), "from_torch.to_onnx", order, context.folder, Limits(threads=1))
    if result["outcome"] != "ok":
        raise UnusableModel(f"student: {result['error']}")
    for left in context.folder.glob("*.npy"):
        left.unlink()
    return parse_onnx(context.folder / result["file"])


def _some_inputs(context: PassContext) -> Any:
    """Write a few inputs, which exporting traces and compares."""
    import numpy as np

    known = np.load(context.training / INPUTS, mmap_mode="r", allow_pickle=False)  # type: ignore[operator]
    path = context.folder / "some.npy"
    np.save(path, known[:4], allow_pickle=False)
    return path


def _check_ends(model: onnx.ModelProto, student: onnx.ModelProto, factory: str) -> None:
    wanted, given = ([_axes(each) for each in one.graph.output] for one in (model, student))
    if wanted != given:
        raise UnusableModel(f"student: {factory} gives outputs of shape {given}, the model {wanted}; they must agree")


def _axes(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    """Return a shape without its batch; -1 where an axis is free."""
    return tuple(axis.dim_value or -1 for axis in value.type.tensor_type.shape.dim[1:])


PASS: CompressionPass = StudentPass()
