"""A mergeable quantile sketch with bounded relative error.

Decides: buckets, quantiles, merging. Leaves out: where it is stored.
Source: Masson, Rim, Lee: DDSketch (VLDB 2019); logarithmic buckets, lowest buckets collapsed when there are too many.

>>> sketch = Sketch(); sketch.add(3.0); sketch.add(5.0); round(sketch.quantile(1.0), 1)
5.0
"""

import math
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from wire.base import Message

RELATIVE_ERROR_RATIO = 0.01
MOST_BUCKETS = 256
SMALLEST_VALUE = 1e-6
"""Values at or below it are counted as zero: a nanosecond, in milliseconds."""

BucketIndex = Annotated[str, StringConstraints(pattern=r"^(0|-?[1-9][0-9]{0,8})$")]
_LARGEST_LOG = math.log(1e300)


class SketchData(Message):
    """A sketch on the wire. `buckets` maps the bucket's index (as text) to its count."""

    relative_error_ratio: float = Field(default=RELATIVE_ERROR_RATIO, gt=0, lt=1)
    zeros: int = Field(default=0, ge=0)
    buckets: dict[BucketIndex, Annotated[int, Field(ge=1)]] = Field(default_factory=dict, max_length=4096)
    minimum: float | None = None
    maximum: float | None = None
    total: float = 0.0

    @model_validator(mode="after")
    def _buckets_stand_for_numbers(self) -> Self:
        widest = _LARGEST_LOG / _log_gamma(self.relative_error_ratio)
        if any(abs(int(index)) > widest for index in self.buckets):
            raise ValueError(f"a bucket beyond {widest:.0f} stands for no number")
        return self

    @property
    def count(self) -> int:
        return self.zeros + sum(self.buckets.values())


class Sketch:
    """Counts non-negative values in buckets whose width grows with the value."""

    def __init__(self, relative_error_ratio: float = RELATIVE_ERROR_RATIO, most_buckets: int = MOST_BUCKETS) -> None:
        if not 0 < relative_error_ratio < 1:
            raise ValueError(f"relative error must lie between 0 and 1, got {relative_error_ratio}")
        self._error = relative_error_ratio
        self._most = most_buckets
        self._log_gamma = _log_gamma(relative_error_ratio)
        self._buckets: dict[int, int] = {}
        self._zeros = 0
        self._minimum = math.inf
        self._maximum = -math.inf
        self._total = 0.0

    @property
    def count(self) -> int:
        return self._zeros + sum(self._buckets.values())

    def add(self, value: float, times: int = 1) -> None:
        """Count `value`.

        Raises:
            ValueError: Negative or not finite.
        """
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"a sketch takes finite values of 0 or more, got {value}")
        if value <= SMALLEST_VALUE:
            self._zeros += times
        else:
            index = math.ceil(math.log(value) / self._log_gamma)
            self._buckets[index] = self._buckets.get(index, 0) + times
            self._collapse()
        self._minimum, self._maximum = min(self._minimum, value), max(self._maximum, value)
        self._total += value * times

    def quantile(self, fraction: float) -> float:
        """Return the value below or at which `fraction` of the values lie, within the relative error.

        Raises:
            ValueError: Empty sketch, or `fraction` outside [0, 1].
        """
        if not 0 <= fraction <= 1 or self.count == 0:
            raise ValueError(f"quantile {fraction} of a sketch with {self.count} values")
        rank = max(1, math.ceil(fraction * self.count))
        seen = self._zeros
        if seen >= rank:
            return 0.0
        for index in sorted(self._buckets):
            seen += self._buckets[index]
            if seen >= rank:
                middle = 2 * math.exp(index * self._log_gamma) / (1 + math.exp(self._log_gamma))
                return min(max(middle, self._minimum), self._maximum)
        return self._maximum

    def mean(self) -> float:
        """Return the exact mean of the values; 0 where there are none."""
        return self._total / self.count if self.count else 0.0

    def merge(self, other: SketchData) -> None:
        """Add all values of `other`.

        Raises:
            ValueError: Another relative error: such buckets do not fit together.
        """
        if other.relative_error_ratio != self._error:
            raise ValueError(f"sketches of errors {self._error} and {other.relative_error_ratio} cannot be merged")
        for index, times in other.buckets.items():
            self._buckets[int(index)] = self._buckets.get(int(index), 0) + times
        self._zeros += other.zeros
        self._total += other.total
        self._minimum = min(self._minimum, math.inf if other.minimum is None else other.minimum)
        self._maximum = max(self._maximum, -math.inf if other.maximum is None else other.maximum)
        self._collapse()

    def data(self) -> SketchData:
        """Return the sketch as it crosses the wire."""
        empty = self.count == 0
        return SketchData(
            relative_error_ratio=self._error,
            zeros=self._zeros,
            buckets={str(index): self._buckets[index] for index in sorted(self._buckets)},
            minimum=None if empty else self._minimum,
            maximum=None if empty else self._maximum,
            total=self._total,
        )

    def _collapse(self) -> None:
        # The smallest latencies lose their resolution first: nobody asks for their percentiles.
        while len(self._buckets) > self._most:
            lowest, next_lowest = sorted(self._buckets)[:2]
            self._buckets[next_lowest] += self._buckets.pop(lowest)


def _log_gamma(relative_error_ratio: float) -> float:
    """Return the logarithm of a bucket's upper bound over its lower one."""
    return math.log((1 + relative_error_ratio) / (1 - relative_error_ratio))
