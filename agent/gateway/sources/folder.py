"""Files that appear in a folder: one query each, one at a time, set aside once they are answered.

Decides: a file is finished when two looks saw the same; it is set aside only after its answer, so that a crash in
between asks again (at least once); what is at fault when no answer comes. Leaves out: files themselves (`spool.py`).
"""

import asyncio
from collections import Counter
from collections.abc import Callable

from agent.gateway.base import Intake, Outcome, Surroundings
from agent.gateway.sources.readings import BadReading
from agent.gateway.sources.spool import Look, Spool
from agent.serve.settings import FolderSource

AT_FAULT = frozenset({"bad_query"})
"""Reasons that condemn the file at once."""
SUSPECT = frozenset({"worker_ended", "query_timeout", "query_out_of_memory"})
"""Reasons that condemn it the third time that a worker had it; all others leave it for a later look."""
MOST_SUSPICIONS = 3


class Folder:
    """A source of files."""

    period_s: float | None = None

    def __init__(self, settings: FolderSource, surroundings: Surroundings) -> None:
        self._settings = settings
        self._clock = surroundings.clock
        self._spool = Spool(settings)
        self._seen: dict[str, Look] = {}
        self._suspicions: Counter[Look] = Counter()
        self._verdicts: dict[Look, Callable[[], None]] = {}
        """Files that are settled but could not be set aside: they are not asked about again."""

    async def run(self, intake: Intake) -> None:
        """Offer files until cancelled.

        Raises:
            SourceLost: The folder is gone, or its files cannot be set aside.
        """
        while True:
            await self._round(intake)
            await self._clock.sleep(self._settings.poll_s)

    async def _round(self, intake: Intake) -> None:
        there = await asyncio.to_thread(self._spool.look)
        finished = [look for look in there if self._seen.get(look.name) == look]
        self._seen = {look.name: look for look in there}
        self._forget_what_is_gone(there)
        for look in finished:
            if look not in self._verdicts and not await self._asked(look, intake):
                break
            await self._set_aside(look)
        if finished:
            await asyncio.to_thread(self._spool.prune)

    async def _asked(self, look: Look, intake: Intake) -> bool:
        """Ask about a file; return whether the next one may be asked about now."""
        try:
            query = await asyncio.to_thread(self._spool.load, look)
        except BadReading as exc:
            intake.refuse(exc.reason, f"{look.name}: {exc.detail}")
            self._reject(look, exc.reason, exc.detail)
            return True
        if query is None:
            return True
        return self._judge(look, await intake.offer(query))

    def _judge(self, look: Look, outcome: Outcome) -> bool:
        if outcome.reason is None:
            self._verdicts[look] = lambda: self._spool.finish(look)
            return True
        self._suspicions[look] += outcome.asked and outcome.reason in SUSPECT
        if outcome.reason in AT_FAULT or self._suspicions[look] >= MOST_SUSPICIONS:
            self._reject(look, outcome.reason, outcome.detail)
            return True
        return False

    def _reject(self, look: Look, reason: str, detail: str) -> None:
        self._verdicts[look] = lambda: self._spool.reject(look, reason, detail)

    async def _set_aside(self, look: Look) -> None:
        set_aside = self._verdicts.get(look)
        if set_aside is not None:
            await asyncio.to_thread(set_aside)
            del self._verdicts[look]

    def _forget_what_is_gone(self, there: list[Look]) -> None:
        kept = set(there)
        for gone in [look for look in (*self._verdicts, *self._suspicions) if look not in kept]:
            self._verdicts.pop(gone, None)
            self._suspicions.pop(gone, None)
