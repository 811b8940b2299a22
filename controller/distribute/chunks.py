"""The chunk server: answers wants by publishing index pieces and chunks, each once for all who ask.

Decides: the order (pieces first, then chunks by number), how many are on their way at a time, what is ignored. Leaves
out: gathering the wants (`merge`), cutting files into chunks (`controller/bundle`).
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Protocol

from controller.distribute.merge import Batch, WantMerger
from controller.errors import ControllerError
from wire.artifact import ArtifactRef, ChunkIndex, Want
from wire.errors import WireError
from wire.topics import Topics

log = logging.getLogger(__name__)

MOST_IN_FLIGHT = 32
"""Chunks that the broker has not acknowledged: 3 MB, so that a slow broker's queue stays short."""
ACKNOWLEDGE_TIMEOUT_S = 10.0
_IDLE_S = 0.5


class ChunkSource(Protocol):
    """What is needed of the artifact store (`controller/bundle/artifacts.py`)."""

    def ref(self, digest: str) -> ArtifactRef: ...
    def index(self, digest: str) -> ChunkIndex: ...
    def chunk(self, artifact: str, chunk: str) -> bytes: ...
    def piece(self, artifact: str, digest: str) -> bytes: ...


class Publish(Protocol):
    """How a message goes out: `BrokerClient.publish`."""

    def __call__(self, topic: str, payload: bytes, *, on_done: Callable[[], None] | None = None) -> object: ...


class ChunkServer:
    """A thread that publishes what is wanted. `add` may be called from any thread."""

    def __init__(
        self,
        source: ChunkSource,
        publish: Publish,
        connected: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._publish = publish
        self._connected = connected
        self._clock = clock
        self._merger = WantMerger()
        # An artifact never changes under its digest; reading an index anew for every want would be the whole cost.
        self._index = lru_cache(maxsize=32)(source.index)
        self._ref = lru_cache(maxsize=32)(source.ref)
        self._slots = threading.BoundedSemaphore(MOST_IN_FLIGHT)
        self._wake = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="chunks", daemon=True)
        self.published_bytes: Counter[str] = Counter()
        """Bytes published per artifact, since the start."""
        self.published_chunks: Counter[str] = Counter()
        """Messages published per artifact, index pieces included."""

    def start(self) -> None:
        """Start serving."""
        self._thread.start()

    def stop(self) -> None:
        """Stop serving; what was wanted is dropped, since devices ask again."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        if self._thread.is_alive():
            self._thread.join(ACKNOWLEDGE_TIMEOUT_S)

    def add(self, fleet: str, want: Want) -> None:
        """Take a device's want in.

        Raises:
            MalformedMessage: The bitmap is not base64.
        """
        with self._wake:
            self._merger.add(fleet, want, self._clock())
            self._wake.notify_all()

    def serve_due(self) -> int:
        """Publish what is due now; return the number of messages."""
        with self._wake:
            batches = self._merger.due(self._clock())
        return sum(self._serve(batch) for batch in batches)

    def _run(self) -> None:
        while not self._stopping:
            with self._wake:
                self._wake.wait(self._pause_s())
            try:
                self.serve_due()
            except Exception:
                log.exception("serving chunks failed; devices ask again")

    def _pause_s(self) -> float:
        due_s = self._merger.next_due_s()
        return _IDLE_S if due_s is None else min(_IDLE_S, max(0.0, due_s - self._clock()))

    def _serve(self, batch: Batch) -> int:
        if not self._connected():
            return 0
        try:
            return sum(self._send(batch, chunk, content) for chunk, content in self._contents(batch))
        except (ControllerError, WireError, OSError, KeyError) as exc:
            log.warning("%s wanted by %s is not served: %s", batch.artifact, ", ".join(sorted(batch.devices)), exc)
            return 0

    def _contents(self, batch: Batch) -> Iterator[tuple[str, bytes]]:
        ref = self._ref(batch.artifact)
        if batch.index and batch.index != ref.index:
            log.warning("%s is wanted by another index than ours: %s", batch.artifact, ", ".join(sorted(batch.devices)))
            return
        for piece in self._fresh(batch, (each for each in ref.index if each in batch.pieces)):
            yield piece, self._source.piece(batch.artifact, piece)
        if batch.chunks:
            chunks = self._index(batch.artifact).chunks
            ids = (chunks[number].id for number in sorted(batch.chunks) if number < len(chunks))
            for chunk in self._fresh(batch, dict.fromkeys(ids)):
                yield chunk, self._source.chunk(batch.artifact, chunk)

    def _fresh(self, batch: Batch, ids: Iterable[str]) -> list[str]:
        with self._wake:
            return self._merger.unsent(batch, ids, self._clock())

    def _send(self, batch: Batch, chunk: str, content: bytes) -> int:
        if self._stopping or not self._slots.acquire(timeout=ACKNOWLEDGE_TIMEOUT_S):
            return 0  # the broker is stuck: devices ask again
        self._publish(Topics(batch.fleet).chunk(batch.artifact, chunk), content, on_done=self._slots.release)
        self.published_bytes[batch.artifact] += len(content)
        self.published_chunks[batch.artifact] += 1
        return 1
