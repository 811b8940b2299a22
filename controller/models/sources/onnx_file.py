"""A bare ONNX file becomes a model folder's: checked, its shapes fixed where that is asked for, its weights inside."""

from pathlib import Path
from typing import Any

from controller.convert.onnx_io import check_finite, check_onnx, external_files, onnx_signature, parse_onnx
from controller.convert.operators import opset
from controller.models.checking import check_shapes
from controller.models.sources.base import Draft, ImportRequest, refuse_unused
from controller.models.sources.onnx_shapes import with_constants, with_shapes
from controller.models.sources.states import ends

FILE = "model.onnx"


def draft(request: ImportRequest, folder: Path) -> Draft:
    """Write `model.onnx` and describe it.

    Raises:
        UnusableModel: It is broken, of another opset, has operators that nothing here has, NaN weights, or inputs that
            a bundle cannot describe.
        ConfigurationError: An option that does not fit the file.
    """
    import onnx

    source = request.source
    refuse_unused(request, "an .onnx file", "shapes", "constants", "output")
    given = parse_onnx(source)
    model = with_shapes(with_constants(given, request.constants, source), request.shapes, source)
    check_onnx(model, source)
    check_finite(model, source)
    found = ends(onnx_signature(model), source, request.output)
    check_shapes(found.signature, source)
    onnx.save(model, folder / FILE)
    return Draft({"onnx": {"file": FILE, **found.entry}}, notes=_notes(request, given))


def _notes(request: ImportRequest, given: Any) -> tuple[str, ...]:
    notes = [f"opset {opset(given)}"]
    if files := external_files(request.source):
        notes.append(f"weights taken in from {', '.join(path.name for path in files)}")
    notes += [f"shape given: {shape.name or 'the input'} {list(shape.sizes)}" for shape in request.shapes]
    notes += [f"the input {name!r} is always {value:g}" for name, value in request.constants.items()]
    return tuple(notes)
