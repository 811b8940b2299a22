"""What passes on the weights of a float ONNX model have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.compress.channels.trace import inlined
from controller.compress.passes.base import Artifact, PassContext
from controller.convert.onnx_io import parse_onnx

if TYPE_CHECKING:
    import onnx


def opened(artifact: Artifact) -> onnx.ModelProto:
    """Return an artifact's model, its constants among the initialisers."""
    return inlined(parse_onnx(artifact.path))


def written(model: onnx.ModelProto, context: PassContext, *notes: str) -> Artifact:
    """Check a model, write it into the context's folder, and return it."""
    import onnx

    onnx.checker.check_model(model)
    path = context.folder / "model.onnx"
    onnx.save(model, path)
    return Artifact("onnx", path, precision="float32", notes=notes)
