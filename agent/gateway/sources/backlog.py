"""Messages that one source has heard and that its lane has no room for yet: they wait here, not in the lane.

Decides: when a message is read (at once while the lane has room, else once there is some), how many of a source's
queries stand in the lane (a burst must not take the places of applications, nor stand there until it times out), and
that the oldest go first when too many wait (`burst_dropped`). What makes no query needs no room. Other sources and the
session with the broker go on. Leaves out: what a message means (`mqtt.py`), what the lane drops by its policy.

    backlog = Backlog(read, lane, clock)        # read: Message -> Query | None
    end = link.subscribe("farm/+/climate", 1, backlog.hear); await backlog.run()
"""

import asyncio
from collections.abc import Callable

from agent.gateway.base import Clock, Intake, Outcome, Query
from agent.gateway.sources.inbox import MOST_A_TURN, Inbox, Message

MOST_WAITING = 10_000
MOST_WAITING_BYTES = 16 * 1024 * 1024
"""Messages that wait for one source."""

MOST_IN_LANE = 32
"""Queries of one source without an outcome: enough to keep a worker busy, and the others find places."""

LOOK_AGAIN_S = 0.005
"""How soon a full lane is looked at again."""

Read = Callable[[Message], Query | None]


class Backlog:
    """What one source still has to read. All methods belong to the event loop's thread."""

    def __init__(self, read: Read, intake: Intake, clock: Clock, inbox: Inbox | None = None) -> None:
        """Begin empty.

        Args:
            read: Returns the query that a message completes, if any; counts what it refuses.
            intake: Who is asked, and who counts what is dropped.
            clock: Tells when a message came.
            inbox: Where messages wait; null: one with this module's bounds.
        """
        self._read = read
        self._intake = intake
        self._clock = clock
        self._inbox = inbox if inbox is not None else Inbox(MOST_WAITING, MOST_WAITING_BYTES)
        self._held: Query | None = None
        """Read, but the lane had no room for it."""
        self._unanswered: list[asyncio.Future[Outcome]] = []
        self._waits = asyncio.Event()

    def hear(self, topic: str, payload: bytes) -> None:
        """Take a message in; it is read at once unless others wait before it."""
        self._inbox.put(Message(topic, payload, at_s=self._clock.now_s()))
        if not self._waits.is_set():
            self._go_on()

    async def run(self) -> None:
        """Read what waits as room comes, until cancelled."""
        while True:
            await self._waits.wait()
            await self._clock.sleep(LOOK_AGAIN_S if self._held is not None else 0.0)
            self._go_on()

    def _go_on(self) -> None:
        """Read messages until a query finds no room, none is left, or others must have their turn."""
        for _ in range(MOST_A_TURN):
            if not self._hand_over() or not self._read_one():
                break
        self._hand_over()
        if self._held is not None or len(self._inbox):
            self._waits.set()
        else:
            self._waits.clear()

    def _read_one(self) -> bool:
        messages, dropped, _ = self._inbox.take(1)
        for _ in range(dropped):
            self._intake.refuse("burst_dropped", "readings come faster than they are answered")
        for message in messages:
            self._held = self._read(message)
        return bool(messages)

    def _hand_over(self) -> bool:
        """Offer the query that is held, where there is room; return whether none is held any more."""
        if self._held is not None and self._has_room():
            query, self._held = self._held, None
            self._unanswered.append(self._intake.offer(query))
        return self._held is None

    def _has_room(self) -> bool:
        if len(self._unanswered) >= MOST_IN_LANE:
            self._unanswered = [each for each in self._unanswered if not each.done()]
        return len(self._unanswered) < MOST_IN_LANE and self._intake.room > 0
