"""Recorded queries, again and again: a device without sensors still shows that it serves."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.errors import BadBundle


class Replay:
    """Gives the inputs in their order, at a fixed rate."""

    def __init__(self, inputs: NDArray[Any], rate_hz: float) -> None:
        """Take `inputs` (samples, …) to be repeated, `rate_hz` queries a second.

        Raises:
            BadBundle: There is none.
        """
        if len(inputs) == 0:
            raise BadBundle("nothing to replay: the bundle has no golden inputs")
        self.period_s: float | None = 1.0 / rate_hz
        self._queries = [np.ascontiguousarray(query) for query in inputs]
        self._next = 0

    def next_query(self) -> NDArray[Any]:
        query = self._queries[self._next]
        self._next = (self._next + 1) % len(self._queries)
        return query
