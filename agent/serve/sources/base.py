"""The interface of a source, and which one an order means."""

from typing import Any, Protocol

from numpy.typing import NDArray

from agent.inference.arrays import golden_inputs
from agent.inference.bundle import Bundle
from agent.serve.orders import NoSource, ReplaySource


class Source(Protocol):
    """Gives queries at a pace of its own."""

    period_s: float | None
    """Time from one query to the next [s]; None: never any."""

    def next_query(self) -> NDArray[Any]: ...


def make_source(source: ReplaySource | NoSource, bundle: Bundle) -> Source:
    """Return the source that the order names.

    Raises:
        BadBundle: The source needs a file that the bundle lacks.
    """
    if isinstance(source, ReplaySource):
        from agent.serve.sources.replay import Replay

        return Replay(golden_inputs(bundle), source.rate_hz)
    from agent.serve.sources.none import Nothing

    return Nothing()
