"""No queries: the model is loaded, and answers only what is asked over stdin."""

from typing import Any

from numpy.typing import NDArray


class Nothing:
    """Never has a query."""

    period_s: float | None = None

    def next_query(self) -> NDArray[Any]:
        raise LookupError("this source has no queries")
