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
from controller.models.preprocess.normalise import Array
from controller.models.preprocess.series import prepare_series
from controller.models.preprocess.table import prepare_table
from wire.spec import AudioPre, ImagePre, PreSpec, SeriesPre, TablePre

__all__ = ["prepare"]


def prepare(pre: PreSpec, queries: NDArray[Any]) -> Array:
    """Return model inputs for raw queries.

    Args:
        pre: Declared pre-processing.
        queries: Shape (n, ...) as the pipeline takes them.
    Returns:
        float32, shape (n, ...) in the model's layout.
    Raises:
        UnusableData: A shape, NaN or infinity that the pipeline refuses: no rule stands for an infinite reading.
    """
    if np.isinf(queries).any():
        raise UnusableData("infinite values are refused by every pipeline: a missing value is NaN")
    if isinstance(pre, SeriesPre):
        return prepare_series(pre, queries)
    if isinstance(pre, AudioPre):
        return prepare_audio(pre, queries)
    if isinstance(pre, ImagePre):
        return prepare_image(pre, queries)
    if isinstance(pre, TablePre):
        return prepare_table(pre, queries)
    return np.ascontiguousarray(queries, dtype=np.float32)
