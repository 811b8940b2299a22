"""Messages between the broker's thread, the event loop and a source: who hears which, and how many may wait.

Decides: which sources a message is for, and that a burst drops the oldest. Leaves out: MQTT itself (`gateway/mqtt.py`).
"""

import itertools
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

MOST_WAITING = 10_000
MOST_WAITING_BYTES = 32 * 1024 * 1024
"""Messages between paho's thread and the event loop; the loop is late only where the whole device is."""

MOST_A_TURN = 100
"""Messages given out before the event loop has another turn."""

Heard = Callable[[str, bytes], None]


@dataclass(frozen=True)
class Message:
    """What arrived. `filters`: numbers of the filters it is a copy for; a broker that gives none sends one for all."""

    topic: str
    payload: bytes
    filters: tuple[int, ...] = ()
    at_s: float = 0.0
    """When its source heard it, by the device's clock [s since 1970]; 0: no source has yet."""


class Inbox:
    """Messages on their way: bounded, the oldest go first. Two threads may use it."""

    def __init__(self, most: int = MOST_WAITING, most_bytes: int = MOST_WAITING_BYTES) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._lock = threading.Lock()
        self._messages: deque[Message] = deque()
        self._bytes = 0
        self._dropped = 0

    def __len__(self) -> int:
        return len(self._messages)

    def put(self, message: Message) -> bool:
        """Add a message; return whether the inbox was empty, so that somebody must be woken."""
        with self._lock:
            was_empty = not self._messages
            self._messages.append(message)
            self._bytes += len(message.payload)
            while len(self._messages) > self._most or (self._bytes > self._most_bytes and len(self._messages) > 1):
                self._bytes -= len(self._messages.popleft().payload)
                self._dropped += 1
            return was_empty

    def take(self, most: int = MOST_A_TURN) -> tuple[list[Message], int, bool]:
        """Return up to `most` messages, how many were dropped since the last call, and whether more wait."""
        with self._lock:
            taken = [self._messages.popleft() for _ in range(min(most, len(self._messages)))]
            self._bytes -= sum(len(message.payload) for message in taken)
            dropped, self._dropped = self._dropped, 0
            return taken, dropped, bool(self._messages)


@dataclass
class _Filter:
    number: int
    """The broker gives it back with each message: it sends a copy for each filter that matches."""
    listeners: list[tuple[int, Heard]] = field(default_factory=list)

    @property
    def qos(self) -> int:
        return max((qos for qos, _ in self.listeners), default=-1)


class Subscriptions:
    """Who hears which topics. The broker is asked once per filter, however many sources share it."""

    def __init__(self) -> None:
        self._filters: dict[str, _Filter] = {}
        self._numbers = itertools.count(1)

    def add(self, topic: str, qos: int, heard: Heard) -> bool:
        """Add a listener; return whether the broker must be asked."""
        if topic not in self._filters:
            self._filters[topic] = _Filter(next(self._numbers))
        found = self._filters[topic]
        before = found.qos
        found.listeners.append((qos, heard))
        return found.qos > before

    def remove(self, topic: str, heard: Heard) -> bool:
        """Remove a listener; return whether it was the filter's last."""
        found = self._filters.get(topic)
        if found is None:
            return False
        found.listeners = [each for each in found.listeners if each[1] is not heard]
        if found.listeners:
            return False
        del self._filters[topic]
        return True

    def wanted(self, *topics: str) -> list[tuple[str, int, int]]:
        """Return what the broker is asked for: filter, QoS, number; of all filters where none is named."""
        chosen = topics or tuple(self._filters)
        return [(topic, self._filters[topic].qos, self._filters[topic].number) for topic in chosen]

    def listeners(self, message: Message) -> list[Heard]:
        """Return who hears a message."""
        heard = [
            found
            for topic, found in self._filters.items()
            if (found.number in message.filters if message.filters else matches(topic, message.topic))
        ]
        return [listener for found in heard for _, listener in found.listeners]


def matches(topic_filter: str, topic: str) -> bool:
    """Return whether a filter takes a topic in. Source: MQTT 5.0, 4.7."""
    wanted, levels = topic_filter.split("/"), topic.split("/")
    if topic.startswith("$") and wanted[0] in ("+", "#"):
        return False
    if wanted[-1] == "#":
        wanted = wanted[:-1]
        levels = levels[: len(wanted)]
    return len(wanted) == len(levels) and all(each in ("+", level) for each, level in zip(wanted, levels, strict=True))
