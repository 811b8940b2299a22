"""Rounding that gradients pass: what a QDQ pair computes, with a scale that can be learned.

Decides: that a gradient goes through rounding as if it were not there, and stops where a value is clipped. Leaves out:
which tensors are quantised, which the graph says.

Source: Bengio et al. 2013, arXiv:1308.3432 (straight through); Esser et al., *Learned Step Size Quantization*, ICLR
2020 (gradient of the scale); Jain et al., *Trained Quantization Thresholds*, MLSys 2020 (its logarithm is what learns,
so that a step changes small and large scales alike).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

LEAST_SCALE = 1e-9
LIMITS = {torch.int8: (-128, 127), torch.uint8: (0, 255)}


@dataclass(frozen=True)
class Levels:
    """The whole numbers of a quantised tensor, `low` to `high`, and its axis of scales (None: one for all)."""

    low: int
    high: int
    axis: int | None = None


def quantised(x: Tensor, scale: Tensor, zero: Tensor, levels: Levels) -> Tensor:
    """Return `scale * (clip(round(x / scale) + zero, low, high) - zero)`, with gradients for x and the scale.

    Args:
        x: Any shape.
        scale: Greater than 0; one number, or one for each place of `levels.axis`.
        zero: Of the scale's shape: the level of the value 0.
        levels: Of the tensor.
    """
    step = aligned(scale, x, levels.axis)
    offset = aligned(zero.to(x.dtype), x, levels.axis)
    ratio = x / step
    whole = ratio + (torch.round(ratio) - ratio).detach()
    return step * (torch.clamp(whole + offset, levels.low, levels.high) - offset)


def integers(x: Tensor, scale: Tensor, zero: Tensor, levels: Levels) -> Tensor:
    """Return the levels that a tensor is stored as, int64."""
    step, offset = aligned(scale, x, levels.axis), aligned(zero.to(x.dtype), x, levels.axis)
    return torch.clamp(torch.round(x / step) + offset, levels.low, levels.high).to(torch.int64)


def aligned(values: Tensor, x: Tensor, axis: int | None) -> Tensor:
    """Return one number, or one for each place of an axis, in a shape that goes with `x`."""
    if axis is None or values.dim() == 0 or values.numel() == 1:
        return values.reshape(())
    shape = [1] * x.dim()
    shape[axis] = -1
    return values.reshape(shape)
