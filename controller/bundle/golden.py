"""How closely a device must repeat the golden outputs, per precision, and why.

Decides: the tolerances that go into a bundle. Leaves out: the rule itself (`wire.manifest.GoldenSpec`) and the inputs
(`controller/models/samples.py`).

Float kernels add in another order on another processor: a few units in the last place, amplified by depth. Integer
kernels round at other places, and x86 without VNNI saturates u8s8 products: an output may then move by several
quantisation steps, so int8 variants are held to the signal-to-noise ratio and the arg max instead.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wire.manifest import GoldenSpec
from wire.spec import Pipeline


@dataclass(frozen=True)
class Tolerance:
    """`relative` is of an output's own size; `of_peak` of the largest output, the share that noise may always take."""

    relative: float
    of_peak: float
    sqnr_db: float
    top1_agreement_ratio: float
    because: str


TOLERANCES: Mapping[str, Tolerance] = {
    "float32": Tolerance(1e-3, 1e-4, 50.0, 1.0, "float32 sums in another order differ by 1e-6 a layer"),
    "float16": Tolerance(1e-2, 5e-3, 35.0, 0.9, "half precision keeps 11 bits: 5e-4 a layer"),
    "int8-weights": Tolerance(1e-3, 1e-4, 50.0, 1.0, "computed in float32 on weights that are the same everywhere"),
    "int4-weights": Tolerance(2e-2, 3e-2, 20.0, 0.9, "engines may quantise what is multiplied with such weights"),
    "int8": Tolerance(2e-2, 3e-2, 20.0, 0.9, "integer kernels round differently; u8s8 saturates without VNNI"),
    "int8-dynamic": Tolerance(2e-2, 3e-2, 20.0, 0.9, "activations are quantised by the device itself"),
}


def golden_spec(precision: str, outputs: NDArray[np.float32], pipeline: Pipeline) -> GoldenSpec:
    """Return the rule for a variant's golden outputs.

    Args:
        precision: As in `Variant`.
        outputs: What the variant gave here, float32, shape (samples, …), samples >= 1.
        pipeline: A quantised output may move by one step whatever the precision.
    Raises:
        KeyError: A precision without tolerances.
    """
    tolerance = TOLERANCES[precision]
    peak = float(np.abs(outputs).max())
    output = pipeline.post.output
    step = output.quantisation.scale if output.quantisation is not None else 0.0
    return GoldenSpec(
        samples=len(outputs),
        absolute=max(tolerance.of_peak * peak, step, 1e-6),
        relative=tolerance.relative,
        sqnr_db=tolerance.sqnr_db,
        top1_agreement_ratio=tolerance.top1_agreement_ratio,
    )
