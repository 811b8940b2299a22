"""Windows of a series against numpy's `sliding_window_view`, single thread.

Decides: what is compared. Ours is the whole `cut_recording`: checks, float64, statistics, windows of float32. The peer
takes the view's mean and deviation, normalises, and copies into the contiguous float32 array that a model needs. Both
fill an array that is there already, as an engine's input buffer is. numpy allocates large arrays on the way: here in a
process whose allocator keeps memory, the faster case for it; in one that gives it back and gets it page by page, numpy
takes up to three times as long for the shorter recording.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import Claim
from benchmarks.kernel_parts.timing import COLD, TURN, Profile, held, interleaved, memory_calls, timed
from wire import spec

Doubles = NDArray[np.float64]
Windows = NDArray[np.float32]

GOAL = 10.0
EPSILON = 1e-8
LONG_TURN, LONG_COLD = 3, 1
KEPT_BYTES = 24 * 1024 * 1024
"""A block of this size, once it was freed, makes glibc keep blocks up to that size."""


@dataclass(frozen=True)
class Setting:
    """A recording, and how it is cut."""

    name: str
    channels: int
    points: int
    length: int
    hop: int

    @property
    def shape(self) -> tuple[int, int, int]:
        return (self.points - self.length) // self.hop + 1, self.channels, self.length

    @property
    def turn(self) -> tuple[int, int]:
        """Calls of a turn, and how many do not count: results that no cache holds are as cold in each call."""
        return (TURN, COLD) if 4 * math.prod(self.shape) < KEPT_BYTES else (LONG_TURN, LONG_COLD)


SETTINGS = (
    Setting("1 channel of 100,000 points, windows of 256", 1, 100_000, 256, 1),
    Setting("1 channel of 100,000 points, windows of 256", 1, 100_000, 256, 16),
    Setting("accelerometer and gyroscope, 5 min at 50 Hz, windows of 128", 6, 15_000, 128, 1),
    Setting("accelerometer and gyroscope, 5 min at 50 Hz, windows of 128", 6, 15_000, 128, 64),
    Setting("accelerometer and gyroscope, 1 h at 50 Hz, windows of 128", 6, 180_000, 128, 64),
)


def claims(quick: bool) -> list[Claim]:
    """Return one claim a setting."""
    np.ones(KEPT_BYTES, np.uint8).sum()
    return [against_numpy(setting, 3 if quick else 12) for setting in SETTINGS]


def against_numpy(setting: Setting, rounds: int) -> Claim:
    """Return the claim on the time of numpy's windows over that of ours."""
    from agent.inference.recording import cut_recording

    tensor = spec.TensorSpec(name="x", shape=(-1, setting.channels, setting.length))
    normalise = spec.ZScore(epsilon=EPSILON)
    pre = spec.SeriesPre(channels=setting.channels, length=setting.length, normalise=normalise, input=tensor)
    recording = np.random.default_rng(3).normal(size=(setting.channels, setting.points)) + 20.0
    our_windows, peer_windows = np.zeros(setting.shape, np.float32), np.zeros(setting.shape, np.float32)
    ours = partial(cut_recording, pre, recording, setting.hop, our_windows)
    peer = partial(numpy_windows, recording, setting.length, setting.hop, peer_windows)
    differ = f"results differ by at most {float(np.abs(ours() - peer()).max()):.1e}"
    calls = [timed(call) for call in (ours, peer, kernels_alone(setting, recording))]
    calls += memory_calls(recording, our_windows)
    ours_s, peer_s, alone_s, read_s, write_s = interleaved(calls, rounds, *setting.turn)
    parts = {"kernels": alone_s, "the call around them": max(ours_s - alone_s, 0.0)}
    profile = Profile(parts, {"reading the recording once": read_s, "filling the windows": write_s})
    name = f"z-scores, {setting.name} each {setting.hop}, against numpy"
    return held(name, (ours_s, peer_s), GOAL, differ, profile)


def kernels_alone(setting: Setting, recording: Doubles) -> Callable[[], Any]:
    """Return what `cut_recording` calls, with its arrays looked at before."""
    from agent.inference.kernels.windows import blocks, sliding

    channels, length, hop, out = setting.channels, setting.length, setting.hop, np.zeros(setting.shape, np.float32)
    rule, size = np.array([0.0, EPSILON]), blocks.block_size(length, hop)
    if size < length:
        room = blocks.block_room(channels, len(out), length, hop)
        return blocks.cut_blocks.bind(recording, hop, size, rule, room, out)
    normal = np.zeros((len(out), channels, 3))
    steps = (
        blocks.count_unusable.bind(recording),
        sliding.sliding_deviations.bind(recording, length, hop, rule, np.zeros((3, length)), normal),
        sliding.cut_windows.bind(recording, hop, normal, out),
    )

    def call() -> None:
        for step in steps:
            step()

    return call


def numpy_windows(recording: Doubles, length: int, hop: int, out: Windows) -> Windows:
    """Put normalised windows into `out`, shape (windows, channels, length), as numpy's users write it."""
    view = np.lib.stride_tricks.sliding_window_view(recording, length, axis=1)[:, ::hop]
    deviation = np.maximum(view.std(axis=2, keepdims=True), EPSILON)
    normal = (view - view.mean(axis=2, keepdims=True)) / deviation
    np.copyto(out, normal.transpose(1, 0, 2), casting="same_kind")
    return out
