"""The kernels of audio features: what a worker calls.

`audio_features` does the whole way for transforms of our own (`tables.radices_of`). For other lengths numpy's stands
between `audio_frames` and `audio_bands`, sixteen frames at a time.
"""

import numpy as np
from numpy.typing import NDArray

from agent.inference.kernels.audio.bands import put, sum_bands, take_logarithms
from agent.inference.kernels.audio.fourier import power_of_complex, power_of_real, transform
from agent.inference.kernels.audio.framing import take_frames
from agent.inference.kernels.audio.lanes import LANES
from agent.inference.kernels.compiled import kernel

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Indices = NDArray[np.int64]


@kernel(
    "void(float32[::1], float32[::1], int64[::1], float32[::1], float32[::1], int64[::1], float32[::1], float32[::1],"
    " int64[:, ::1], float32[::1], float32[::1], float32[::1], float64[::1])"
)
def audio_features(
    wave: Floats,
    window: Floats,
    steps: Indices,
    factors: Floats,
    turns: Floats,
    order: Indices,
    data: Floats,
    power: Floats,
    runs: Indices,
    weights: Floats,
    bands: Floats,
    numbers: Floats,
    out: Doubles,
) -> None:
    """Waveform -> bands of all frames.

    Args:
        wave: With margins, and long enough for a multiple of sixteen frames.
        window: Shape (window length,).
        steps: Hop, rows of zeros before the window, preparation, first frame (unused here), `LANES`; see `take_frames`.
        factors, turns, order: Tables of the transform.
        data: Room for sixteen frames, shape (transform length * 16,).
        power: Room for their power, shape ((frequencies + `bands.SPARE`) * 16,).
        runs, weights: Bands as sums of frequencies.
        bands: Room for the bands, shape (bands * 16,).
        numbers: Emphasis, floor, factor of the logarithm (0: none).
        out: Result, flat of (bands, frames).
    """
    frames = out.shape[0] // (bands.shape[0] // LANES)
    for first in range(0, frames, LANES):
        take_frames(wave, window, steps, numbers[0], first, data, power)
        transform(data, factors, power, steps[4])
        power_of_real(data, order, turns, power)
        sum_bands(power, runs, weights, bands, steps[4])
        take_logarithms(bands, numbers[1], numbers[2])
        put(bands, first, frames, out)


@kernel("void(float32[::1], float32[::1], int64[::1], float32[::1], float32[::1], float32[::1])")
def audio_frames(wave: Floats, window: Floats, steps: Indices, numbers: Floats, data: Floats, power: Floats) -> None:
    """Frames from `steps[3]` on, windowed, sixteen side by side; arguments as in `audio_features`."""
    take_frames(wave, window, steps, numbers[0], steps[3], data, power)


@kernel(
    "void(float32[::1], int64[::1], int64[::1], float32[::1], int64[:, ::1], float32[::1], float32[::1], float32[::1],"
    " float64[::1])"
)
def audio_bands(
    spectra: Floats,
    places: Indices,
    steps: Indices,
    power: Floats,
    runs: Indices,
    weights: Floats,
    bands: Floats,
    numbers: Floats,
    out: Doubles,
) -> None:
    """Bands of sixteen frames from `steps[3]` on.

    Args:
        spectra: Real and imaginary parts, flat of (frequencies, 16, 2).
        places: Row of each frequency's power.
        steps, power, runs, weights, bands, numbers, out: As in `audio_features`.
    """
    power_of_complex(spectra, places, power)
    sum_bands(power, runs, weights, bands, steps[4])
    take_logarithms(bands, numbers[1], numbers[2])
    put(bands, steps[3], out.shape[0] // (bands.shape[0] // LANES), out)


@kernel("void(float64[:, ::1], float64[:, ::1], float64[:, ::1])")
def audio_cosines(cosines: Doubles, values: Doubles, out: Doubles) -> None:
    """Matrix product: (coefficients, bands) times (bands, frames) -> (coefficients, frames)."""
    for row in range(out.shape[0]):
        for frame in range(out.shape[1]):
            out[row, frame] = 0.0
        for band in range(values.shape[0]):
            weight = cosines[row, band]
            for frame in range(out.shape[1]):
                out[row, frame] += weight * values[band, frame]
