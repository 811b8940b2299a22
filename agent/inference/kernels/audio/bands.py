"""From power to bands, their logarithm, and coefficients."""

import numpy as np
from numpy.typing import NDArray

from agent.inference.kernels.audio.lanes import LANES, ROW, U
from agent.inference.kernels.compiled import inner

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Indices = NDArray[np.int64]

SPARE = 8
"""Rows behind the power of the last frequency, which sums of four may read (and count as nothing)."""

_ROW, _TWO_ROWS, _THREE_ROWS = U(ROW), U(2 * ROW), U(3 * ROW)
_ONE = np.float32(1.0)
_TWO = np.float32(2.0)
_THIRD, _FIFTH, _SEVENTH, _NINTH = np.float32(1 / 3), np.float32(1 / 5), np.float32(1 / 7), np.float32(1 / 9)
_LN2 = np.float32(np.log(2.0))
_ROOT_HALF_BITS = np.int32(0x3F3504F3)
"""The bits of float32 sqrt(1/2)."""
_FRACTION_BITS = np.int32(23)


@inner
def sum_bands(power: Floats, runs: Indices, weights: Floats, bands: Floats, lanes: int) -> None:
    """Weighted sums of frequencies, four at a time.

    Args:
        power: A row of `LANES` for each frequency.
        runs, weights: As `tables.bands_of` makes them.
        bands: Result, a row for each band.
        lanes: `LANES`, see `lanes.py`.
    """
    for index in range(bands.shape[0]):
        bands[U(index)] = np.float32(0.0)
    for run in range(runs.shape[0]):
        row, source, at = U(runs[run, 0] * LANES), runs[run, 1] * LANES, runs[run, 3]
        for step in range(runs[run, 2]):
            w0, w1, w2, w3 = weights[at], weights[at + 1], weights[at + 2], weights[at + 3]
            here = U(source + step * 4 * ROW)
            for lane in range(lanes):
                i = here + U(lane)
                near = w0 * power[i] + w1 * power[i + _ROW]
                far = w2 * power[i + _TWO_ROWS] + w3 * power[i + _THREE_ROWS]
                bands[row + U(lane)] += near + far
            at += 4


@inner
def logarithm(value: np.float32) -> np.float32:
    """Natural logarithm of a positive, normal float32, to about an ulp.

    value = m * 2^e with m from sqrt(1/2) to sqrt(2); ln m = 2 artanh(s) with s = (m - 1) / (m + 1), |s| < 0.172, by its
    series: the first term left out is below 1e-9 of the sum.
    """
    bits = np.float32(value).view(np.int32)
    exponent = np.int32(np.int32(bits - _ROOT_HALF_BITS) >> _FRACTION_BITS)
    fraction = np.int32(bits - np.int32(exponent << _FRACTION_BITS)).view(np.float32)
    s = (fraction - _ONE) / (fraction + _ONE)
    z = s * s
    series = _ONE + z * (_THIRD + z * (_FIFTH + z * (_SEVENTH + z * _NINTH)))
    result: np.float32 = np.float32(exponent) * _LN2 + _TWO * s * series
    return result


@inner
def take_logarithms(values: Floats, floor: np.float32, factor: np.float32) -> None:
    """factor * ln(max(value, floor)), in place; a factor of 0 leaves values as they are."""
    if factor == 0:
        return
    for index in range(values.shape[0]):
        value = values[U(index)]
        values[U(index)] = factor * logarithm(value if value > floor else floor)


@inner
def put(bands: Floats, first: int, frames: int, out: Doubles) -> None:
    """Write the lanes that are frames, of `frames` in all, into `out`, flat of (bands, frames)."""
    count = min(LANES, frames - first)
    for band in range(bands.shape[0] // LANES):
        row, target = U(band * LANES), U(band * frames + first)
        for lane in range(count):
            out[target + U(lane)] = bands[row + U(lane)]
