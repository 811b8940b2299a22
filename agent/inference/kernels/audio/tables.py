"""The constant tables of audio features, made once when a bundle is opened: windows, factors, filters, cosines.

Decides: their formulas, in float64, rounded to float32 at the end. Leaves out: the kernels that read them.

Sources: librosa's and Kaldi's documentation; Slaney 1998 (Auditory Toolbox) for the mel scale of librosa, O'Shaughnessy
1987 for that of HTK and Kaldi.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from wire.spec import AudioPre

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Indices = NDArray[np.int64]

LARGEST_POWER = 4096
"""Of two, among the factors of a transform's complex rows; `fourier.py` has steps for no larger one."""
SLANEY_LINEAR_HZ, SLANEY_BREAK_HZ, SLANEY_STEP = 200.0 / 3.0, 1000.0, np.log(6.4) / 27.0
"""Width of a mel below the break, where the logarithmic part begins, and the logarithm of a mel's ratio above it."""


def window_of(pre: AudioPre) -> Floats:
    """Return the window, shape (window_length,): periodic in librosa's convention, symmetric in Kaldi's."""
    length = pre.window_length
    turn = 2 * np.pi * np.arange(length) / (length - 1 if pre.convention == "kaldi" else length)
    if pre.window == "hamming":
        return np.asarray(0.54 - 0.46 * np.cos(turn), dtype=np.float32)
    hann = np.maximum(0.5 - 0.5 * np.cos(turn), 0.0)
    return np.asarray(hann**0.85 if pre.window == "povey" else hann, dtype=np.float32)


