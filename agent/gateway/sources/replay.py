"""Recorded queries at a rate: the bundle's golden inputs, or a file's.

Decides: pace, order, and that another bundle's inputs are taken up after a switch. Leaves out: the file (`npy.py`).
"""

from pathlib import Path

from agent.gateway.base import Intake, Query, SourceLost, Surroundings
from agent.gateway.sources.npy import NpyRows, open_npy
from agent.gateway.sources.pace import ticks
from agent.serve.settings import ReplaySource


class Replay:
    """A paced source of recorded queries."""

    period_s: float | None

    def __init__(self, settings: ReplaySource, surroundings: Surroundings) -> None:
        self.period_s = 1.0 / settings.rate_hz
        self._pace_s = self.period_s
        self._settings = settings
        self._surroundings = surroundings
        self._rows: NpyRows | None = None
        self._opened: Path | None = None
        self._next = 0

    async def run(self, intake: Intake) -> None:
        """Offer rows until cancelled, or until the end is reached and not repeated.

        Raises:
            SourceLost: The file is gone, or none of recorded queries.
        """
        self._next = 0
        try:
            async for _ in ticks(self._pace_s, self._surroundings.clock, intake):
                rows = self._current()
                if rows is None:
                    continue
                if self._next >= rows.n_rows:
                    if not self._settings.repeat:
                        return
                    self._next = 0
                intake.offer(self._query(rows))
        finally:
            self._close()

    def _current(self) -> NpyRows | None:
        """Return the rows to take from; null as long as there is no bundle."""
        wanted = self._settings.path or self._surroundings.golden_inputs()
        if wanted is None or (wanted == self._opened and self._rows is not None):
            return self._rows if wanted is not None else None
        self._close()
        try:
            self._rows = open_npy(wanted)
        except (OSError, ValueError) as exc:
            raise SourceLost(f"{wanted} cannot be replayed: {exc}; give a .npy file of queries") from exc
        self._opened, self._next = wanted, 0
        return self._rows

    def _query(self, rows: NpyRows) -> Query:
        number = self._next
        self._next += 1
        try:
            payload = rows.row(number)
        except (OSError, ValueError) as exc:
            raise SourceLost(f"{self._opened} cannot be replayed further: {exc}") from exc
        file = self._opened.name if self._opened is not None else ""
        origin = {"source": "replay", "file": file, "row": number}
        return Query(payload, "raw", rows.dtype, rows.row_shape, origin=origin)

    def _close(self) -> None:
        if self._rows is not None:
            self._rows.close()
        self._rows = self._opened = None
