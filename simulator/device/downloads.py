"""Artifacts of one device: fetched over the broker by the agent's own `Fetch`, each once, whoever wants it.

Decides: that two who want the same artifact share one download. Leaves out: how a fetch goes (`agent/update/fetch.py`).
"""

import random
from collections.abc import Callable
from typing import cast

from agent.artifacts.channel import BrokerChannel
from agent.artifacts.incoming import Incoming
from agent.artifacts.indexes import BadIndex
from agent.errors import BadBundle
from agent.update.fetch import Fetch
from simulator.device.arrivals import Arrivals
from simulator.device.library import AnyManifest, Library
from simulator.network.loop import EpollLoop
from wire.artifact import ArtifactRef
from wire.update import Have, ReportedError

Done = Callable[[ReportedError | None], None]
Progress = Callable[[Have], None]


class Downloads:
    """What is under way and what is here. Answers come through the loop, never at once."""

    def __init__(self, device: str, channel: BrokerChannel, loop: EpollLoop, library: Library) -> None:
        self._device = device
        self._channel = channel
        self._loop = loop
        self._library = library
        self._under_way: dict[str, tuple[Fetch, dict[str, tuple[Done, Progress]]]] = {}
        self._arrived: dict[str, Arrivals] = {}
        self.here: set[str] = set()
        """Digests of the artifacts that were verified."""

    def fetch(self, who: str, ref: ArtifactRef, done: Done, progress: Progress) -> None:
        """Bring every chunk of `ref` here; `done(error)` is called with null when they are."""
        if ref.digest in self.here:
            self._loop.post(lambda: done(None))
            return
        if ref.digest not in self._under_way:
            self._begin(ref)
        self._under_way[ref.digest][1][who] = (done, progress)

    def verify(self, ref: ArtifactRef) -> AnyManifest | ReportedError:
        """Return the manifest of an artifact that was fetched, or what is wrong with it."""
        known = self._library.named(ref.digest) if ref.digest in self.here else None
        if known is not None:
            return known
        arrivals = self._arrived.pop(ref.digest, None)
        if arrivals is None:
            detail = f"{ref.digest[:12]} was collected: fetched again"
            return ReportedError(code="bundle_missing", error_class="retryable", detail=detail)
        try:
            manifest = arrivals.manifest()
        except BadBundle as exc:
            return ReportedError(code=BadBundle.reason, error_class="terminal", detail=str(exc))
        self.here.add(ref.digest)
        return manifest

    def leave(self, who: str) -> None:
        """Forget what `who` waits for; a fetch that nobody waits for any more stops, what has arrived stays."""
        for digest, (fetch, waiting) in list(self._under_way.items()):
            waiting.pop(who, None)
            if not waiting:
                fetch.stop()
                del self._under_way[digest]

    def ask_again(self) -> None:
        """The broker came back: ask at once for what is on the way."""
        for fetch, _ in list(self._under_way.values()):
            fetch.ask_again()

    def collect(self, wanted: set[str]) -> None:
        """Forget artifacts that nobody names."""
        self.here &= wanted
        for digest in [digest for digest in self._arrived if digest not in wanted | set(self._under_way)]:
            del self._arrived[digest]

    def stop(self) -> None:
        """Stop all fetches."""
        for fetch, _ in self._under_way.values():
            fetch.stop()
        self._under_way.clear()

    def _begin(self, ref: ArtifactRef) -> None:
        arrivals = self._arrived.setdefault(ref.digest, Arrivals(ref, self._library))
        fetch = Fetch(
            self._device,
            cast(Incoming, arrivals),  # the same questions, answered from memory: a device here has no disk
            self._channel,
            self._loop,
            lambda error: self._fetched(ref.digest, error),
            on_progress=lambda have: self._progressed(ref.digest, have),
            jitter=lambda: random.uniform(0.8, 1.25),
        )
        self._under_way[ref.digest] = (fetch, {})
        self._loop.post(fetch.start)

    def _fetched(self, digest: str, error: ReportedError | None) -> None:
        _, waiting = self._under_way.pop(digest, (None, {}))
        if error is not None and error.code == BadIndex.reason:
            self._arrived.pop(digest, None)
        for done, _ in waiting.values():
            done(error)

    def _progressed(self, digest: str, have: Have) -> None:
        _, waiting = self._under_way.get(digest, (None, {}))
        for _, progress in list(waiting.values()):
            progress(have)