def radices_of(rows: int) -> list[int]:
    """Return the steps of a transform of `rows` complex rows, in order; empty: it has factors that no step takes."""
    found, left = [], rows
    for radix in (5, 3):
        while left % radix == 0:
            found.append(radix)
            left //= radix
    if left.bit_count() != 1 or left > LARGEST_POWER:
        return []
    odd = left.bit_length() % 2 == 0
    return found + [2] * odd + [4] * ((left.bit_length() - 1) // 2)


def factors_of(rows: int) -> Floats:
    """Return the factors of all steps of a transform, each as real and imaginary part, in reading order.

    A step of radix r on blocks of n rows reads (r - 1) n / r of them: those of all steps before it are the rows less n.
    """
    parts, left = [np.zeros(0, dtype=np.complex128)], rows
    for radix in radices_of(rows):
        turn = np.outer(np.arange(left // radix), np.arange(1, radix))
        parts.append(np.exp(-2j * np.pi * turn / left).reshape(-1))
        left //= radix
    return _pairs(np.concatenate(parts))


def turns_of(rows: int) -> Floats:
    """Return exp(-i pi k / rows) for k up to the middle: they part even and odd samples of a real frame."""
    return _pairs(np.exp(-1j * np.pi * np.arange(rows // 2 + 1) / rows))


def order_of(rows: int) -> Indices:
    """Return the row at which a transform of `rows` leaves each frequency.

    The first step's digit is a frequency's lowest, and picks the block of rows.
    """
    found, left = np.zeros(1, dtype=np.int64), rows
    for radix in radices_of(rows):
        left //= radix
        found = (found[np.newaxis] + left * np.arange(radix)[:, np.newaxis]).reshape(-1)
    return found


def mel_of(hz: Doubles, scale: str) -> Doubles:
    """Return frequencies on the mel scale `slaney` or `htk`."""
    if scale == "htk":
        return np.asarray(1127.0 * np.log1p(hz / 700.0))
    line = hz / SLANEY_LINEAR_HZ
    bent = SLANEY_BREAK_HZ / SLANEY_LINEAR_HZ + np.log(np.maximum(hz, 1e-9) / SLANEY_BREAK_HZ) / SLANEY_STEP
    return np.asarray(np.where(hz < SLANEY_BREAK_HZ, line, bent))


def hz_of(mel: Doubles, scale: str) -> Doubles:
    """Return the frequencies [Hz] of points on the mel scale."""
    if scale == "htk":
        return np.asarray(700.0 * np.expm1(mel / 1127.0))
    start = SLANEY_BREAK_HZ / SLANEY_LINEAR_HZ
    return np.asarray(
        np.where(mel < start, mel * SLANEY_LINEAR_HZ, SLANEY_BREAK_HZ * np.exp(SLANEY_STEP * (mel - start)))
    )


def mel_filters(pre: AudioPre) -> Iterator[Doubles]:
    """Yield each triangle's weights, shape (frequencies,), straight in Hz (librosa) or in mel (Kaldi)."""
    low, high = mel_of(np.array([pre.low_hz, pre.high_hz or pre.sample_rate_hz / 2]), pre.mel_scale)
    corners = np.linspace(low, high, pre.mel_bins + 2)
    hz = np.arange(pre.fft_length // 2 + 1) * pre.sample_rate_hz / pre.fft_length
    in_mel = pre.convention == "kaldi"
    points, edges = (mel_of(hz, pre.mel_scale), corners) if in_mel else (hz, hz_of(corners, pre.mel_scale))
    for left, middle, right in zip(edges[:-2], edges[1:-1], edges[2:], strict=True):
        weights = np.minimum((points - left) / (middle - left), (right - points) / (right - middle))
        yield np.maximum(weights, 0.0) * (2.0 / (right - left) if pre.mel_norm == "area" else 1.0)


def power_row(frequencies: int) -> Indices:
    """Return the row at which the power of each frequency stands: low ones in even rows, high ones in odd rows back."""
    k = np.arange(frequencies)
    last = frequencies - 1
    return np.where(k <= last // 2, 2 * k, 2 * (last - k) + 1)


def bands_of(pre: AudioPre) -> tuple[Indices, Floats, int]:
    """Return the bands as sums of the power's rows, and how many bands there are.

    A run goes over every second row, in fours, filled up with weights of 0.

    Returns:
        Band, first row, number of fours and place of the first weight, shape (runs, 4); the weights, flat; bands.
    """
    rows = power_row(pre.fft_length // 2 + 1)
    if pre.features == "power":
        number = np.arange(rows.size)
        runs = np.stack([number, rows, np.ones_like(number), 4 * number], axis=1)
        return runs, np.tile(np.array([1, 0, 0, 0], dtype=np.float32), rows.size), rows.size
    found: list[tuple[int, int, int, int]] = []
    kept, at = [np.zeros(0)], 0
    for band, weights in enumerate(mel_filters(pre)):
        spread = np.zeros(rows.max() + 1)
        spread[rows] = weights
        for parity in (0, 1):
            if (run := _run_of(spread[parity::2])) is not None:
                found.append((band, parity + 2 * run[0], run[1].size // 4, at))
                kept.append(run[1])
                at += run[1].size
    return np.array(found, dtype=np.int64).reshape(-1, 4), np.concatenate(kept).astype(np.float32), pre.mel_bins


def _run_of(weights: Doubles) -> tuple[int, Doubles] | None:
    """Return where the weights that are not 0 begin, and they, filled up to fours."""
    places = np.flatnonzero(weights)
    if not places.size:
        return None
    part = weights[places[0] : places[-1] + 1]
    return int(places[0]), np.pad(part, (0, -part.size % 4))


def cosines_of(pre: AudioPre) -> Doubles:
    """Return the orthonormal DCT-II with the lifter in it, shape (coefficients, mel bins).

    librosa's lifter counts coefficients from 1, Kaldi's from 0.
    """
    number = np.arange(pre.coefficients)[:, np.newaxis]
    place = np.arange(pre.mel_bins)[np.newaxis] + 0.5
    matrix = np.cos(np.pi * number * place / pre.mel_bins) * np.sqrt(2.0 / pre.mel_bins)
    matrix[0] = np.sqrt(1.0 / pre.mel_bins)
    if pre.lifter > 0:
        counted = number + (pre.convention == "librosa")
        matrix *= 1.0 + 0.5 * pre.lifter * np.sin(np.pi * counted / pre.lifter)
    return np.asarray(matrix)


def _pairs(numbers: NDArray[np.complex128]) -> Floats:
    return np.stack([numbers.real, numbers.imag], axis=-1).reshape(-1).astype(np.float32)
