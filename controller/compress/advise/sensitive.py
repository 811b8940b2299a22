"""What quantising costs, operator by operator: the outputs' SQNR when one alone is quantised, and when all are.

Decides: that the scheme is u8u8, which is exact on every processor, with ranges at their extremes. Leaves out: what
follows (`words.py`).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from controller.compress.passes.base import Artifact, PassContext
from controller.compress.passes.quantize_static import quantiser_of
from controller.compress.quantised import mixed

ASKED: Mapping[str, Any] = {
    "scheme": "u8u8", "calibration": "minmax", "percentile": None, "per_channel": True, "reduce_range": False,
    "least_sqnr_db": None, "rounding": "nearest", "bias_correction": False, "samples": 64,
}  # fmt: skip
MOST_OPERATORS = 64


def sensitivity_of(model: Path, context: PassContext) -> tuple[dict[str, float], float]:
    """Return operator -> SQNR of the outputs when it alone is quantised [dB], the lowest first; and when all are.

    Of networks of more than `MOST_OPERATORS` operators with weights, only the second: each is a model that is made.

    Args:
        model: Float ONNX.
        context: With calibration samples.
    Raises:
        UnusableData: There are no samples.
        UnusableModel: It cannot be quantised.
    """
    names, quantise, judge = quantiser_of(Artifact("onnx", model), ASKED, context)
    whole = judge(quantise(frozenset()))
    if len(names) > MOST_OPERATORS:
        return {}, whole
    return mixed.sensitivity(names, quantise, judge), whole
