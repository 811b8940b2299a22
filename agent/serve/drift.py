"""What the queries of a worker look like, sampled: so that a drift of the inputs shows before the answers go wrong.

Decides: which queries are looked at, and which numbers stand for one. Leaves out: what is a drift (whoever compares).
A row of features gives its first ones, each by its index; a text or a picture's file its length in `bytes`; any other
query gives `mean`, `deviation`, `smallest` and `largest` over its elements, and `missing_ratio` once any was no finite
number.

    inputs.look(query); line["inputs"] = inputs.take()
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wire.signed import SignedSketch

EVERY_S = 0.1
"""A query is looked at so often at most: 10 a second."""
MOST_FEATURES = 8
LARGEST_ROW = 256
"""A longer query of one axis is a waveform, and no row of features."""
MOST_ELEMENTS = 16_384
"""Of a larger query every n-th element is looked at."""


class InputSketches:
    """Sketches of one interval after the other; `look` costs next to nothing unless it is time."""

    def __init__(self, every_s: float = EVERY_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._every_s = every_s
        self._clock = clock
        self._due = -float("inf")
        self._sketches: dict[str, SignedSketch] = {}

    def look(self, query: NDArray[Any]) -> None:
        """Count what `query` looks like, if the last look is long enough ago."""
        now = self._clock()
        if now < self._due:
            return
        self._due = now + self._every_s
        for name, value in summarised(query):
            sketch = self._sketches.get(name)
            if sketch is None:
                sketch = self._sketches[name] = SignedSketch()
            sketch.add(value)

    def take(self) -> dict[str, str]:
        """Return the interval's sketches by name, packed, and start the next one."""
        found = {name: sketch.packed() for name, sketch in self._sketches.items()}
        self._sketches = {}
        return found


def summarised(query: NDArray[Any]) -> Iterator[tuple[str, float]]:
    """Yield the names and numbers that stand for a query; NaN where there is none."""
    if query.dtype.kind == "S":
        yield "bytes", float(len(query.item()))
        return
    if query.ndim == 1 and query.dtype == np.uint8:  # a text, or a picture's file: what it says stays here
        yield "bytes", float(query.size)
        return
    if query.ndim == 1 and query.size <= LARGEST_ROW:
        yield from zip(map(str, range(MOST_FEATURES)), query[:MOST_FEATURES].tolist(), strict=False)
        return
    elements = query.reshape(-1)
    elements = elements[:: max(1, -(-elements.size // MOST_ELEMENTS))].astype(np.float64)
    known = elements[np.isfinite(elements)]
    numbers = (known.mean(), known.std(), known.min(), known.max()) if known.size else (np.nan,) * 4
    yield from zip(("mean", "deviation", "smallest", "largest"), map(float, numbers), strict=True)
    if known.size < elements.size:
        yield "missing_ratio", 1 - known.size / elements.size
