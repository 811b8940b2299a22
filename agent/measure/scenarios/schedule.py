"""When queries are due: whole schedules, made before the first query is timed. Pure.

A query that finds the device busy does not put off the next one's due time: else a slow answer would hide that others
wait behind it (coordinated omission).
"""

import itertools
import math
from collections.abc import Iterator

_MULTIPLIER, _INCREMENT, _MASK = 6364136223846793005, 1442695040888963407, 2**64 - 1


def poisson(rate_hz: float, seed: int) -> Iterator[int]:
    """Yield due times [ns] after the beginning: arrivals of a Poisson process, the same for the same seed everywhere.

    Gaps are exponential, by inversion; see `uniform` for the numbers behind them.
    """
    total_s = 0.0
    for number in uniform(seed):
        total_s -= math.log(number) / rate_hz
        yield int(total_s * 1e9)


def paced(period_ms: float) -> Iterator[int]:
    """Yield due times [ns] after the beginning: one every period, the first at once."""
    return (int(number * period_ms * 1e6) for number in itertools.count())


def uniform(seed: int) -> Iterator[float]:
    """Yield numbers in (0, 1]: the upper 53 bits of a 64-bit linear congruential generator.

    Source: Knuth, The Art of Computer Programming 2, 3.3.4 (MMIX). Python promises the numbers of its own generator
    only within a version; arrivals must be the same on every device.
    """
    state = (seed * 2 + 1) & _MASK
    for _ in range(8):  # small seeds lie close together: let them part
        state = (state * _MULTIPLIER + _INCREMENT) & _MASK
    while True:
        state = (state * _MULTIPLIER + _INCREMENT) & _MASK
        yield ((state >> 11) + 1) / 2**53
