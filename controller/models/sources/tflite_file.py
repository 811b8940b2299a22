"""A bare TFLite file becomes a model folder's as it is, float or quantised."""

import shutil
from pathlib import Path

from controller.convert.tflite import check_finite, read_tflite
from controller.models.checking import check_shapes
from controller.models.sources.base import Draft, ImportRequest, refuse_unused
from controller.models.sources.states import ends

FILE = "model.tflite"


def draft(request: ImportRequest, folder: Path) -> Draft:
    """Copy the file and describe it.

    Raises:
        UnusableModel: It is broken, has NaN weights, or inputs that a bundle cannot describe.
        ConfigurationError: An option that does not fit the file.
    """
    refuse_unused(request, "a .tflite file", "output")
    facts = read_tflite(request.source)
    check_finite(request.source)
    found = ends(facts.signature, request.source, request.output)
    check_shapes(found.signature, request.source)
    shutil.copyfile(request.source, folder / FILE)
    notes = [] if facts.precision == "float32" else [f"weights are stored as {facts.precision}"]
    notes += ["keeps state from query to query in itself"] if facts.keeps_state else []
    notes += [f"operator {name}" for name in facts.operators if name.startswith("CUSTOM")]
    return Draft({"tflite": {"file": FILE, **found.entry}}, notes=tuple(notes))
