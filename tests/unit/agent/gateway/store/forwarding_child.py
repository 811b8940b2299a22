"""A process that forwards predictions until it is killed.

    python -m tests.unit.agent.gateway.store.forwarding_child FOLDER FIRST_NUMBER

While `FOLDER/online` exists its sink appends the numbers that it is given to `FOLDER/delivered`. Now and then it prints
how many of its predictions are delivered or on the disk, so that a kill cannot take them.
"""

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from agent.gateway.base import Clock, Prediction, Undelivered
from agent.gateway.sinks import forward
from agent.gateway.sinks.forward import Forwarder
from agent.gateway.store.store import Store
from agent.serve.settings import StoreSettings
from tests.unit.agent.gateway.sinks.sink_kit import number_of, prediction

EVERY = 20
SETTINGS = StoreSettings(flush_s=0.02, most_bytes=64 * 1024 * 1024)


class FileSink:
    """Takes numbers into a file; what it took survives the process."""

    name = "file"
    most_each = 7

    def __init__(self, folder: Path) -> None:
        self._online = folder / "online"
        self._file = os.open(folder / "delivered", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    async def deliver(self, predictions: Sequence[Prediction]) -> None:
        if not self._online.exists():
            raise Undelivered("offline")
        os.write(self._file, "".join(f"{number_of(each)}\n" for each in predictions).encode())

    async def close(self) -> None:
        os.close(self._file)


async def run(folder: Path, first: int) -> None:
    forward.FIRST_WAIT_S = forward.LONGEST_WAIT_S = 0.05
    clock = Clock()
    store = Store(folder / "store", SETTINGS, clock, lambda _: None)
    before = store._next  # what an earlier life left
    forwarder = Forwarder(FileSink(folder), store, clock, lambda _: None)
    running = asyncio.create_task(forwarder.run())
    number = first
    while not running.done():
        forwarder.accept(prediction(number))
        number += 1
        if number % EVERY == 0:
            print((store._memory[0].number if store._memory else store._next) - before, flush=True)
        await asyncio.sleep(0.0005)


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1]), int(sys.argv[2])))
