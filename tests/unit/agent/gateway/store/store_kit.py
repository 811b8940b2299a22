"""A store, its clock and its counts, and the process after it."""

import asyncio
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

from agent.gateway.store.store import Store
from agent.serve.settings import StoreSettings
from tests.unit.agent.gateway.sinks.sink_kit import VirtualTime, number_of, prediction


class Stage:
    """A store, its clock and its counts; `again` is the next process on the same folder."""

    def __init__(self, folder: Path, time: VirtualTime | None = None, **settings: Any) -> None:
        self.folder, self.settings = folder, settings
        self.time = time or VirtualTime()
        self.counts: Counter[str] = Counter()
        self.store = Store(folder, StoreSettings(**settings), self.time.clock, self.count)

    def count(self, reason: str) -> None:
        self.counts[reason] += 1

    def again(self, **settings: Any) -> "Stage":
        return Stage(self.folder, self.time, **(self.settings | settings))

    def append(self, *numbers: int) -> None:
        for number in numbers:
            self.store.append(prediction(number))

    def write(self) -> None:
        asyncio.run(self.store.write())

    def close(self) -> None:
        asyncio.run(self.store.close())

    def rest(self, most: int = 50) -> list[int]:
        """Take out everything."""
        found: list[int] = []
        while kept := self.store.peek(most):
            found += [number_of(each.prediction) for each in kept]
            self.store.forget(kept[-1].number)
        return found

    def found_after_a_kill(self) -> list[int]:
        """What the next process would find, without taking it out."""
        copy = self.folder.with_name(f"{self.folder.name}-copy")
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.folder, copy)
        return Stage(copy, self.time, **self.settings).rest()

    def files(self) -> list[Path]:
        return sorted(self.folder.glob("*.jsonl"))
