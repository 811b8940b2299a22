"""Queries that wait for a worker: who goes in, who is dropped, who is next. Pure.

Decides: back-pressure. Applications that wait for an answer stand in line up to `size`; what a paced source offers
takes the place of its older query (`newest`), or stands in line too. Leaves out: time, workers, and telling anybody.
"""

from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")


@dataclass(frozen=True)
class Entry(Generic[ItemT]):
    """What became of an offer: taken or not, and who had to go for it."""

    taken: bool
    dropped: ItemT | None = None


class Waiting(Generic[ItemT]):
    """A bounded line, first come first served."""

    def __init__(self, size: int, drops_older: bool) -> None:
        """Hold up to `size`; with `drops_older` one of the source's at most, the newest."""
        self._size = size
        self._drops_older = drops_older
        self._line: deque[tuple[ItemT, bool]] = deque()

    def __len__(self) -> int:
        return len(self._line)

    @property
    def room(self) -> int:
        """How many more may come in. Where only the newest counts, none is held back: it would be an older one then."""
        return self._size if self._drops_older else max(0, self._size - len(self._line))

    def offer(self, item: ItemT, *, replaceable: bool) -> Entry[ItemT]:
        """Take `item` in where the policy allows it; `replaceable`: a newer one may take its place."""
        replaceable = replaceable and self._drops_older
        older = next((each for each in self._line if each[1]), None) if replaceable else None
        if len(self._line) - (older is not None) >= self._size:
            return Entry(False)
        if older is not None:
            self._line.remove(older)
        self._line.append((item, replaceable))
        return Entry(True, older[0] if older is not None else None)

    def put_back(self, item: ItemT) -> None:
        """Let `item` be next: its worker ended before it answered."""
        self._line.appendleft((item, False))

    def next(self) -> ItemT | None:
        """Take out who is next; None where nobody waits."""
        return self._line.popleft()[0] if self._line else None

    def remove(self, item: ItemT) -> bool:
        """Take `item` out; False where it does not wait."""
        found = next((each for each in self._line if each[0] is item), None)
        if found is not None:
            self._line.remove(found)
        return found is not None

    def clear(self) -> list[ItemT]:
        """Take everybody out."""
        items = [item for item, _ in self._line]
        self._line.clear()
        return items
