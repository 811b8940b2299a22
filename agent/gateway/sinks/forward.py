"""From a lane to a sink: in order, each prediction at least once, and the lane never waits.

Decides: when a sink is tried again, and what becomes of predictions that it refuses. Leaves out: keeping them
(`store/store.py`) and delivering them (the sinks).
A sink that is away is tried again after 1 s, then ever rarer up to 60 s. One that refuses a list for good is given that
list's predictions one by one, so that one bad prediction costs only itself. A sink that writes rarely (`gather_s`) is
given what came meanwhile at once; until it has it, the store does.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Sequence

from agent.gateway.base import Clock, Prediction, Sink, Undeliverable, Undelivered
from agent.gateway.sinks.failures import NotNow, SinkFailed
from agent.gateway.store.store import Kept, Store

log = logging.getLogger(__name__)

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0
CLOSE_S = 1.5
"""A stop waits no longer for the disk and the sink: the gateway has 2 s."""
SHORTEST_JITTER_RATIO = 0.5
"""A wait is drawn from this share of it to all of it, so that devices do not come back in step."""


class Forwarder:
    """One sink and the store before it. Belongs to the event loop's thread."""

    def __init__(
        self,
        sink: Sink,
        store: Store,
        clock: Clock,
        count: Callable[[str], None],
        chance: Callable[[], float] = random.random,
        *,
        gather_s: float = 0.0,
    ) -> None:
        """Put them together; nothing is delivered before `run`.

        Args:
            sink: Where predictions go.
            store: Where they wait.
            clock: Its `sleep` paces the tries.
            count: Called with the reason of each failed try, and once per prediction that is dropped.
            chance: A number from 0 to 1, for the jitter.
            gather_s: How old the oldest prediction may become before the sink is asked; less where many wait.
        """
        self.name = sink.name
        self._sink = sink
        self._store = store
        self._clock = clock
        self._count = count
        self._chance = chance
        self._gather_s = gather_s
        self._wait_s = FIRST_WAIT_S
        self._singly_to = -1
        self._takes = True
        self._arrived = asyncio.Event()
        self._gathered = asyncio.Event()
        self._to_be_written = asyncio.Event()
        self._writer_is_idle = True
        self._closing = False
        self._delivering: asyncio.Task[None] | None = None
        self._writing: asyncio.Task[None] | None = None

    @property
    def store(self) -> Store:
        """Where predictions wait."""
        return self._store

    async def run(self) -> None:
        """Deliver until cancelled; what an earlier run left goes first."""
        self._writing = asyncio.create_task(self._write_when_due())
        self._delivering = asyncio.create_task(self._deliver_all())
        await self._delivering

    def accept(self, prediction: Prediction) -> None:
        """Take a prediction and go on; one that the store's policy does not keep is counted there."""
        if self._store.append(prediction):
            self._arrived.set()
            if self._gather_s and self._store.is_half_large:
                self._gathered.set()
            self._wake_writer()

    async def close(self) -> None:
        """Stop, within `CLOSE_S`; what was not delivered goes to the store, before anything else.

        A prediction that was under way may come twice. What the disk does not take is counted.
        """
        self._closing = True
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._save()
                await self._finish()
                await self._store.close()
        except TimeoutError:
            log.warning("sink %s and its store did not finish within %g s", self.name, CLOSE_S)
            self._store.give_up()

    async def _save(self) -> None:
        if self._writing is not None:
            self._to_be_written.set()
            await asyncio.shield(self._writing)  # never cancelled: its thread would go on beside the last write
        await self._store.save()

    async def _finish(self) -> None:
        """End the delivery under way, and have a sink that gathers take what it would have been given soon."""
        if self._delivering is not None:
            self._delivering.cancel()
            await asyncio.wait({self._delivering})
        for finish in (self._deliver_rest, self._sink.close):
            try:
                await finish()
            except (Undelivered, Undeliverable) as exc:
                self._count(exc.reason)
                log.warning("sink %s could not finish: %s", self.name, exc)

    async def _deliver_rest(self) -> None:
        while self._gather_s and self._takes and (waiting := self._store.peek(self._sink.most_each)):
            await self._sink.deliver([kept.prediction for kept in waiting])
            self._store.forget(waiting[-1].number)

    # --- delivering -----------------------------------------------------------------------------------------------

    async def _deliver_all(self) -> None:
        while True:
            self._arrived.clear()
            await self._gather()
            if waiting := self._store.peek(self._most()):
                await self._try(waiting)
            else:
                await self._arrived.wait()

    async def _gather(self) -> None:
        """Wait until what waits is old, or much."""
        while self._gather_s and (wait_s := self._store.gathered_in_s(self._gather_s)) > 0:
            self._gathered.clear()
            await self._wait(self._gathered, wait_s)

    def _most(self) -> int:
        is_split = self._store.position <= self._singly_to
        return 1 if is_split else self._sink.most_each

    async def _try(self, waiting: Sequence[Kept]) -> None:
        """Deliver and forget, or count the failure and wait."""
        last = waiting[-1].number
        try:
            await self._sink.deliver([kept.prediction for kept in waiting])
        except Undelivered as exc:
            await self._try_later(exc)
        except Undeliverable as exc:
            self._refused(last, exc, len(waiting))
        except Exception as exc:  # the outermost frame of a sink: a defect there must not end the forwarding
            log.exception("sink %s failed", self.name)
            await self._try_later(SinkFailed(f"{type(exc).__name__}: {exc}"))
        else:
            self._wait_s = FIRST_WAIT_S
            self._takes = True
            self._forget(last)
            await asyncio.sleep(0)  # a sink that never waits must not keep the event loop for itself

    async def _try_later(self, exc: Undelivered) -> None:
        self._takes = False
        self._count(exc.reason)
        wait_s = self._wait_s * (SHORTEST_JITTER_RATIO + (1 - SHORTEST_JITTER_RATIO) * self._chance())
        if isinstance(exc, NotNow):
            wait_s = max(wait_s, exc.after_s)
        log.warning("sink %s: %s; tried again in %.1f s", self.name, exc, wait_s)
        self._wait_s = min(LONGEST_WAIT_S, self._wait_s * 2)
        await self._clock.sleep(wait_s)

    def _refused(self, last: int, exc: Undeliverable, predictions: int) -> None:
        if predictions > 1:
            self._singly_to = last
            return
        log.warning("sink %s refused a prediction for good: %s", self.name, exc)
        self._count(exc.reason)
        self._forget(last)

    def _forget(self, number: int) -> None:
        self._store.forget(number)
        self._wake_writer()

    # --- keeping --------------------------------------------------------------------------------------------------

    def _wake_writer(self) -> None:
        """Have the writer look at the store again, unless it sleeps until its oldest prediction is due anyway."""
        if self._store.is_large or (self._writer_is_idle and self._store.due_in_s() is not None):
            self._to_be_written.set()

    async def _write_when_due(self) -> None:
        while not self._closing:
            wait_s = self._store.due_in_s()
            if wait_s is not None and wait_s <= 0:
                await self._store.write()
                continue
            self._writer_is_idle = wait_s is None
            self._to_be_written.clear()
            await self._wait(self._to_be_written, wait_s)

    async def _wait(self, event: asyncio.Event, wait_s: float | None) -> None:
        """Wait until somebody says so, or `wait_s` are over."""
        told = asyncio.ensure_future(event.wait())
        waits = {told} if wait_s is None else {told, asyncio.ensure_future(self._clock.sleep(wait_s))}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
