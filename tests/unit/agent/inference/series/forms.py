"""Made-up arguments of the kernels of windows, for holding their compiled forms against the Python source."""

from collections.abc import Callable
from typing import Any

import numpy as np

from agent.inference.kernels.windows.blocks import block_room, block_size
from tests.unit.agent.inference.series.plain import Doubles

CHANNELS = 3


def values(points: int, seed: int) -> Doubles:
    """Return rounded values, so that some of them are equal."""
    return np.round(np.random.default_rng(seed).normal(size=(CHANNELS, points)) * 5)


def normal() -> Doubles:
    return np.zeros((3, CHANNELS))


def sliding(rule: list[float]) -> Callable[[int, int], list[Any]]:
    """Windows of `points`: every other seed with many that share a point, every other one with few."""

    def made(points: int, seed: int) -> list[Any]:
        hop = max(1, points // (32 if seed % 2 else 2))
        recording, results = values(4 * points, seed), np.zeros((3 * points // hop + 1, CHANNELS, 3))
        return [recording, points, hop, np.array(rule), np.zeros((3, points)), results]

    return made


def cut(points: int, seed: int) -> list[Any]:
    numbers = np.random.default_rng(seed).uniform(0.5, 2.0, size=(4, CHANNELS, 3))
    return [values(4 * points, seed), points, numbers, np.zeros((4, CHANNELS, points), dtype=np.float32)]


def in_blocks(points: int, seed: int) -> list[Any]:
    """Windows of two blocks every other seed, and more than are taken at once; else of one."""
    hop, length = (points, 2 * points) if seed % 2 else (2 * points + 1, 2 * points)
    recording, windows = values(100 * points, seed), (98 * points) // hop + 1
    room, rule = block_room(CHANNELS, windows, length, hop), np.array([0.0, 1e-8])
    room[:] = 0.0
    out = np.zeros((windows, CHANNELS, length), dtype=np.float32)
    return [recording, hop, block_size(length, hop), rule, room, out]


def pushed(points: int, seed: int) -> list[Any]:
    length = 5
    return [values(points, seed), np.array([seed % length, seed % length]), np.zeros((CHANNELS, 2 * length))]


MADE: dict[str, Callable[[int, int], list[Any]]] = {
    "difference_series": lambda points, seed: [
        values(points + 2, seed),
        np.zeros((CHANNELS, points + 2)),
        np.zeros((CHANNELS, points)),
    ],
    "window_extremes": lambda points, seed: [values(points, seed), -1.0, 1.0, 1e-8, normal()],
    "window_quartiles": lambda points, seed: [values(points, seed), 1e-8, np.zeros(points), normal()],
    "push_points": pushed,
    "sliding_deviations": sliding([0.0, 1e-8]),
    "sliding_ranges": sliding([0.0, 1.0, 1e-8]),
    "cut_windows": cut,
    "cut_blocks": in_blocks,
    "count_unusable": lambda points, seed: [np.where(values(points, seed) > 9, np.nan, values(points, seed))],
}
