"""A coarse quantile sketch of numbers of either sign: inputs and predicted values, so that a drift shows.

Decides: what is counted as zero, how both signs share buckets, and the text in which a sketch travels. Leaves out: what
is counted. Light: no pydantic.
What is sent keeps a relative error for values above 1/64 of the largest; smaller ones are sent as zeros: near zero, a
drift is measured against the spread, and logarithmic buckets would spend themselves there.

>>> sketch = SignedSketch(); sketch.add(-3.0); sketch.add(5.0); round(sketch.quantile(0.5), 1)
-3.0
"""

import base64
import math
import struct

from wire.buckets import (
    LEAST_BUCKETS,
    RELATIVE_ERROR_RATIO,
    SMALLEST_VALUE,
    coarser,
    error_ratio,
    from_base64,
    log_gamma,
    middle,
    put,
    raw_buckets,
    read_buckets,
    varints,
)

START_COLLAPSED = 2
"""Halvings from the start: a relative error of 4 % instead of 1 %."""
MOST_BUCKETS = 256
FLOOR_RATIO = 1 / 64
LARGEST_VALUE = 1e38
"""Larger magnitudes are counted as this one: smallest, largest and mean travel in 32 bits."""
_NUMBERS = struct.Struct("<fff")
_MOST_HALVINGS = 64


