"""Everything that is known of a model folder, together: its graph, its samples, and what int8 costs.

Decides: that samples which cannot be had leave questions open and stop nothing.
"""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from controller.compress.advise.facts import Facts, facts_of
from controller.compress.advise.sensitive import sensitivity_of
from controller.compress.cache import PassCache
from controller.compress.channels import trace
from controller.compress.materials.calibration import kept_calibration
from controller.compress.passes.base import PassContext
from controller.convert.onnx_io import parse_onnx
from controller.convert.operators import onnx_precision
from controller.errors import UnusableData, UnusableModel
from controller.models.folder import ModelFolder
from controller.models.samples import LabelledData, calibration_samples, training_samples

FORM = "onnx"


def gathered(model: ModelFolder, cache: Path, datasets: Path) -> Facts:
    """Return the facts of a model's ONNX file.

    Args:
        model: With a float ONNX file.
        cache: Folder that keeps results of passes.
        datasets: Folder that keeps loaded samples.
    Raises:
        UnusableModel: It has no such file.
    """
    path = model.file(FORM)
    graph = parse_onnx(path)
    if (precision := onnx_precision(graph)) != "float32":
        raise UnusableModel(f"{path}: advice is on float models, and this one is {precision} already")
    known = _training(model, datasets)
    sensitivity, whole, why_not = _sensitivity(model, path, PassCache(cache), datasets)
    return facts_of(
        trace.inlined(graph),
        path.stat().st_size,
        samples=len(known) if known else 0,
        labelled=known is not None and known.labels.size > 0,
        answers="classes" if model.kind == "classification" else "numbers",
        sensitivity=sensitivity,
        int8_db=whole,
        why_not=why_not,
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the quantiser from its warnings about weights that it then leaves alone."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def _training(model: ModelFolder, datasets: Path) -> LabelledData | None:
    try:
        return training_samples(model, datasets)
    except UnusableData:
        return None


def _sensitivity(
    model: ModelFolder, path: Path, cache: PassCache, datasets: Path
) -> tuple[dict[str, float], float | None, str]:
    """Return what quantising costs, or why it is not known."""
    try:
        kept = kept_calibration(model, calibration_samples(model, datasets), cache).get(FORM)
        if kept is None:
            return {}, None, "models of text are not calibrated"
        with tempfile.TemporaryDirectory() as name, _quiet():
            context = PassContext(Path(name), cache, calibration=kept[0], calibration_digest=kept[1])
            found, whole = sensitivity_of(path, context)
    except (UnusableData, UnusableModel) as exc:
        return {}, None, str(exc)
    return found, whole, ""
