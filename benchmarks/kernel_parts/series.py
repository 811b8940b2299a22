"""Windows of a series against numpy's `sliding_window_view`, single thread.

Decides: what is compared. Ours is the whole `cut_recording`: checks, float64, statistics, windows of float32. The peer
takes the view's mean and deviation, normalises, and copies into the contiguous float32 array that a model needs. Both
fill an array that is there already, as an engine's input buffer is.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import Claim, at_least
from wire import spec

Windows = NDArray[np.float32]

GOAL = 10.0
EPSILON = 1e-8


@dataclass(frozen=True)
class Setting:
    """A recording, and how it is cut."""

    name: str
    channels: int
    points: int
    length: int
    hop: int


SETTINGS = (
    Setting("1 channel of 100,000 points, windows of 256", 1, 100_000, 256, 1),
    Setting("1 channel of 100,000 points, windows of 256", 1, 100_000, 256, 16),
    Setting("accelerometer and gyroscope, 5 min at 50 Hz, windows of 128", 6, 15_000, 128, 1),
    Setting("accelerometer and gyroscope, 5 min at 50 Hz, windows of 128", 6, 15_000, 128, 64),
    Setting("accelerometer and gyroscope, 1 h at 50 Hz, windows of 128", 6, 180_000, 128, 64),
)


def claims(quick: bool) -> list[Claim]:
    """Return one claim a setting."""
    return [against_numpy(setting, 7 if quick else 31) for setting in SETTINGS]


def against_numpy(setting: Setting, rounds: int) -> Claim:
    """Return the claim on the time of numpy's windows over that of ours."""
    from agent.inference.recording import cut_recording

    tensor = spec.TensorSpec(name="x", shape=(-1, setting.channels, setting.length))
    normalise = spec.ZScore(epsilon=EPSILON)
    pre = spec.SeriesPre(channels=setting.channels, length=setting.length, normalise=normalise, input=tensor)
    recording = np.random.default_rng(3).normal(size=(setting.channels, setting.points)) + 20.0
    shape = ((setting.points - setting.length) // setting.hop + 1, setting.channels, setting.length)
    our_windows, peer_windows = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    ours = partial(cut_recording, pre, recording, setting.hop, our_windows)
    peer = partial(numpy_windows, recording, setting.length, setting.hop, peer_windows)
    difference = float(np.abs(ours() - peer()).max())
    ours_s, peer_s = interleaved(ours, peer, rounds)
    how = f"medians, {ours_s * 1e3:.3f} ms against {peer_s * 1e3:.3f} ms; results differ by at most {difference:.1e}"
    name = f"z-scores, {setting.name} each {setting.hop}, against numpy"
    return at_least(name, peer_s / ours_s, GOAL, "x", how)


def numpy_windows(recording: NDArray[np.float64], length: int, hop: int, out: Windows) -> Windows:
    """Put normalised windows into `out`, shape (windows, channels, length), as numpy's users write it."""
    view = np.lib.stride_tricks.sliding_window_view(recording, length, axis=1)[:, ::hop]
    deviation = np.maximum(view.std(axis=2, keepdims=True), EPSILON)
    normal = (view - view.mean(axis=2, keepdims=True)) / deviation
    np.copyto(out, normal.transpose(1, 0, 2), casting="same_kind")
    return out


def interleaved(ours: Callable[[], Any], peer: Callable[[], Any], rounds: int) -> tuple[float, float]:
    """Return the median time of each [s]; they take turns."""
    times_s: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for call, taken in zip((ours, peer), times_s, strict=True):
            start = time.perf_counter()
            call()
            taken.append(time.perf_counter() - start)
    return statistics.median(times_s[0]), statistics.median(times_s[1])
