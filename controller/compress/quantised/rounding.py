"""AdaRound: round each weight up or down so that what comes out changes least, instead of to the nearest level. Pure.

Decides: the rounding of one weight matrix, from the second moments of what it reads. The loss is the expected squared
change of the outputs, tr((W_q - W) H (W_q - W)^T) with H = E[x x^T]. Leaves out: moments (`moments.py`) and the file.

Source: Nagel et al. 2020, "Up or Down? Adaptive Rounding for Post-Training Quantization": rectified sigmoid, annealed
regulariser. Here with the moments in place of batches, which is the same loss for what stands before the activation.
"""

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
STEPS, RATE = 300, 0.05
STRETCH_LOW, STRETCH_HIGH = -0.1, 1.1
"""The paper's: a sigmoid that reaches 0 and 1."""
SHARP_FROM, SHARP_TO = 20.0, 2.0
"""The regulariser's exponent is annealed: first few weights are pushed to an end, then all."""
FREE_STEPS = 0.2
"""Share of the steps without the regulariser."""
REGULARISER = 0.1
SWEEPS = 3


def loss(moved: Matrix, moments: Matrix) -> float:
    """Return the expected squared change of the outputs.

    Args:
        moved: W_q - W, shape (outputs, inputs).
        moments: E[x x^T], shape (inputs, inputs).
    """
    return float(_row_losses(moved, moments).sum())


def adaround(weight: Matrix, scale: Matrix, limits: tuple[int, int], moments: Matrix) -> NDArray[np.int64]:
    """Return the level of each weight: never worse than the nearest ones.

    Args:
        weight: In units of its levels' zero point 0, shape (outputs, inputs).
        scale: Size of a level for each output, shape (outputs, 1).
        limits: Lowest and highest level.
        moments: E[x x^T], shape (inputs, inputs).
    """
    low, high = limits
    levels = weight / scale
    nearest = np.clip(np.rint(levels), low, high)
    down = np.clip(np.floor(levels), low, high)
    up = np.clip(down + 1, low, high)
    learned = np.where(_learned(weight, scale, down, moments) >= 0.5, up, down)
    first, second = (_improved(each, (down, up), weight, scale, moments) for each in (nearest, learned))
    better = _row_losses(second * scale - weight, moments) < _row_losses(first * scale - weight, moments)
    return np.where(better[:, None], second, first).astype(np.int64)


def _row_losses(moved: Matrix, moments: Matrix) -> NDArray[np.float64]:
    """Return the loss of each output, which depends on its own weights alone."""
    return np.asarray(((moved @ moments) * moved).sum(axis=1))


def _learned(weight: Matrix, scale: Matrix, down: Matrix, moments: Matrix) -> Matrix:
    """Return how far up each weight goes, 0 to 1: gradient steps (Adam) on the relaxed rounding."""
    rest = np.clip(weight / scale - down, 0.01, 0.99)
    free = -np.log((STRETCH_HIGH - STRETCH_LOW) / (rest - STRETCH_LOW) - 1)
    norm = max(float(np.trace(moments)) / len(moments), 1e-12)
    first, second = np.zeros_like(free), np.zeros_like(free)
    for step in range(1, STEPS + 1):
        sigmoid = 1 / (1 + np.exp(-free))
        stretched = sigmoid * (STRETCH_HIGH - STRETCH_LOW) + STRETCH_LOW
        gone = np.clip(stretched, 0, 1)
        moved = (down + gone) - weight / scale  # in levels, so that one rate suits all
        gradient = 2 * (moved @ moments) / norm + _regulariser(gone, step)
        inside = (stretched > 0) & (stretched < 1)
        gradient *= inside * sigmoid * (1 - sigmoid) * (STRETCH_HIGH - STRETCH_LOW)
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        free -= RATE * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
    return np.asarray(np.clip(1 / (1 + np.exp(-free)) * (STRETCH_HIGH - STRETCH_LOW) + STRETCH_LOW, 0, 1))


def _regulariser(gone: Matrix, step: int) -> Matrix:
    """Return the gradient of 1 - |2h - 1|^beta: towards 0 or 1, the more sharply the later."""
    done = step / STEPS
    if done < FREE_STEPS:
        return np.zeros_like(gone)
    beta = SHARP_TO + (SHARP_FROM - SHARP_TO) * (1 - (done - FREE_STEPS) / (1 - FREE_STEPS))
    away = 2 * gone - 1
    return np.asarray(-REGULARISER * 2 * beta * np.sign(away) * np.abs(away) ** (beta - 1))


def _improved(levels: Matrix, ends: tuple[Matrix, Matrix], weight: Matrix, scale: Matrix, moments: Matrix) -> Matrix:
    """Flip single weights to their other level while that helps; all outputs at once, one input after the other."""
    down, up = ends
    levels = levels.copy()
    for _ in range(SWEEPS):
        flipped = False
        pulled = (levels * scale - weight) @ moments
        for column in range(weight.shape[1]):
            other = np.where(levels[:, column] == down[:, column], up[:, column], down[:, column])
            step = (other - levels[:, column]) * scale[:, 0]
            change = 2 * step * pulled[:, column] + step**2 * moments[column, column]
            helps = change < 0
            if helps.any():
                flipped = True
                levels[helps, column] = other[helps]
                pulled[helps] += step[helps, None] * moments[column]
        if not flipped:
            break
    return levels
