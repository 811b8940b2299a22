"""Artifacts by reference, for the update machine and the measuring plan alike: each is fetched and assembled once.

Decides: that two who want the same artifact share one download, and that assembling happens one at a time, in a thread.
Leaves out: how a fetch goes (`agent/update/fetch.py`).
"""

import logging
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from agent.artifacts.assemble import Assembled, DamagedChunks, assemble
from agent.artifacts.incoming import Incoming, discard
from agent.artifacts.indexes import BadIndex
from agent.artifacts.store import ArtifactStore
from agent.errors import AgentError, BadBundle, DiskFull
from agent.loop import Loop
from agent.update.fetch import Channel, Fetch
from wire.artifact import ArtifactRef
from wire.update import Have, ReportedError

log = logging.getLogger(__name__)

FetchDone = Callable[[ReportedError | None], None]
AssembleDone = Callable[["Assembled | ReportedError"], None]


@dataclass
class _Waiting:
    fetch: Fetch
    done: dict[str, FetchDone] = field(default_factory=dict)
    progress: dict[str, Callable[[Have], None]] = field(default_factory=dict)


class Downloads:
    """What is under way. All methods belong to the consumer thread; answers come through it, never at once."""

    def __init__(
        self,
        device: str,
        store: ArtifactStore,
        channel: Channel,
        loop: Loop,
        on_corrupt: Callable[[str, str], None],
        *,
        on_fetched: Callable[[str, Have], None] = lambda *_: None,
    ) -> None:
        """Have nothing under way.

        Args:
            device: Whose wants they are.
            store: Where artifacts lie.
            channel: How chunks come.
            loop: Whose thread all answers come through.
            on_corrupt: Told (artifact, chunk) for each that arrives damaged.
            on_fetched: Told (artifact, what it took) when all chunks of one are here.
        """
        self._device = device
        self._store = store
        self._channel = channel
        self._loop = loop
        self._on_corrupt = on_corrupt
        self._on_fetched = on_fetched
        self._under_way: dict[str, _Waiting] = {}
        self._incoming: dict[str, Incoming] = {}
        self._assembling = threading.Lock()

    @property
    def digests(self) -> frozenset[str]:
        """Artifacts that must not be collected now: they are fetched or assembled, or lend chunks to such a one."""
        lenders = (incoming.leans_on for incoming in self._incoming.values())
        return frozenset({*self._under_way, *self._incoming}.union(*lenders))

    def fetch(self, who: str, ref: ArtifactRef, done: FetchDone, progress: Callable[[Have], None]) -> None:
        """Bring every chunk of `ref` to the disk; `done(error)` is called with null when they are safe there."""
        if self._store.find(ref.digest) is not None:
            self._loop.post(lambda: done(None))
            return
        waiting = self._under_way.get(ref.digest)
        if waiting is None:
            try:
                waiting = self._open(ref)
            except AgentError as exc:
                error = as_reported(exc)
                self._loop.post(lambda: done(error))
                return
        waiting.done[who], waiting.progress[who] = done, progress

    def leave(self, who: str) -> None:
        """Forget what `who` waits for; a fetch that nobody waits for any more stops, its chunks stay."""
        for digest, waiting in list(self._under_way.items()):
            waiting.done.pop(who, None)
            waiting.progress.pop(who, None)
            if not waiting.done:
                waiting.fetch.stop()
                del self._under_way[digest]
                self._incoming.pop(digest, None)

    def assemble(self, ref: ArtifactRef, done: AssembleDone) -> None:
        """Put `ref` together and verify it; `done` gets the artifact, or what is wrong with it."""
        try:
            incoming = self._incoming.get(ref.digest) or self._open_incoming(ref)
        except AgentError as exc:
            error = as_reported(exc)
            self._loop.post(lambda: done(error))
            return
        threading.Thread(target=self._assemble, args=(incoming, done), name="assemble", daemon=True).start()

    def ask_again(self) -> None:
        """The broker came back: ask at once for what is on the way."""
        for waiting in list(self._under_way.values()):
            waiting.fetch.ask_again()

    def stop(self) -> None:
        """Stop all fetches."""
        for waiting in self._under_way.values():
            waiting.fetch.stop()
        self._under_way.clear()

    def _open_incoming(self, ref: ArtifactRef) -> Incoming:
        self._store.check_room(ref)
        incoming = Incoming(self._store.incoming(ref.digest), ref, self._store)
        self._incoming[ref.digest] = incoming
        return incoming

    def _open(self, ref: ArtifactRef) -> _Waiting:
        incoming = self._open_incoming(ref)
        fetch = Fetch(
            self._device,
            incoming,
            self._channel,
            self._loop,
            lambda error: self._fetched(ref.digest, error),
            on_progress=lambda have: self._progressed(ref.digest, have),
            on_corrupt=lambda chunk: self._on_corrupt(ref.digest, chunk),
            jitter=lambda: random.uniform(0.8, 1.25),
        )
        waiting = _Waiting(fetch)
        self._under_way[ref.digest] = waiting
        self._loop.post(fetch.start)
        return waiting

    def _fetched(self, digest: str, error: ReportedError | None) -> None:
        waiting = self._under_way.pop(digest, None)
        if error is not None:
            incoming = self._incoming.pop(digest, None)
            if error.code == BadIndex.reason and incoming is not None:
                discard(incoming.folder)
        elif waiting is not None and digest in self._incoming:
            self._on_fetched(digest, self._incoming[digest].have())
        for done in waiting.done.values() if waiting else ():
            done(error)

    def _progressed(self, digest: str, have: Have) -> None:
        waiting = self._under_way.get(digest)
        for progress in list(waiting.progress.values()) if waiting else ():
            progress(have)

    def _assemble(self, incoming: Incoming, done: AssembleDone) -> None:
        """Runs in a thread of its own; only the answer goes back to the consumer thread."""
        answer: Assembled | ReportedError
        damaged: list[str] = []
        with self._assembling:
            try:
                answer = assemble(incoming, self._store)
            except (AgentError, OSError) as exc:
                answer = as_reported(exc)
                damaged = exc.chunks if isinstance(exc, DamagedChunks) else []
            except Exception as exc:
                # The outermost frame of this thread: what is lost here leaves whoever waits for the answer waiting.
                log.exception("assembling %s failed unexpectedly", incoming.ref.digest[:12])
                answer = as_reported(AgentError(f"unexpected while assembling: {exc!r}"))
        self._loop.post(lambda: self._assembled(incoming, damaged, answer, done))

    def _assembled(
        self, incoming: Incoming, damaged: list[str], answer: Assembled | ReportedError, done: AssembleDone
    ) -> None:
        self._incoming.pop(incoming.ref.digest, None)
        if damaged:
            self._store.forget_held([held for chunk in damaged if (held := incoming.held(chunk))], damaged)
            incoming.forget(damaged)
        elif isinstance(answer, Assembled) or answer.error_class == "terminal":
            discard(incoming.folder)
        done(answer)


def as_reported(exc: AgentError | OSError) -> ReportedError:
    """Return what is told of a failed download: whether it is worth another try, or the device's lack of room."""
    detail = str(exc)[:1000]
    if isinstance(exc, DiskFull):
        return ReportedError(code=exc.reason, error_class="incompatible", detail=detail)
    if isinstance(exc, (BadIndex, BadBundle)):
        return ReportedError(code=exc.reason, error_class="terminal", detail=detail)
    code = exc.reason if isinstance(exc, AgentError) else "disk_error"
    return ReportedError(code=code, error_class="retryable", detail=detail)
