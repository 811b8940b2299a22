"""What tests of sinks share: a clock that a test moves, a sink that takes, refuses or hangs, predictions by number."""

import asyncio
import heapq
import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from agent.gateway.base import Clock, Prediction, Sink, Surroundings, Undelivered
from agent.gateway.sinks.forward import Forwarder
from agent.gateway.store.store import Store
from agent.serve.settings import StoreSettings

START_S = 1_800_000_000.0


class VirtualTime:
    """A day in a second: `advance` wakes who sleeps, in order, and lets the loop settle after each."""

    def __init__(self) -> None:
        self.elapsed_s = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()
        self.clock = Clock(lambda: START_S + self.elapsed_s, lambda: self.elapsed_s, self.sleep)

    async def sleep(self, seconds: float) -> None:
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.elapsed_s + seconds, next(self._numbers), future))
        await future

    async def advance(self, seconds: float) -> None:
        end_s = self.elapsed_s + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end_s:
            due_s, _, future = heapq.heappop(self._sleepers)
            if not future.done():
                self.elapsed_s = due_s
                future.set_result(None)
                await settle()
        self.elapsed_s = end_s


async def settle(turns: int = 12) -> None:
    """Let everything run that can."""
    for _ in range(turns):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what other threads or processes do; the test's own timeout ends it."""
    while not condition():
        await asyncio.sleep(0.005)


class FakeSink:
    """Takes predictions, or raises what `failure` makes of them."""

    name = "fake"

    def __init__(self, most_each: int = 10) -> None:
        self.most_each = most_each
        self.failure: Callable[[Sequence[Prediction]], Exception | None] = lambda _: None
        self.delivered: list[int] = []
        self.sizes: list[int] = []
        self.tries = 0
        self.closed = False

    async def deliver(self, predictions: Sequence[Prediction]) -> None:
        self.tries += 1
        failure = self.failure(predictions)
        if failure is not None:
            raise failure
        self.sizes.append(len(predictions))
        self.delivered += [number_of(each) for each in predictions]

    async def close(self) -> None:
        self.closed = True


def away(_: Sequence[Prediction]) -> Exception:
    """A failure: the other side is not there."""
    return Undelivered("nobody is there")


def prediction(number: int, **fields: Any) -> Prediction:
    document = {
        "device": "barn-1",
        "workload": "climate",
        "bundle": "ab" * 32,
        "id": f"boot-{number}",
        "at_s": START_S + number,
        "origin": {"topic": "farm/barn/climate", "key": "climate", "n": number},
        "classes": [1],
        "labels": ["dry"],
        "values": [0.75],
    }
    return Prediction({**document, **fields})


def number_of(prediction: Prediction) -> int:
    return int(str(prediction.document["id"]).removeprefix("boot-"))


def surroundings(folder: Path, link: Any = None, count: Callable[[str], None] | None = None) -> Surroundings:
    return Surroundings(
        device="barn-1",
        workload="climate",
        state_dir=folder,
        clock=VirtualTime().clock,
        link=link,
        golden_inputs=lambda: None,
        count=count or (lambda _: None),
    )


class Line:
    """A forwarder with its sink, store and clock, running in the test's loop."""

    def __init__(
        self,
        folder: Path,
        time: VirtualTime | None = None,
        gather_s: float = 0.0,
        sink: Sink | None = None,
        **settings: Any,
    ) -> None:
        self.time = time or VirtualTime()
        self.counts: Counter[str] = Counter()
        self.sink = FakeSink()
        self.store = Store(folder, StoreSettings(**settings), self.time.clock, self.count)
        self.forwarder = Forwarder(
            sink or self.sink, self.store, self.time.clock, self.count, chance=lambda: 1.0, gather_s=gather_s
        )
        self._running: asyncio.Task[None] | None = None

    def count(self, reason: str) -> None:
        self.counts[reason] += 1

    async def __aenter__(self) -> "Line":
        self._running = asyncio.create_task(self.forwarder.run())
        await settle()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._running is not None
        self._running.cancel()
        await self.forwarder.close()
