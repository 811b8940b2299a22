"""The pre-processing of `wire.spec` in plain numpy, for calibration data made on the controller.

Decides: nothing of its own; it follows the declared pipeline up to the cast, in float32, before quantisation (a pass
calibrates the float model). It is also what the agent's kernels are held against by tests: written for clarity, never
for speed. Leaves out: the devices, where the agent's kernels do this.

    prepare(pipeline.pre, queries)  # (n, 1, 427) as sent -> (n, 1, 427) as the model takes it
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from controller.errors import UnusableData
from controller.models.preprocess.audio import prepare_audio
from controller.models.preprocess.image import prepare_image
from controller.models.preprocess.series import prepare_series
from controller.models.preprocess.table import prepare_table
from controller.models.queries import WHOLE_TENSORS, check_queries, check_values
from wire.spec import AudioPre, ImagePre, PreSpec, SeriesPre, TablePre, TensorPre
from wire.spec.normalise import LARGEST_NUMBER

__all__ = ["prepare"]


def prepare(pre: PreSpec, queries: NDArray[Any]) -> NDArray[Any]:
    """Return model inputs for raw queries.

    Args:
        pre: Declared pre-processing.
        queries: Shape (n, ...) as the pipeline takes them.
    Returns:
        float32, shape (n, ...) in the model's layout; int32 or int64 for a tensor of such numbers.
    Raises:
        UnusableData: A shape, NaN or infinity that the pipeline refuses: no rule stands for an infinite reading, nor
            for one that is too large to be computed with.
    """
    if np.isinf(queries).any():
        raise UnusableData("infinite values are refused by every pipeline: a missing value is NaN")
    if isinstance(pre, SeriesPre | TablePre) and (np.abs(queries, dtype=np.float64) > LARGEST_NUMBER).any():
        raise UnusableData(f"values beyond {LARGEST_NUMBER:g} are refused: a missing value is NaN")
    with np.errstate(over="ignore"):
        inputs = _prepared(pre, queries)
    if inputs.dtype.kind == "f" and not np.isfinite(inputs).all():
        raise UnusableData("values are not finite after pre-processing: they are too large for the model's input")
    return inputs


def _prepared(pre: PreSpec, queries: NDArray[Any]) -> NDArray[Any]:
    if isinstance(pre, SeriesPre):
        return prepare_series(pre, queries)
    if isinstance(pre, AudioPre):
        return prepare_audio(pre, queries)
    if isinstance(pre, ImagePre):
        return prepare_image(pre, queries)
    if isinstance(pre, TablePre):
        return prepare_table(pre, queries)
    if isinstance(pre, TensorPre):
        check_queries(queries, pre, "queries")
        check_values(queries, pre, "queries")
    whole = pre.input.dtype in WHOLE_TENSORS
    return np.ascontiguousarray(queries, dtype=pre.input.dtype if whole else np.float32)
