"""The Fourier transform of real frames, sixteen side by side.

Decides: a frame of n samples is read as n / 2 complex numbers (even samples real, odd ones imaginary), transformed in
place by decimation in frequency (steps of five and three, `odd.py`, then one of two where needed, then of four), and
split into the spectrum of the real frame when its power is taken. Rows come out in digit-reversed order: a table says
where each one is. All in float32, as librosa and Kaldi do it. Leaves out: the tables (`tables.py`), lengths that have
other factors (numpy's).

A butterfly's rows lie a fixed number of elements apart, a constant of the compiled function: only then do compilers
know that its reads and writes never meet. Hence one pair of functions for each distance.

Source: Van Loan 1992, Computational Frameworks for the Fast Fourier Transform, sections 2.4 and 4.3.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from agent.inference.kernels.audio.lanes import IMAGINARY, LANES, ROW, U
from agent.inference.kernels.audio.odd import steps_of_odd
from agent.inference.kernels.compiled import inner

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]
Step = Callable[[Floats, Floats, int, int], None]

_ODD_POWERS = 0xAAAAAAAA
"""The bits of 2, 8, 32 and so on."""

_HALF = np.float32(0.5)


def steps_of(distance: int) -> tuple[Step, Step]:
    """Return the steps of two and of four for rows that lie `distance` rows apart.

    Each takes the data (rows * `ROW`), the factors, the number of complex rows, and where its factors begin. Names end
    in r and i for real and imaginary parts.
    """
    first, second, third = U(distance * ROW), U(2 * distance * ROW), U(3 * distance * ROW)

    @inner
    def of_two(data: Floats, factors: Floats, rows: int, at: int) -> None:
        for start in range(0, rows, 2 * distance):
            for turn in range(distance):
                real, imag = factors[at + 2 * turn], factors[at + 2 * turn + 1]
                row = U((start + turn) * ROW)
                for lane in range(LANES):
                    ar = row + U(lane)
                    br = ar + first
                    ai, bi = ar + IMAGINARY, br + IMAGINARY
                    dr, di = data[ar] - data[br], data[ai] - data[bi]
                    data[ar] += data[br]
                    data[ai] += data[bi]
                    data[br], data[bi] = dr * real - di * imag, dr * imag + di * real

    @inner
    def of_four(data: Floats, factors: Floats, rows: int, at: int) -> None:
        for start in range(0, rows, 4 * distance):
            for turn in range(distance):
                k = at + 6 * turn
                r1, i1 = factors[k], factors[k + 1]
                r2, i2 = factors[k + 2], factors[k + 3]
                r3, i3 = factors[k + 4], factors[k + 5]
                row = U((start + turn) * ROW)
                for lane in range(LANES):
                    ar = row + U(lane)
                    br, cr, dr = ar + first, ar + second, ar + third
                    ai, bi = ar + IMAGINARY, br + IMAGINARY
                    ci, di = cr + IMAGINARY, dr + IMAGINARY
                    pr, pi = data[ar] + data[cr], data[ai] + data[ci]
                    qr, qi = data[ar] - data[cr], data[ai] - data[ci]
                    sr, si = data[br] + data[dr], data[bi] + data[di]
                    tr, ti = data[br] - data[dr], data[bi] - data[di]
                    data[ar], data[ai] = pr + sr, pi + si
                    ur, ui = qr + ti, qi - tr
                    data[br], data[bi] = ur * r1 - ui * i1, ur * i1 + ui * r1
                    vr, vi = pr - sr, pi - si
                    data[cr], data[ci] = vr * r2 - vi * i2, vr * i2 + vi * r2
                    wr, wi = qr - ti, qi + tr
                    data[dr], data[di] = wr * r3 - wi * i3, wr * i3 + wi * r3

    return of_two, of_four


two_1, four_1 = steps_of(1)
two_4, four_4 = steps_of(4)
two_16, four_16 = steps_of(16)
two_64, four_64 = steps_of(64)
two_256, four_256 = steps_of(256)
two_1024, four_1024 = steps_of(1024)


@inner
def step_of_two(data: Floats, factors: Floats, rows: int, left: int) -> None:
    """Do the step of two for blocks of `left` rows, an odd power of two."""
    at = 2 * (rows - left)  # see `tables.factors_of`
    if left == 2:
        two_1(data, factors, rows, at)
    elif left == 8:
        two_4(data, factors, rows, at)
    elif left == 32:
        two_16(data, factors, rows, at)
    elif left == 128:
        two_64(data, factors, rows, at)
    elif left == 512:
        two_256(data, factors, rows, at)
    else:
        two_1024(data, factors, rows, at)


@inner
def step_of_four(data: Floats, factors: Floats, rows: int, left: int) -> None:
    """Do the step of four for blocks of `left` rows, a power of four."""
    at = 2 * (rows - left)  # see `tables.factors_of`
    if left == 4:
        four_1(data, factors, rows, at)
    elif left == 16:
        four_4(data, factors, rows, at)
    elif left == 64:
        four_16(data, factors, rows, at)
    elif left == 256:
        four_64(data, factors, rows, at)
    elif left == 1024:
        four_256(data, factors, rows, at)
    else:
        four_1024(data, factors, rows, at)


@inner
def transform(data: Floats, factors: Floats, spare: Floats, lanes: int) -> None:
    """Transform rows of complex numbers in place; frequencies end up where `tables.order_of` says.

    Args:
        data: Flat, shape (rows * `ROW`,), rows as `tables.radices_of` takes them.
        factors: As `tables.factors_of` makes them.
        spare: Room for five rows of complex numbers.
        lanes: `LANES`, see `lanes.py`.
    """
    rows = data.shape[0] // ROW
    left = steps_of_odd(data, factors, rows, spare, lanes)
    if left & _ODD_POWERS:
        step_of_two(data, factors, rows, left)
        left //= 2
    while left >= 4:
        step_of_four(data, factors, rows, left)
        left //= 4


@inner
def power_of_real(data: Floats, order: Indices, turns: Floats, power: Floats) -> None:
    """Squared magnitudes of the spectrum of real frames, from the transform of their halves.

    What is computed together is written together, which keeps the loop free of doubt about overlaps: see
    `tables.power_row` for where a frequency stands.

    Args:
        data: As `transform` leaves it: rows complex numbers of 2 * rows real samples.
        order: Row of each frequency, shape (rows,).
        turns: exp(-i pi k / rows) as real and imaginary part, shape (2 * (rows // 2 + 1),).
        power: Result, a row of `LANES` for each frequency.
    """
    rows = data.shape[0] // ROW
    zero = U(order[0] * ROW)
    for lane in range(LANES):
        real, imag = data[zero + U(lane)], data[zero + U(lane) + IMAGINARY]
        power[U(lane)] = (real + imag) * (real + imag)
        power[U(lane) + IMAGINARY] = (real - imag) * (real - imag)
    for k in range(1, rows // 2 + 1):
        here, there, target = U(order[k] * ROW), U(order[rows - k] * ROW), U(k * ROW)
        w_real, w_imag = turns[2 * k], turns[2 * k + 1]
        for lane in range(LANES):
            a_real, a_imag = data[here + U(lane)], data[here + U(lane) + IMAGINARY]
            b_real, b_imag = data[there + U(lane)], data[there + U(lane) + IMAGINARY]
            even_real, even_imag = a_real + b_real, a_imag - b_imag
            odd_real, odd_imag = a_imag + b_imag, b_real - a_real
            t_real, t_imag = odd_real * w_real - odd_imag * w_imag, odd_real * w_imag + odd_imag * w_real
            s_real, s_imag = (even_real + t_real) * _HALF, (even_imag + t_imag) * _HALF
            d_real, d_imag = (even_real - t_real) * _HALF, (even_imag - t_imag) * _HALF
            power[target + U(lane)] = s_real * s_real + s_imag * s_imag
            power[target + U(lane) + IMAGINARY] = d_real * d_real + d_imag * d_imag


@inner
def power_of_complex(spectra: Floats, places: Indices, power: Floats) -> None:
    """Squared magnitudes of `spectra`, flat of (frequencies, `LANES`, 2), into the rows that `places` names."""
    for frequency in range(places.shape[0]):
        source, target = U(frequency * ROW), U(places[frequency] * LANES)
        for lane in range(LANES):
            i = source + U(2 * lane)
            power[target + U(lane)] = spectra[i] * spectra[i] + spectra[i + U(1)] * spectra[i + U(1)]