class SignedSketch:
    """Counts numbers in buckets whose width grows with the magnitude."""

    def __init__(self, most_buckets: int = MOST_BUCKETS) -> None:
        self.collapsed = START_COLLAPSED
        """How often resolution was halved."""
        self.zeros = 0
        self.missing = 0
        """Values that were no finite numbers."""
        self.total = 0.0
        self._most = most_buckets
        self._width = log_gamma(RELATIVE_ERROR_RATIO, START_COLLAPSED)
        self._negative: dict[int, int] = {}
        self._positive: dict[int, int] = {}
        self._minimum = math.inf
        self._maximum = -math.inf

    @property
    def count(self) -> int:
        """How many finite values were counted."""
        return self.zeros + sum(self._negative.values()) + sum(self._positive.values())

    @property
    def minimum(self) -> float | None:
        return self._minimum if self._minimum <= self._maximum else None

    @property
    def maximum(self) -> float | None:
        return self._maximum if self._minimum <= self._maximum else None

    @property
    def error_ratio(self) -> float:
        """The relative error that quantiles keep at the present resolution."""
        return error_ratio(RELATIVE_ERROR_RATIO, self.collapsed)

    def add(self, value: float) -> None:
        """Count `value`; one that is no finite number as missing."""
        size = abs(value)
        if not size < math.inf:  # true of NaN too
            self.missing += 1
            return
        if size <= SMALLEST_VALUE:
            self.zeros += 1
        else:
            value = max(-LARGEST_VALUE, min(value, LARGEST_VALUE))
            buckets = self._negative if value < 0 else self._positive
            index = math.ceil(math.log(abs(value)) / self._width)
            buckets[index] = buckets.get(index, 0) + 1
            if len(self._negative) + len(self._positive) > self._most:
                self.shrink(self._most)
        self._minimum, self._maximum = min(self._minimum, value), max(self._maximum, value)
        self.total += value

    def quantile(self, fraction: float) -> float:
        """Return the value below or at which `fraction` of the values lie, within the relative error.

        Raises:
            ValueError: Empty sketch, or `fraction` outside [0, 1].
        """
        count = self.count
        if not 0 <= fraction <= 1 or count == 0:
            raise ValueError(f"quantile {fraction} of a sketch with {count} values")
        rank, seen = max(1, math.ceil(fraction * count)), 0
        if rank in (1, count):
            return self._minimum if rank == 1 else self._maximum
        for value, times in self._ascending():
            seen += times
            if seen >= rank:
                return min(max(value, self._minimum), self._maximum)
        return self._maximum

    def mean(self) -> float:
        """Return the exact mean of the values; 0 where there are none."""
        return self.total / self.count if self.count else 0.0

    def merge(self, other: "SignedSketch") -> None:
        """Add all values of `other`; the finer of both gives up resolution until the buckets fit together."""
        self.collapse_to(other.collapsed)
        for mine, theirs in ((self._negative, other._negative), (self._positive, other._positive)):
            for index, times in coarser(theirs, self.collapsed - other.collapsed).items():
                mine[index] = mine.get(index, 0) + times
        self.zeros += other.zeros
        self.missing += other.missing
        self.total += other.total
        self._minimum = min(self._minimum, other._minimum)
        self._maximum = max(self._maximum, other._maximum)
        self.shrink(self._most)

    def shrink(self, most_buckets: int) -> None:
        """Halve the resolution until at most `most_buckets` buckets are left, of both signs together."""
        while len(self._negative) + len(self._positive) > max(most_buckets, 2 * LEAST_BUCKETS):
            self.collapse_to(self.collapsed + 1)

    def collapse_to(self, collapsed: int) -> None:
        """Halve the resolution until it was halved `collapsed` times in all."""
        if collapsed > self.collapsed:
            self._negative = coarser(self._negative, collapsed - self.collapsed)
            self._positive = coarser(self._positive, collapsed - self.collapsed)
            self.collapsed = collapsed
            self._width = log_gamma(RELATIVE_ERROR_RATIO, collapsed)

    def flatten(self) -> None:
        """Count what is smaller than 1/64 of the largest magnitude as zero."""
        largest = max(abs(self._minimum), abs(self._maximum)) if self.count else 0.0
        if largest <= SMALLEST_VALUE:
            return
        lowest = math.floor(math.log(largest * FLOOR_RATIO) / self._width)
        for buckets in (self._negative, self._positive):
            for index in [index for index in buckets if index <= lowest]:
                self.zeros += buckets.pop(index)

    def copy(self) -> "SignedSketch":
        """Return an independent sketch of the same values."""
        copied = SignedSketch(self._most)
        copied.merge(self)
        return copied

    def packed(self, most_buckets: int | None = None) -> str:
        """Return the sketch as text: base64 of smallest, largest and mean (float32), then varints.

        These are: halvings, zeros, missing, bytes of the negative buckets, those, the positive buckets.

        Args:
            most_buckets: Small values become zeros, in what is returned, and resolution is given up, until no more are
                left; null: all.
        """
        sketch = self
        if most_buckets is not None and len(self._negative) + len(self._positive) > most_buckets:
            sketch = self.copy()
            sketch.flatten()
            sketch.shrink(most_buckets)
        negative = raw_buckets(sketch._negative)
        raw = bytearray(_NUMBERS.pack(self.minimum or 0.0, self.maximum or 0.0, self.mean()))
        for number in (sketch.collapsed, sketch.zeros, sketch.missing, len(negative)):
            put(raw, number)
        return base64.b64encode(raw + negative + raw_buckets(sketch._positive)).decode()

    def _check(self, minimum: float, maximum: float, mean: float) -> None:
        """Take what was read beside the buckets, once all of it stands for numbers."""
        widest = math.log(LARGEST_VALUE) / self._width + 1
        if any(abs(index) > widest for index in (*self._negative, *self._positive)):
            raise ValueError(f"a bucket beyond {widest:.0f} stands for no number")
        if not all(map(math.isfinite, (minimum, maximum, mean))) or minimum > maximum:
            raise ValueError("a packed sketch's smallest, largest and mean are no numbers")
        if self.count:
            self._minimum, self._maximum, self.total = minimum, maximum, mean * self.count

    def _ascending(self) -> list[tuple[float, int]]:
        below = [(-middle(index, self._width), self._negative[index]) for index in sorted(self._negative, reverse=True)]
        above = [(middle(index, self._width), self._positive[index]) for index in sorted(self._positive)]
        return [*below, (0.0, self.zeros), *above]


def unpacked(text: str) -> SignedSketch:
    """Return the sketch in `text`, as `SignedSketch.packed` wrote it.

    Raises:
        ValueError: Cut short, or buckets that stand for no number.
    """
    raw = from_base64(text)
    if len(raw) < _NUMBERS.size:
        raise ValueError("a packed sketch is cut short")
    sketch = SignedSketch()
    minimum, maximum, mean = _NUMBERS.unpack_from(raw)
    rest = raw[_NUMBERS.size :]
    numbers = varints(rest)
    found = [next(numbers, None) for _ in range(4)]
    collapsed, sketch.zeros, sketch.missing, length = (0 if each is None else each for each in found)
    if found[-1] is None or not START_COLLAPSED <= collapsed <= _MOST_HALVINGS:
        raise ValueError("a packed sketch is cut short, or has no such resolution")
    sketch.collapse_to(collapsed)
    sides = rest[sum(map(_varint_bytes, (collapsed, sketch.zeros, sketch.missing, length))) :]
    sketch._negative = read_buckets(varints(sides[:length]))
    sketch._positive = read_buckets(varints(sides[length:]))
    sketch._check(minimum, maximum, mean)
    return sketch


def _varint_bytes(number: int) -> int:
    return max(1, -(-number.bit_length() // 7))
