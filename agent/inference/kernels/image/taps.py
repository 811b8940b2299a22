"""Which source pixels make a new one, and with which weights: the tables that the resizing kernels read.

Positions have half-pixel centres: new pixel x lies at (x + 0.5) * source / new - 0.5.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent.inference.kernels.image.placement import Edge
from agent.inference.kernels.image.weighted import ONE

Indices = NDArray[np.int64]
Doubles = NDArray[np.float64]

BILINEAR_ONE = 1 << 11
"""A weight of 1 in the bilinear kernel; OpenCV's INTER_RESIZE_COEF_SCALE."""


def nearest(edge: Edge) -> Indices:
    """Return the source pixel in which the middle of each new one lies, in exact integers."""
    middles = 2 * (edge.first + np.arange(edge.kept, dtype=np.int64)) + 1
    return middles * edge.source // (2 * edge.resized)


def bilinear(edge: Edge) -> Indices:
    """Return first neighbour, second neighbour, and their weights: shape (4, kept).

    The position is rounded to float32 before it is split, as OpenCV does: the weights are equal to its last bit.
    Beyond the outer centres both neighbours are the outer pixel, which shares the weights: each share is cut to whole
    numbers, so that one weight of 1 would give another result.
    """
    step = 1.0 / (edge.resized / edge.source)
    position = ((edge.first + np.arange(edge.kept) + 0.5) * step - 0.5).astype(np.float32)
    left = np.floor(position)
    share = position - left
    second = np.rint(share * np.float32(BILINEAR_ONE)).astype(np.int64)
    first = np.rint((np.float32(1) - share) * np.float32(BILINEAR_ONE)).astype(np.int64)
    both = np.stack([left, left + 1]).clip(0, edge.source - 1).astype(np.int64)
    return np.stack([*both, first, second])


@dataclass(frozen=True)
class Taps:
    """First tap, number of taps, and weights that sum to `ONE`, of each new pixel."""

    first: Indices
    count: Indices
    weights: NDArray[np.int32]
    """Shape (kept, most taps)."""


def area(edge: Edge) -> Taps:
    """Each source pixel weighs as much as the new one covers of it."""
    step = edge.source / edge.resized
    start = (edge.first + np.arange(edge.kept)) * step
    first = np.floor(start + EDGE_SLACK).astype(np.int64)
    count = np.ceil(start + step - EDGE_SLACK).astype(np.int64).clip(max=edge.source) - first
    taps = first[:, np.newaxis] + np.arange(count.max())
    covered = np.minimum(taps + 1, (start + step)[:, np.newaxis]) - np.maximum(taps, start[:, np.newaxis])
    return _whole(first, count, np.clip(covered, 0, None))


EDGE_SLACK = 1e-9
"""Pixels that are covered less than this are not: the edges are computed in floating point."""


def antialiased(edge: Edge) -> Taps:
    """A triangle of half-width max(source / new, 1) around the position, as Pillow's BILINEAR."""
    step = edge.source / edge.resized
    support = max(step, 1.0)
    centre = (edge.first + np.arange(edge.kept) + 0.5) * step
    first = np.maximum((centre - support + 0.5).astype(np.int64), 0)
    count = np.minimum((centre + support + 0.5).astype(np.int64), edge.source) - first
    taps = first[:, np.newaxis] + np.arange(count.max())
    distance = np.abs(taps + 0.5 - centre[:, np.newaxis]) / support
    return _whole(first, count, np.clip(1.0 - distance, 0, None))


def _whole(first: Indices, count: Indices, weights: Doubles) -> Taps:
    """Round weights to integers whose sum is exact: what one loses, the next gets."""
    weights = np.where(np.arange(weights.shape[1]) < count[:, np.newaxis], weights, 0.0)
    sums = np.rint(np.cumsum(weights, axis=1) / weights.sum(axis=1, keepdims=True) * ONE)
    return Taps(first, count, np.diff(sums, axis=1, prepend=0.0).astype(np.int32))
