"""Content-defined cuts: normalised chunking over a gear hash, so that an edit moves the cuts near it and no others.

Decides: the hash, its table, and the sizes. Leaves out: which cuts are forced (`tensors.py`), and what becomes of the
chunks (`controller/bundle/chunk.py`).

The hash after byte i is the sum of `GEAR[byte] << age` over the last 64 bytes, modulo 2**64. A chunk ends behind the
first byte at which its upper bits are zero: 18 of them while the chunk is short of `NORMAL_BYTES`, 14 behind that, so
that sizes gather above it; never before `SMALLEST_BYTES` and always at `LARGEST_BYTES`.

    cut_ends(content, forced=(4096,))      # (4096, 71930, …, len(content))

Source: Xia et al. 2016 (FastCDC) and 2020, section 3; the hash runs on over a cut, which theirs does not.
"""

import hashlib
from bisect import bisect_left
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wire.base import LARGEST_PART_BYTES

SMALLEST_BYTES = 32 * 1024
NORMAL_BYTES = 64 * 1024
LARGEST_BYTES = LARGEST_PART_BYTES
"""A chunk that does not get smaller by compression still is one message."""

COMPILED_FROM_BYTES = 1024 * 1024
"""Shorter content is cut by numpy before the compiled kernel is loaded (0.6 s, 100 MB); the cuts are the same."""

_WINDOW = 64
_STRICT_SHIFT = 64 - 18
_LOOSE_SHIFT = 64 - 14


def _table() -> NDArray[np.uint64]:
    words = [hashlib.sha256(b"thresher gear 1" + bytes([value])).digest()[:8] for value in range(256)]
    return np.array([int.from_bytes(word, "big") for word in words], dtype=np.uint64)


GEAR = _table()
"""What a byte adds to the hash. Other numbers are other cuts: nothing that devices hold would fit any more."""


def cut_ends(content: bytes, forced: Sequence[int] = ()) -> tuple[int, ...]:
    """Return where the chunks of `content` end, the last at its length; none for empty content.

    Args:
        content: A whole file.
        forced: Where a chunk must end, increasing, in (0, len(content)). Each stretch between them is cut for itself:
            what comes before it never moves its cuts.
    """
    if not content:
        return ()
    ends = np.array([*forced, len(content)], dtype=np.int64)
    data = np.frombuffer(content, dtype=np.uint8)
    kernel = _compiled() if len(content) >= COMPILED_FROM_BYTES else None
    return _by_numpy(data, ends) if kernel is None else _by_kernel(data, ends, kernel)


def _by_kernel(data: NDArray[np.uint8], ends: NDArray[np.int64], kernel: Any) -> tuple[int, ...]:
    out = np.empty(len(data) // SMALLEST_BYTES + len(ends) + 1, dtype=np.int64)
    count = kernel(data, ends, GEAR, out)
    return tuple(out[:count].tolist())


def _kernel(data: NDArray[np.uint8], ends: NDArray[np.int64], gear: NDArray[np.uint64], out: NDArray[np.int64]) -> int:
    """Write the cuts of each stretch into `out`; return how many. Compiled: loops, and no slices."""
    count, start = 0, 0
    for end in ends:
        while start < end:
            last = min(start + LARGEST_BYTES, end)
            first = start + SMALLEST_BYTES - 1
            cut = last
            hashed = np.uint64(0)
            for place in range(first - _WINDOW + 1, last):
                hashed = (hashed << np.uint64(1)) + gear[data[place]]
                if place >= first:
                    shift = _STRICT_SHIFT if place + 1 - start < NORMAL_BYTES else _LOOSE_SHIFT
                    if hashed >> np.uint64(shift) == np.uint64(0):
                        cut = place + 1
                        break
            out[count] = cut
            count += 1
            start = cut
    return count


@cache
def _compiled() -> Any:
    """Return the kernel as machine code, kept on the disk; None without numba, which `[controller]` brings."""
    try:
        import numba
    except ImportError:
        return None
    try:
        return numba.njit(cache=True, nogil=True)(_kernel)
    except RuntimeError:  # neither beside this module nor in the user's folder can machine code be kept
        return numba.njit(nogil=True)(_kernel)


def _by_numpy(data: NDArray[np.uint8], ends: NDArray[np.int64]) -> tuple[int, ...]:
    """Return the kernel's cuts; 8 bytes of memory a byte."""
    hashed = GEAR[data]
    for age in (1, 2, 4, 8, 16, 32):
        hashed[age:] += hashed[:-age] << np.uint64(age)
    loose = (np.flatnonzero(hashed >> np.uint64(_LOOSE_SHIFT) == 0) + 1).tolist()
    strict = (np.flatnonzero(hashed >> np.uint64(_STRICT_SHIFT) == 0) + 1).tolist()
    cuts: list[int] = []
    start = 0
    for end in ends.tolist():
        while start < end:
            last = min(start + LARGEST_BYTES, end)
            start = (
                _first(strict, start + SMALLEST_BYTES, min(start + NORMAL_BYTES, last))
                or _first(loose, start + NORMAL_BYTES, last)
                or last
            )
            cuts.append(start)
    return tuple(cuts)


def _first(places: Sequence[int], start: int, end: int) -> int | None:
    """Return the first of the sorted `places` in [start, end)."""
    found = bisect_left(places, start)
    return places[found] if found < len(places) and places[found] < end else None
