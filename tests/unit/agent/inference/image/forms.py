"""Made-up arguments of the image kernels, for holding their compiled forms against the Python source."""

from collections.abc import Callable
from typing import Any

import numpy as np

from agent.inference.kernels.image import taps
from agent.inference.kernels.image.placement import Edge
from agent.inference.kernels.image.resizer import bilinear_rest, nearest_rest, weighted_rest

ROWS, NEW_ROWS = 5, 3


def resizing(points: int, seed: int, channels: int) -> tuple[Any, tuple[Edge, Edge], Any]:
    """Return a picture, flat, the placement that brings it to `points` columns, and room for the result."""
    random = np.random.default_rng(seed)
    columns = points + 7
    pixels = random.integers(0, 256, ROWS * columns * channels, dtype=np.uint8)
    edges = (Edge(ROWS, NEW_ROWS, 0, NEW_ROWS, 0), Edge(columns, points, 0, points, 0))
    return pixels, edges, np.zeros((1 if channels == 1 else 3, NEW_ROWS, points), dtype=np.uint8)


def nearest(points: int, seed: int) -> list[Any]:
    pixels, edges, out = resizing(points, seed, 3)
    return [pixels, *nearest_rest(edges, 3, out)]


def bilinear(points: int, seed: int) -> list[Any]:
    channels = (3, 4, 1, 3)[seed % 4]
    pixels, edges, out = resizing(points, seed, channels)
    return [pixels, *bilinear_rest(edges, channels, out)]


def weighted(points: int, seed: int) -> list[Any]:
    channels = (3, 4, 1, 3)[seed % 4]
    pixels, edges, out = resizing(points, seed, channels)
    tables = (taps.antialiased(edges[0]), taps.antialiased(edges[1]))
    return [pixels, *weighted_rest(tables, edges, channels, out)]


def grey(points: int, seed: int) -> list[Any]:
    planes = np.random.default_rng(seed).integers(0, 256, (3, 2, points), dtype=np.uint8)
    return [planes, np.array([2, 1, 0]), np.zeros((1, 2, points), dtype=np.uint8)]


def planes_and_place(points: int, seed: int) -> tuple[Any, Any, Any]:
    """Return planes, their order, and a place: side by side for odd numbers of points, else one behind the other."""
    planes = np.random.default_rng(seed).integers(0, 256, (3, 2, points), dtype=np.uint8)
    place = np.array([0, 1, 3 * points, 3] if points % 2 else [0, 2 * points, points, 1])
    return planes, np.array([2, 1, 0]), place


def looked_up(dtype: type[np.unsignedinteger[Any]]) -> Callable[[int, int], list[Any]]:
    def made(points: int, seed: int) -> list[Any]:
        planes, order, place = planes_and_place(points, seed)
        table = np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, (3, 256), dtype=dtype)
        return [planes, order, table, place, np.zeros(6 * points, dtype=dtype)]

    return made


def floats(points: int, seed: int) -> list[Any]:
    planes, order, place = planes_and_place(points, seed)
    lines = np.random.default_rng(seed).normal(size=(2, 3)).astype(np.float32)
    return [planes, order, lines, place, np.zeros(6 * points, dtype=np.float32)]


def levels(points: int, seed: int) -> list[Any]:
    planes, order, lines, place, _ = floats(points, seed)
    return [planes, order, lines, np.array([-128, 127], dtype=np.int32), place, np.zeros(6 * points, dtype=np.uint8)]


MADE: dict[str, Callable[[int, int], list[Any]]] = {
    "lay_out_16": looked_up(np.uint16),
    "lay_out_8": looked_up(np.uint8),
    "lay_out_floats": floats,
    "lay_out_levels": levels,
    "resize_bilinear": bilinear,
    "resize_nearest": nearest,
    "resize_weighted": weighted,
    "to_grey": grey,
}
"""Kernel -> (points, seed) -> arguments that fit together."""
