"""Made-up arguments of the kernels of windows, for holding their compiled forms against the Python source."""

from collections.abc import Callable
from typing import Any

import numpy as np

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


def apart(points: int, seed: int) -> list[Any]:
    room = np.zeros((4, CHANNELS, points), dtype=np.float32)
    return [values(4 * points, seed), points, np.array([0.0, 1e-8]), np.zeros(3), room]


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
    "cut_apart": apart,
}
