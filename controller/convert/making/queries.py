"""On which queries a conversion is compared with its source, and which inputs calibrate it.

Decides: 16 golden queries and a probe of 112. A float conversion must hold anywhere, so its probe is drawn evenly from
each element's range in the calibration samples. int8 holds where it was calibrated and saturates elsewhere, so its
probe is of the calibration samples themselves. A model without samples gets made-up ones of the declared shape.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from controller.errors import UnusableData, UnusableModel
from controller.models.fitting import declared_shape
from controller.models.folder import FormatEntry, ModelFolder
from controller.models.preprocess import prepare
from controller.models.preprocess.text import made_up_texts
from controller.models.queries import WHOLE_TENSORS, drawn_queries
from controller.models.samples import calibration_samples, golden_inputs
from wire.spec import AudioPre, ImagePre, PreSpec, SeriesPre, TablePre, TextPre

GOLDEN, PROBE, SEED = 16, 112, 20_26
CALIBRATION_SAMPLES = 128
"""As many as a recipe's pass takes when it says nothing else."""

Queries = NDArray[Any]
_PRE: TypeAdapter[Any] = TypeAdapter(PreSpec)


@dataclass(frozen=True)
class ParityQueries:
    """Raw queries, golden ones first, then drawn ones, then calibration samples.

    `drawn`, `calibrating`: how many of the last two there are. All go to a converter, so that its float file serves
    every precision; `rows` says which of them count.
    """

    every: Queries
    drawn: int
    calibrating: int

    def rows(self, calibrated: bool) -> slice | NDArray[np.int64]:
        """Return the rows to compare: those that an int8 conversion was calibrated for, or those from everywhere."""
        count = len(self.every)
        if not self.calibrating:
            return slice(0, count)
        if not calibrated:
            return slice(0, count - self.calibrating)
        golden = count - self.drawn - self.calibrating
        return np.concatenate([np.arange(golden), np.arange(golden + self.drawn, count)])


def parity_queries(model: ModelFolder, pre: PreSpec, datasets: Path) -> ParityQueries:
    """Return the queries on which conversions of a model are compared; the same each time.

    Args:
        model: Whose.
        pre: How its source takes them.
        datasets: Where loaded samples are kept.
    Raises:
        UnusableData: The model's samples cannot be used.
    """
    if model.spec.data is None or not _is_runnable(model):
        return ParityQueries(made_up_queries(model, pre, GOLDEN + PROBE), 0, 0)
    golden = golden_inputs(model, datasets, GOLDEN)
    known = calibration_samples(model, datasets)
    if isinstance(pre, TextPre) or known.shape[1:] != golden.shape[1:]:
        return ParityQueries(golden, 0, 0)
    chosen = known[np.sort(np.random.default_rng(SEED).permutation(len(known))[:PROBE])]
    drawn = drawn_queries(known, pre.kind, PROBE, SEED)
    parts = [golden, drawn.astype(golden.dtype), chosen.astype(golden.dtype)]
    return ParityQueries(np.concatenate(parts), len(drawn), len(chosen))


def calibration_inputs(model: ModelFolder, pre: PreSpec, datasets: Path) -> NDArray[np.float32]:
    """Return model inputs to calibrate int8 with, spread evenly over the calibration samples.

    Raises:
        UnusableData: The model names no samples, or they cannot be used.
    """
    if model.spec.data is None:
        raise UnusableData(
            f"int8 calibrates, and {model.identity} names no samples: add `data` to its model.yaml, or import it with "
            f"--data"
        )
    if model.takes_text or pre.input.dtype in WHOLE_TENSORS:
        raise UnusableModel(f"{model.identity}: int8 calibrates a float input, and this model takes whole numbers")
    if not _is_runnable(model):
        raise UnusableModel(f"{model.identity}: convert it to float onnx first; its samples are checked against that")
    known = calibration_samples(model, datasets)
    rows = np.linspace(0, len(known) - 1, min(len(known), CALIBRATION_SAMPLES)).round().astype(np.int64)
    return prepare(pre, known[rows])


def source_pre(model: ModelFolder, source: str) -> tuple[PreSpec, FormatEntry | None]:
    """Return how a source takes its inputs, and the entry of the file that says so; null where none does.

    A torch or Keras source is taken to have the axes of the exported file beside it.

    Raises:
        UnusableModel: Neither a file nor the declared pipeline tells the shape, or the model takes text.
    """
    for form in (source, "onnx", "tflite"):
        for known, entry in model.spec.formats.items():
            if known == form:
                return model.pipeline(form).pre, entry
    if model.takes_text:
        raise UnusableModel(
            f"{model.identity} takes text, and nothing says which inputs its {source} source has: import its ONNX file"
        )
    return _declared_pre(model), None


def made_up_queries(model: ModelFolder, pre: PreSpec, count: int) -> Queries:
    """Return seeded queries that the pipeline takes, of a model that names no samples."""
    random = np.random.default_rng(SEED)
    if isinstance(pre, TextPre):
        tokeniser = model.inside(pre.tokeniser, "pre.tokeniser")
        return made_up_texts(pre, tokeniser, (min(count, GOLDEN), 4 * pre.length), SEED)
    if isinstance(pre, ImagePre):
        return random.integers(0, 256, (count, pre.height, pre.width, pre.channels), dtype=np.uint8)
    if isinstance(pre, AudioPre):
        return random.integers(-(2**14), 2**14, (count, pre.samples), dtype=np.int16)
    if isinstance(pre, SeriesPre):
        shape: tuple[int, ...] = (pre.channels, pre.length + pre.difference)
    else:
        shape = (pre.features,) if isinstance(pre, TablePre) else pre.input.shape[1:]
    return random.normal(0, 1, (count, *shape)).astype(np.float32)


def _is_runnable(model: ModelFolder) -> bool:
    """Return whether there is a file to check samples against."""
    return bool(model.formats.keys() & {"onnx", "tflite"})


def _declared_pre(model: ModelFolder) -> PreSpec:
    """Return the declared pre-processing with the input that follows from it."""
    declared = model.spec.pre
    if declared.get("kind") == "tensor":
        raise UnusableModel(
            f"{model.identity}: nothing tells the shape of its input; export it to ONNX and name that file in formats"
        )
    shape = declared_shape(_PRE.validate_python({**declared, "input": _any_input(declared)}))
    return _PRE.validate_python({**declared, "input": {"name": "input", "shape": [-1, *shape], "dtype": "float32"}})  # type: ignore[no-any-return]


def _any_input(declared: dict[str, Any]) -> dict[str, Any]:
    axes = 4 if declared.get("kind") == "image" else 1
    return {"name": "input", "shape": [-1] * axes, "dtype": "float32"}
