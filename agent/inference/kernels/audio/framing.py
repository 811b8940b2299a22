"""From a waveform to sixteen windowed frames side by side.

Decides: where frames lie and how each convention prepares one. Leaves out: padding (the waveform comes with its
margins), windows (`tables.py`).
"""

import numpy as np
from numpy.typing import NDArray

from agent.inference.kernels.audio.lanes import LANES, U
from agent.inference.kernels.compiled import inner

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]

_NEXT = U(LANES)
_NOTHING = np.float32(0.0)


@inner
def take_frames(
    wave: Floats, window: Floats, steps: Indices, emphasis: np.float32, first: int, data: Floats, spare: Floats
) -> None:
    """Put frame `first` and the fifteen behind it into `data`, a row of `LANES` for each sample of the transform.

    Args:
        wave: Long enough for sixteen frames.
        window: Shape (window length,).
        steps: Hop, rows of zeros before the window, whether frames are prepared as Kaldi does (1) or not (0); the
            last is `LANES`, see `lanes.py`.
        emphasis: Share of the sample before that Kaldi takes off each one.
        first: Frame of the first lane.
        data: Result, flat.
        spare: Room for two rows.
    """
    hop, lead, length = steps[0], steps[1], window.shape[0]
    clear(data, 0, lead * LANES)
    clear(data, (lead + length) * LANES, data.shape[0])
    if steps[2] == 1:
        gather(wave, first * hop, hop, length, data)
        take_means(data, length, spare, steps[4])
        emphasise(data, window, emphasis, spare, steps[4])
    else:
        gather_windowed(wave, first * hop + lead, hop, window, lead, data)


@inner
def clear(data: Floats, start: int, stop: int) -> None:
    for index in range(start, stop):
        data[U(index)] = _NOTHING


@inner
def gather(wave: Floats, start: int, hop: int, length: int, data: Floats) -> None:
    """Put each lane's samples under each other, lane l's from start + l * hop on."""
    for sample in range(length):
        row, source = U(sample * LANES), U(start + sample)
        for lane in range(LANES):
            data[row + U(lane)] = wave[source + U(lane) * U(hop)]


@inner
def take_means(data: Floats, length: int, means: Floats, lanes: int) -> None:
    """Put each lane's mean into `means`."""
    clear(means, 0, LANES)
    for sample in range(length):
        row = U(sample * LANES)
        for lane in range(lanes):
            means[U(lane)] += data[row + U(lane)]
    for lane in range(LANES):
        means[U(lane)] /= np.float32(length)


@inner
def gather_windowed(wave: Floats, start: int, hop: int, window: Floats, lead: int, data: Floats) -> None:
    """As `gather`, times the window, `lead` rows further down."""
    for sample in range(window.shape[0]):
        row, source, weight = U((lead + sample) * LANES), U(start + sample), window[sample]
        for lane in range(LANES):
            data[row + U(lane)] = wave[source + U(lane) * U(hop)] * weight


@inner
def emphasise(data: Floats, window: Floats, share: np.float32, spare: Floats, lanes: int) -> None:
    """With y = x - mean: y[n] - share * y[n - 1], and y[0] - share * y[0], times the window; in place.

    `spare` holds the means, and behind them y[n - 1] of each lane.
    """
    for lane in range(LANES):
        spare[U(lane) + _NEXT] = data[U(lane)] - spare[U(lane)]
    for sample in range(window.shape[0]):
        row, weight = U(sample * LANES), window[sample]
        for lane in range(lanes):
            i, j = row + U(lane), U(lane) + _NEXT
            value = data[i] - spare[U(lane)]
            data[i] = (value - share * spare[j]) * weight
            spare[j] = value
