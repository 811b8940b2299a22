"""How far a conversion's outputs lie from its source's, and how far they may.

Decides: the measures and the limits. Leaves out: which queries are compared and who runs either side
(`controller/convert/making/judge.py`). Pure.

>>> import numpy as np
>>> compare(np.array([[1.0, 0.0]]), np.array([[0.9, 0.0]]), "classification").sqnr_db
20.0
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wire.spec import Kind

    Array = NDArray[Any]

LOWEST_SQNR_DB = -200.0
"""What stands for less: JSON carries no infinity."""


@dataclass(frozen=True)
class Parity:
    """What the comparison gave.

    sqnr_db: power of the source's outputs over that of the difference [dB], over all queries; None where nothing
    differs. top1_agreement_ratio: share of queries whose largest output is the same one; classification only.
    largest_difference: of any output, absolute, in the model's raw output. samples: queries compared.
    """

    sqnr_db: float | None
    top1_agreement_ratio: float | None
    largest_difference: float
    samples: int


@dataclass(frozen=True)
class Limits:
    """What a conversion must reach to be deployed."""

    sqnr_db: float
    top1_agreement_ratio: float


_FLOAT = Limits(70.0, 0.99)
_HALF = Limits(35.0, 0.97)
_INTEGER = Limits(12.0, 0.85)

LIMITS: Mapping[tuple[str, str], Limits] = {
    # float32 rounds at 2^-24 (144 dB). Engines add in another order and fold batch normalisation into weights, which
    # costs up to 40 dB; what was converted right reached 130 dB. Below 70 dB something else was computed.
    ("onnx", "float"): _FLOAT,
    ("tflite", "float"): _FLOAT,
    ("executorch", "float"): _FLOAT,
    # Half precision rounds at 2^-11 (66 dB), in each weight and, where the engine computes so, in each activation:
    # 49 to 72 dB were reached. Below 35 dB something overflowed (half precision ends at 65,504).
    ("onnx", "fp16"): _HALF,
    ("tflite", "fp16"): _HALF,
    ("executorch", "fp16"): _HALF,
    ("tensorrt", "fp16"): _HALF,
    # 8 bits give 50 dB to a tensor that fills its range and lose several a layer: 19 to 37 dB were reached on what was
    # calibrated on, 16 to 18 with golden queries that lie outside, where activations saturate. So the limit is one for
    # broken files (wrong layout, wrong scale: 4 dB or less); what int8 costs is decided on labelled samples.
    ("onnx", "int8"): _INTEGER,
    ("tflite", "int8"): _INTEGER,
    ("executorch", "int8"): _INTEGER,
    ("tensorrt", "int8"): _INTEGER,
}
"""By target and precision."""

WEIGHT_LIMITS_DB: Mapping[str, float] = {
    # Nothing is rounded: all float32 values are kept, and 144 dB is what one rounding would leave.
    "float": 140.0,
    # Half precision rounds at 2^-11: 70 to 77 dB were seen; less means values that it does not hold.
    "fp16": 60.0,
    # 8 bits over a channel's range leave 42 dB or more for weights of a normal distribution, whose extremes are wide.
    "int8": 30.0,
    # A palette of 64, 16 values, one for the whole tensor: 29 and 19 dB were seen; a bit is worth 6 dB.
    "pal6": 22.0,
    "pal4": 12.0,
}
"""For Core ML, by precision: signal to noise of the worst stored weight against the float program's [dB]."""


def compare(source_outputs: Array, outputs: Array, kind: Kind) -> Parity:
    """Return how far `outputs` lie from `source_outputs`.

    Args:
        source_outputs: Of the source, shape (n, …), n >= 1.
        outputs: Of the conversion, over the same queries.
        kind: What the model does; the largest output means something for classification only.
    Raises:
        ValueError: Another number of queries or of outputs, or a value that is NaN or infinite; the text says which.
    """
    import numpy as np

    exact, given = _rows(source_outputs, "the source"), _rows(outputs, "the conversion")
    if exact.shape != given.shape:
        raise ValueError(f"the conversion gives outputs of shape {outputs.shape}, the source {source_outputs.shape}")
    difference = np.abs(given - exact)
    agree = exact.argmax(axis=1) == given.argmax(axis=1) if kind == "classification" else None
    return Parity(
        sqnr_db=sqnr_db(exact, given),
        top1_agreement_ratio=None if agree is None else float(agree.mean()),
        largest_difference=float(difference.max()),
        samples=len(exact),
    )


def sqnr_db(exact: Array, given: Array) -> float | None:
    """Return the power of `exact` over that of the difference [dB], at least `LOWEST_SQNR_DB`; None: none differs."""
    import numpy as np

    noise = float(np.square(given.astype(np.float64) - exact).sum())
    power = float(np.square(exact.astype(np.float64)).sum())
    if noise == 0.0:
        return None
    return max(LOWEST_SQNR_DB, 10.0 * float(np.log10(power / noise))) if power > 0 else LOWEST_SQNR_DB


def fault(parity: Parity, limits: Limits) -> str | None:
    """Return why a conversion is not to be deployed, or null where it keeps both limits."""
    if parity.sqnr_db is not None and parity.sqnr_db < limits.sqnr_db:
        return (
            f"its outputs reach {parity.sqnr_db:.1f} dB against the source's, at least {limits.sqnr_db:g} are needed "
            f"(largest difference {parity.largest_difference:.3g} over {parity.samples} queries)"
        )
    agreement = parity.top1_agreement_ratio
    if agreement is not None and agreement < limits.top1_agreement_ratio:
        return (
            f"its largest output is the source's in {agreement:.1%} of {parity.samples} queries, "
            f"at least {limits.top1_agreement_ratio:.1%} are needed"
        )
    return None


def _rows(outputs: Array, whose: str) -> Array:
    """Return outputs as one row a query, float64."""
    import numpy as np

    if outputs.ndim == 0 or len(outputs) == 0:
        raise ValueError(f"{whose} gave no outputs")
    rows = outputs.reshape(len(outputs), -1).astype(np.float64)
    if not np.isfinite(rows).all():
        query = int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])
        raise ValueError(f"{whose} gives NaN or infinite outputs, first for query {query}")
    return rows
