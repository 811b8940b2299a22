"""Quantile sketches without pydantic: what counts on a hot path, and in processes that must stay light.

Decides: quantiles, merging, when resolution is given up. Leaves out: the buckets' arithmetic (`wire/buckets.py`) and
the messages (`wire/sketch.py`).

>>> sketch = QuantileSketch(); sketch.add(3.0); sketch.add(5.0); round(sketch.quantile(1.0), 1)
5.0
"""

import math
from collections.abc import Mapping
from typing import Any, Protocol

from wire.buckets import (
    LARGEST_VALUE,
    LEAST_BUCKETS,
    RELATIVE_ERROR_RATIO,
    SMALLEST_VALUE,
    coarser,
    error_ratio,
    log_gamma,
    middle,
    pack,
    rounded,
)

MOST_BUCKETS = 256


class SketchLike(Protocol):
    """What can be merged: a sketch, or its message."""

    @property
    def relative_error_ratio(self) -> float: ...
    @property
    def collapsed(self) -> int: ...
    @property
    def zeros(self) -> int: ...
    @property
    def minimum(self) -> float | None: ...
    @property
    def maximum(self) -> float | None: ...
    @property
    def total(self) -> float: ...
    def counts(self) -> Mapping[int, int]: ...


class QuantileSketch:
    """Counts non-negative values in buckets whose width grows with the value."""

    def __init__(self, relative_error_ratio: float = RELATIVE_ERROR_RATIO, most_buckets: int = MOST_BUCKETS) -> None:
        if not 0 < relative_error_ratio < 1:
            raise ValueError(f"relative error must lie between 0 and 1, got {relative_error_ratio}")
        if most_buckets < LEAST_BUCKETS:
            raise ValueError(f"a sketch needs {LEAST_BUCKETS} buckets at least, got {most_buckets}")
        self.relative_error_ratio = relative_error_ratio
        """Of the finest buckets; `error_ratio` is that of the present ones."""
        self.collapsed = 0
        """How often resolution was halved."""
        self.zeros = 0
        self.total = 0.0
        self._most = most_buckets
        self._log_gamma = log_gamma(relative_error_ratio)
        self._buckets: dict[int, int] = {}
        self._minimum = math.inf
        self._maximum = -math.inf

    @property
    def count(self) -> int:
        return self.zeros + sum(self._buckets.values())

    @property
    def minimum(self) -> float | None:
        return self._minimum if self._minimum <= self._maximum else None

    @property
    def maximum(self) -> float | None:
        return self._maximum if self._minimum <= self._maximum else None

    @property
    def error_ratio(self) -> float:
        """The relative error that quantiles keep at the present resolution."""
        return error_ratio(self.relative_error_ratio, self.collapsed)

    def counts(self) -> Mapping[int, int]:
        """Return bucket index -> count, zeros left out."""
        return self._buckets

    def add(self, value: float, times: int = 1) -> None:
        """Count `value`.

        Raises:
            ValueError: Negative or not finite.
        """
        if not 0 <= value < math.inf:  # true of NaN too
            raise ValueError(f"a sketch takes finite values of 0 or more, got {value}")
        if value <= SMALLEST_VALUE:
            self.zeros += times
        else:
            value = min(value, LARGEST_VALUE)
            index = math.ceil(math.log(value) / self._log_gamma)
            buckets = self._buckets
            buckets[index] = buckets.get(index, 0) + times
            if len(buckets) > self._most:
                self.shrink(self._most)
        if value < self._minimum:
            self._minimum = value
        if value > self._maximum:
            self._maximum = value
        self.total += value * times

    def quantile(self, fraction: float) -> float:
        """Return the value below or at which `fraction` of the values lie, within the relative error.

        Raises:
            ValueError: Empty sketch, or `fraction` outside [0, 1].
        """
        count = self.count
        if not 0 <= fraction <= 1 or count == 0:
            raise ValueError(f"quantile {fraction} of a sketch with {count} values")
        rank, seen = max(1, math.ceil(fraction * count)), self.zeros
        if self.minimum is not None and rank in (1, count):
            return self._minimum if rank == 1 else self._maximum
        if seen >= rank:
            return 0.0
        for index in sorted(self._buckets):
            seen += self._buckets[index]
            if seen >= rank:
                break
        found = middle(index, self._log_gamma)
        # A message from outside may hold buckets and neither smallest nor largest value.
        return min(max(found, self._minimum), self._maximum) if self.minimum is not None else found

    def mean(self) -> float:
        """Return the exact mean of the values; 0 where there are none."""
        return self.total / self.count if self.count else 0.0

    def merge(self, other: SketchLike) -> None:
        """Add all values of `other`; the finer of both gives up resolution until the buckets fit together.

        Raises:
            ValueError: Another relative error: such buckets never fit together.
        """
        if other.relative_error_ratio != self.relative_error_ratio:
            errors = f"{self.relative_error_ratio} and {other.relative_error_ratio}"
            raise ValueError(f"sketches of errors {errors} cannot be merged")
        self.collapse_to(other.collapsed)
        buckets = self._buckets
        for index, times in coarser(other.counts(), self.collapsed - other.collapsed).items():
            buckets[index] = buckets.get(index, 0) + times
        self.zeros += other.zeros
        self.total += other.total
        self._minimum = min(self._minimum, math.inf if other.minimum is None else other.minimum)
        self._maximum = max(self._maximum, -math.inf if other.maximum is None else other.maximum)
        self.shrink(self._most)

    def shrink(self, most_buckets: int) -> None:
        """Halve the resolution until at most `most_buckets` buckets are left."""
        while len(self._buckets) > max(most_buckets, LEAST_BUCKETS):
            self.collapse_to(self.collapsed + 1)

    def collapse_to(self, collapsed: int) -> None:
        """Halve the resolution until it was halved `collapsed` times in all."""
        if collapsed > self.collapsed:
            self._buckets = coarser(self._buckets, collapsed - self.collapsed)
            self.collapsed = collapsed
            self._log_gamma = log_gamma(self.relative_error_ratio, collapsed)

    def copy(self) -> "QuantileSketch":
        """Return an independent sketch of the same values."""
        copied = QuantileSketch(self.relative_error_ratio, self._most)
        copied.merge(self)
        return copied

    def fields(self, most_buckets: int | None = None) -> dict[str, Any]:
        """Return the sketch as JSON values, buckets packed, defaults left out; `wire.sketch.SketchData` reads it.

        Args:
            most_buckets: Resolution is given up, in what is returned, until no more are left; null: all.
        """
        sketch = self
        if most_buckets is not None and len(self._buckets) > most_buckets:
            sketch = self.copy()
            sketch.shrink(most_buckets)
        found: dict[str, Any] = {
            "relative_error_ratio": self.relative_error_ratio,
            "collapsed": sketch.collapsed,
            "zeros": sketch.zeros,
            "packed": pack(sketch._buckets),
            "minimum": rounded(sketch.minimum),
            "maximum": rounded(sketch.maximum),
            "total": rounded(sketch.total),
        }
        usual = {"relative_error_ratio": RELATIVE_ERROR_RATIO, "packed": "", "minimum": None, "maximum": None}
        return {name: value for name, value in found.items() if value != usual.get(name, 0)}
