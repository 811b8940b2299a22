"""Chunks over the broker: wants go out by shard, and what arrives goes to the fetch that listens for it."""

from collections.abc import Callable

from agent.mqtt import ChunkReceived, Link
from wire.artifact import Want
from wire.topics import Topics


class BrokerChannel:
    """The fetch's `Channel` over a `Link`."""

    def __init__(self, link: Link, fleet: str) -> None:
        self._link = link
        self._topics = Topics(fleet)
        self._listeners: dict[str, Callable[[str, bytes], None]] = {}

    def listen(self, artifact: str, deliver: Callable[[str, bytes], None]) -> None:
        """Have `deliver(id, payload)` called for every piece and chunk of `artifact`."""
        self._listeners[artifact] = deliver
        self._link.listen(artifact)

    def unlisten(self, artifact: str) -> None:
        """End that."""
        if self._listeners.pop(artifact, None) is not None:
            self._link.unlisten(artifact)

    def want(self, want: Want) -> None:
        """Ask for pieces or chunks; lost where the broker is away, the fetch asks again."""
        self._link.publish(self._topics.want(want.artifact), want)

    def arrived(self, received: ChunkReceived) -> None:
        """Hand a chunk on; one that nobody waits for any more is dropped."""
        deliver = self._listeners.get(received.artifact)
        if deliver is not None:
            deliver(received.chunk, received.payload)
