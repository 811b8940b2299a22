"""A long recording of a series, cut into overlapping windows and brought to their own scale in one pass.

Decides: that the result is what the pipeline would make of each window by itself, with two differences that a window
cannot know of: missing values are repaired over the whole recording, so that a gap at a window's edge has a neighbour,
and the recording is differenced before it is cut. Leaves out: quartiles, which are not carried from window to window.
Serving does not come here: a query is one window, and a stream keeps its own last points.

    windows = cut_recording(bundle.manifest.pipeline.pre, recording, hop=16)      # (6, 180000) -> (2805, 6, 128)
    for answer in answer_recording(pipeline, pre, recording, hop=16): ...
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.errors import BadBundle, BadQuery
from agent.inference.kernels import series
from agent.inference.kernels.windows import blocks, sliding
from agent.inference.kernels.windows.statistics import difference_series
from agent.inference.pipeline import Pipeline
from agent.inference.post import Answer
from agent.inference.pre.base import UNUSABLE, Buffer, Doubles, refuse_infinities, take
from agent.inference.pre.series import layout_strides
from agent.inference.pre.statistics import Statistics, own
from wire import spec

Windows = NDArray[np.float32]

MOST_AT_ONCE = 512
"""Windows cut at once for answers: a recording's windows together may be a thousand times its size."""


def cut_recording(pre: spec.SeriesPre, recording: NDArray[Any], hop: int, out: Windows | None = None) -> Windows:
    """Return every window of `pre.length` points, one each `hop` points, normalised.

    Args:
        pre: Its `resize` is not looked at; no layout, cast or quantisation is done.
        recording: Shape (channels, points).
        hop: Points from one window's beginning to the next one's.
        out: Gets the result, C-contiguous and of its shape: memory that is used again is much faster than fresh one.
    Returns:
        float32, shape (windows, channels, length).
    Raises:
        BadQuery: The recording is too short, of other channels, or holds what the NaN rule does not take.
        BadBundle: The normalisation needs each window's quartiles.
    """
    values = _taken(pre, recording, hop)
    shape = ((values.shape[1] - pre.difference - pre.length) // hop + 1, pre.channels, pre.length)
    if out is not None and out.shape != shape:
        raise BadQuery(f"expected room for windows of shape {shape}, given {out.shape}")
    room = np.empty(shape, dtype=np.float32) if out is None else out
    if not _cut_at_sight(pre, values, hop, room):
        _cut(pre, _whole(pre, values), hop, room)
    return room


def answer_recording(pipeline: Pipeline, pre: spec.SeriesPre, recording: NDArray[Any], hop: int) -> Iterator[Answer]:
    """Yield the answer to each window of a recording, in order; as `cut_recording`, in bounded memory.

    Args:
        pipeline: Of a bundle whose pre-processing is `pre`; its input buffers are written.
    """
    values = _whole(pre, _taken(pre, recording, hop))
    window = np.zeros((pre.channels, pre.length))
    plain = Statistics(spec.NoNormalisation(), window).normal
    buffer = Buffer(pre.input, pipeline.feeds[0], layout_strides(pre), window, plain)
    count = (values.shape[1] - pre.length) // hop + 1
    room = np.empty((min(count, MOST_AT_ONCE), pre.channels, pre.length), dtype=np.float32)
    for first in range(0, count, MOST_AT_ONCE):
        some = min(MOST_AT_ONCE, count - first)
        start = first * hop
        part = np.ascontiguousarray(values[:, start : start + (some - 1) * hop + pre.length])
        _cut(pre, part, hop, room[:some])
        for each in room[:some]:
            window[:] = each
            buffer.write()
            yield pipeline.finish(pipeline.infer())


def _taken(pre: spec.SeriesPre, recording: NDArray[Any], hop: int) -> Doubles:
    """Return the recording as it came, float64."""
    if recording.ndim == 1 and pre.channels == 1:
        recording = recording[np.newaxis]
    points = pre.length + pre.difference
    if recording.ndim != 2 or recording.shape[0] != pre.channels or recording.shape[1] < points or hop < 1:
        raise BadQuery(
            f"expected a recording of shape ({pre.channels}, {points} or more) and a hop of 1 or more, "
            f"given {recording.shape} and {hop}"
        )
    return _doubles(recording)


def _whole(pre: spec.SeriesPre, values: Doubles) -> Doubles:
    """Return a recording repaired and differenced."""
    if blocks.count_unusable(values):
        values = values.copy()
        _repair(pre, values)
    if not pre.difference:
        return values
    out = np.zeros((pre.channels, values.shape[1] - pre.difference))
    difference_series(values, np.zeros_like(values), out)
    return out


def _doubles(recording: NDArray[Any]) -> Doubles:
    """Return the recording as contiguous float64: itself where it is so, for fresh memory costs more than the sums."""
    if recording.dtype == np.float64:
        return np.ascontiguousarray(recording)
    values = np.empty(recording.shape)
    take(recording, values)
    return values


def _repair(pre: spec.SeriesPre, values: Doubles) -> None:
    if pre.nan != "error":
        refuse_infinities(values)
    if bad := series.repair_series(values, series.NAN_RULES[pre.nan]):
        raise BadQuery(f"{bad} values are {UNUSABLE}, and the rule is {pre.nan!r}")


def _cut_at_sight(pre: spec.SeriesPre, values: Doubles, hop: int, out: Windows) -> bool:
    """Cut a recording that nobody has looked at; return whether the result holds.

    Looking would take a third of the time: sums tell as well whether a number is missing or too large.
    """
    rule = pre.normalise
    if pre.difference or not isinstance(rule, spec.ZScore) or not own(rule) or hop > pre.length:
        return False
    return _in_blocks(pre.length, hop) and not _cut_blocks(rule, values, hop, out)


def _in_blocks(length: int, hop: int) -> bool:
    """Return whether windows share blocks, or so few points that sharing sums from point to point takes longer."""
    return blocks.block_size(length, hop) < length or hop * sliding.SHARED >= length


def _cut_blocks(rule: spec.ZScore, values: Doubles, hop: int, out: Windows) -> int:
    """Return how many blocks may hold what is no usable number."""
    windows, channels, length = out.shape
    room, fixed = blocks.block_room(channels, windows, length, hop), np.array([rule.ddof, rule.epsilon])
    return blocks.cut_blocks(values, hop, blocks.block_size(length, hop), fixed, room, out)


def _cut(pre: spec.SeriesPre, values: Doubles, hop: int, out: Windows) -> None:
    rule = pre.normalise
    if own(rule) and isinstance(rule, spec.ZScore) and _in_blocks(pre.length, hop):
        _cut_blocks(rule, values, hop, out)
        return
    normal, room = np.zeros((len(out), pre.channels, 3)), np.zeros((3, pre.length))
    if not own(rule):
        normal[:] = Statistics(rule, values).normal.T
    elif isinstance(rule, spec.ZScore):
        fixed = np.array([rule.ddof, rule.epsilon])
        sliding.sliding_deviations(values, pre.length, hop, fixed, room, normal)
    elif isinstance(rule, spec.MinMax):
        fixed = np.array([rule.low, rule.high, rule.epsilon])
        sliding.sliding_ranges(values, pre.length, hop, fixed, room, normal)
    else:
        raise BadBundle("quartiles of overlapping windows are not carried: answer one window at a time")
    sliding.cut_windows(values, hop, normal, out)
