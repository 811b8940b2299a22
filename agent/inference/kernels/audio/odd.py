"""The transform's steps of three and of five, for lengths such as Whisper's 400 or 30 ms at 16 kHz.

Decides: they come first, while rows lie far apart, at distances that no constant covers. A butterfly's rows are copied
side by side, worked on there, and put back: what lies at fixed places cannot overlap, see `fourier.py`.
"""

import numpy as np
from numpy.typing import NDArray

from agent.inference.kernels.audio.lanes import IMAGINARY, LANES, ROW, U
from agent.inference.kernels.compiled import inner

Floats = NDArray[np.float32]

_FIRST, _SECOND, _THIRD, _FOURTH = U(ROW), U(2 * ROW), U(3 * ROW), U(4 * ROW)
_HALF = np.float32(0.5)
_SINE_3 = np.float32(np.sin(2 * np.pi / 3))
_COSINE_5, _COSINE_10 = np.float32(np.cos(2 * np.pi / 5)), np.float32(np.cos(4 * np.pi / 5))
_SINE_5, _SINE_10 = np.float32(np.sin(2 * np.pi / 5)), np.float32(np.sin(4 * np.pi / 5))


@inner
def steps_of_odd(data: Floats, factors: Floats, rows: int, spare: Floats, lanes: int) -> int:
    """Do all steps of five, then of three; return the rows of what is left to transform.

    Args:
        data: Flat, shape (rows * `ROW`,).
        factors: As `tables.factors_of` makes them.
        rows: Complex rows.
        spare: Room for five rows of complex numbers.
        lanes: `LANES`, see `lanes.py`.
    """
    left = rows
    for radix in (5, 3):
        while left % radix == 0:
            at = 2 * (rows - left)  # see `tables.factors_of`
            left //= radix
            for start in range(0, rows, radix * left):
                for turn in range(left):
                    copy_rows(data, start + turn, left, radix, spare, 2 * lanes)
                    if radix == 5:
                        butterfly_of_five(spare)
                    else:
                        butterfly_of_three(spare)
                    multiply_rows(spare, factors, at + 2 * (radix - 1) * turn, radix, lanes)
                    put_rows(spare, data, start + turn, left, radix, 2 * lanes)
    return left


@inner
def copy_rows(data: Floats, row: int, distance: int, count: int, spare: Floats, width: int) -> None:
    """Copy every `distance`-th row into `spare`."""
    for place in range(count):
        source, target = U((row + place * distance) * ROW), U(place * ROW)
        for index in range(width):
            spare[target + U(index)] = data[source + U(index)]


@inner
def put_rows(spare: Floats, data: Floats, row: int, distance: int, count: int, width: int) -> None:
    """Put the rows back where they were."""
    for place in range(count):
        source, target = U(place * ROW), U((row + place * distance) * ROW)
        for index in range(width):
            data[target + U(index)] = spare[source + U(index)]


@inner
def multiply_rows(x: Floats, factors: Floats, at: int, count: int, lanes: int) -> None:
    """Multiply all rows but the first by their factors."""
    for place in range(1, count):
        row, real, imag = U(place * ROW), factors[at + 2 * place - 2], factors[at + 2 * place - 1]
        for lane in range(lanes):
            i = row + U(lane)
            x_real, x_imag = x[i], x[i + IMAGINARY]
            x[i], x[i + IMAGINARY] = x_real * real - x_imag * imag, x_real * imag + x_imag * real


@inner
def butterfly_of_three(x: Floats) -> None:
    """Transform three rows of complex numbers in place."""
    for lane in range(LANES):
        i = U(lane)
        j = i + IMAGINARY
        sum_real, sum_imag = x[i + _FIRST] + x[i + _SECOND], x[j + _FIRST] + x[j + _SECOND]
        turned_real = _SINE_3 * (x[i + _FIRST] - x[i + _SECOND])
        turned_imag = _SINE_3 * (x[j + _FIRST] - x[j + _SECOND])
        mid_real, mid_imag = x[i] - _HALF * sum_real, x[j] - _HALF * sum_imag
        x[i], x[j] = x[i] + sum_real, x[j] + sum_imag
        x[i + _FIRST], x[j + _FIRST] = mid_real + turned_imag, mid_imag - turned_real
        x[i + _SECOND], x[j + _SECOND] = mid_real - turned_imag, mid_imag + turned_real


@inner
def butterfly_of_five(x: Floats) -> None:
    """Transform five rows of complex numbers in place."""
    for lane in range(LANES):
        i = U(lane)
        j = i + IMAGINARY
        a_real, a_imag = x[i + _FIRST] + x[i + _FOURTH], x[j + _FIRST] + x[j + _FOURTH]
        b_real, b_imag = x[i + _SECOND] + x[i + _THIRD], x[j + _SECOND] + x[j + _THIRD]
        c_real, c_imag = x[i + _FIRST] - x[i + _FOURTH], x[j + _FIRST] - x[j + _FOURTH]
        d_real, d_imag = x[i + _SECOND] - x[i + _THIRD], x[j + _SECOND] - x[j + _THIRD]
        p_real, p_imag = (
            x[i] + _COSINE_5 * a_real + _COSINE_10 * b_real,
            x[j] + _COSINE_5 * a_imag + _COSINE_10 * b_imag,
        )
        q_real, q_imag = (
            x[i] + _COSINE_10 * a_real + _COSINE_5 * b_real,
            x[j] + _COSINE_10 * a_imag + _COSINE_5 * b_imag,
        )
        s_real, s_imag = _SINE_5 * c_real + _SINE_10 * d_real, _SINE_5 * c_imag + _SINE_10 * d_imag
        t_real, t_imag = _SINE_10 * c_real - _SINE_5 * d_real, _SINE_10 * c_imag - _SINE_5 * d_imag
        x[i], x[j] = x[i] + a_real + b_real, x[j] + a_imag + b_imag
        x[i + _FIRST], x[j + _FIRST] = p_real + s_imag, p_imag - s_real
        x[i + _SECOND], x[j + _SECOND] = q_real + t_imag, q_imag - t_real
        x[i + _THIRD], x[j + _THIRD] = q_real - t_imag, q_imag + t_real
        x[i + _FOURTH], x[j + _FOURTH] = p_real - s_imag, p_imag + s_real
