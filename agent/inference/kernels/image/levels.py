"""What each of the 256 values of a pixel becomes in the model's dtype, and which kernel writes it.

x = pixel * factor + offset in float32, with factor = scale / deviation and offset = -mean / deviation. Quantised inputs
take round_half_even(x / scale) + zero_point, saturated, as `cast.py` has it; for these a second line is looked for that
gives the same level for every pixel, and where none does (a value lies just between two) the table is used.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.errors import BadBundle
from agent.inference.kernels.compiled import Kernel
from agent.inference.kernels.image.layout import lay_out_8, lay_out_16, lay_out_floats, lay_out_levels
from wire import spec

Array = NDArray[np.generic]
Floats = NDArray[np.float32]

BOUNDS = {"int8": (-128, 127), "uint8": (0, 255)}
"""Lowest and highest level of the dtypes that are quantised."""

STEADY_LEVEL = float(1 << 30)
"""Levels beyond it do not fit in the whole numbers that the kernel saturates."""


@dataclass(frozen=True)
class Levels:
    """What pixels become, as a table and, where one is found, as a line."""

    table: Array
    """Shape (channels, 256)."""
    lines: Floats
    """Factors and offsets, shape (2, channels)."""
    straight: bool
    """Whether the lines give what stands in the table."""

    @property
    def kernel(self) -> Kernel[..., None]:
        """What writes them."""
        if self.table.dtype == np.float32:
            return lay_out_floats
        if self.table.dtype == np.float16:
            return lay_out_16
        return lay_out_levels if self.straight else lay_out_8

    def bind(self, planes: Any, order: Any, place: Any, out: Any) -> Callable[[], None]:
        """Return the call that writes `planes` into `out`, the engine's input, flat, of the table's dtype."""
        if self.kernel is lay_out_floats:
            return lay_out_floats.bind(planes, order, self.lines, place, out)
        if self.kernel is lay_out_levels:
            bounds = np.array(BOUNDS[self.table.dtype.name], dtype=np.int32)
            return lay_out_levels.bind(planes, order, self.lines, bounds, place, out.view(np.uint8))
        bits = np.uint16 if self.kernel is lay_out_16 else np.uint8
        return self.kernel.bind(planes, order, self.table.view(bits), place, out.view(bits))


def make_levels(pre: spec.ImagePre) -> Levels:
    """Return the levels that `pre` declares.

    Raises:
        BadBundle: A value is not finite in that dtype, or the quantisation is missing.
    """
    mean, deviation = (np.broadcast_to(np.array(v), (pre.channels,)) for v in (pre.mean, pre.deviation))
    with np.errstate(over="ignore", invalid="ignore"):
        lines = np.stack([pre.scale / deviation, -mean / deviation]).astype(np.float32)
        values = pixels_on(lines)
        floats: Array = values.astype(np.float16) if pre.input.dtype == "float16" else values
    if bad := floats.size - int(np.count_nonzero(np.isfinite(floats))):
        raise BadBundle(f"scale, mean and deviation make {bad} of {floats.size} levels too large for {floats.dtype}")
    if pre.input.dtype not in BOUNDS:
        return Levels(floats, lines, straight=floats.dtype == np.float32)
    affine = pre.input.quantisation
    if affine is None:
        raise BadBundle(f"input {pre.input.name!r} is {pre.input.dtype}, and the specification gives no quantisation")
    return _quantised(values, lines, affine, pre.input.dtype)


def pixels_on(lines: Floats) -> Floats:
    """Return pixel * factor + offset for each value of a pixel, shape (channels, 256)."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(np.arange(256, dtype=np.float32) * lines[0][:, np.newaxis] + lines[1][:, np.newaxis])


def _quantised(values: Floats, lines: Floats, affine: spec.Quantisation, dtype: str) -> Levels:
    low, high = BOUNDS[dtype]
    with np.errstate(over="ignore"):
        levels = np.rint(values / np.float32(affine.scale)).astype(np.float64) + affine.zero_point
        steeper = (lines / np.float32(affine.scale) + np.array([[0], [affine.zero_point]])).astype(np.float32)
        guessed = np.rint(pixels_on(steeper))
    table = np.clip(levels, low, high).astype(dtype)
    steady = bool((np.abs(guessed) < STEADY_LEVEL).all())
    same = steady and bool((np.clip(guessed, low, high) == table).all())
    return Levels(table, steeper, straight=same)
