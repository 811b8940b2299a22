"""Fetch one artifact over a channel that loses, repeats and damages: ask, verify, keep, ask again for what is missing.

Decides: what to ask for and when (index pieces first, then chunks, never more than a window on the way; silence is met
with a repeated, ever rarer question). Leaves out: the disk (`agent/artifacts/incoming.py`), the broker (`Channel`).
QoS 1 is not enough: brokers drop when a client's queue is full.
"""

import logging
from collections.abc import Callable
from typing import Protocol

from agent.artifacts.incoming import Incoming, bitmap
from agent.artifacts.indexes import BadIndex
from agent.errors import DiskFull
from agent.loop import Timer
from wire.artifact import ChunkIndex, Want
from wire.base import LARGEST_PART_BYTES
from wire.canonical import sha256_hex
from wire.update import Have, ReportedError

log = logging.getLogger(__name__)

WINDOW_CHUNKS = 16
"""On the way at a time: 16 x 96 KiB stay far below a broker's queue for one client."""

SHORTEST_SILENCE_S = 1.0
LONGEST_SILENCE_S = 30.0


class Channel(Protocol):
    """How wants go out and chunks come in."""

    def listen(self, artifact: str, deliver: Callable[[str, bytes], None], /) -> None:
        """Have `deliver(id, payload)` called for every piece and chunk of `artifact` that arrives."""

    def unlisten(self, artifact: str, /) -> None:
        """End that."""

    def want(self, want: Want) -> None:
        """Ask. May be lost."""


class Timers(Protocol):
    """What a fetch needs of the loop."""

    def after(self, delay_s: float, call: Callable[[], None], /) -> Timer:
        """Make `call` in `delay_s` seconds."""


class Fetch:
    """One artifact under way. All methods belong to the consumer thread.

    `on_done(error)` is called once: null error when every chunk is safe on the disk. `jitter` returns a factor around
    1 for waiting times, so that devices which fell silent together do not ask together.
    """

    def __init__(
        self,
        device: str,
        incoming: Incoming,
        channel: Channel,
        timers: Timers,
        on_done: Callable[[ReportedError | None], None],
        *,
        on_progress: Callable[[Have], None] = lambda _: None,
        on_corrupt: Callable[[str], None] = lambda _: None,
        jitter: Callable[[], float] = lambda: 1.0,
    ) -> None:
        self._device = device
        self._incoming = incoming
        self._channel = channel
        self._timers = timers
        self._on_done = on_done
        self._on_progress = on_progress
        self._on_corrupt = on_corrupt
        self._jitter = jitter
        self._asked: set[str] = set()
        self._uncommitted = 0
        self._silence_s = SHORTEST_SILENCE_S
        self._timer: Timer | None = None
        self._ended = False
        self.corrupted = 0

    def start(self) -> None:
        """Listen and ask. Ends at once where everything is here already."""
        if self._incoming.complete:
            self._end(None)
            return
        self._channel.listen(self._incoming.ref.digest, self.deliver)
        self._ask()
        self._wait()

    def stop(self) -> None:
        """Stop asking; what has arrived stays, and nobody is told."""
        if not self._ended:
            self._ended = True
            self._leave()

    def ask_again(self) -> None:
        """Ask at once for all that is on the way: the broker came back."""
        if not self._ended:
            self._silence_s = SHORTEST_SILENCE_S
            self._repeat()

    def deliver(self, digest: str, payload: bytes) -> None:
        """Take a piece or chunk from the network: verified before anything is done with it."""
        if self._ended:
            return
        try:
            self._take(digest, payload)
        except DiskFull as exc:
            self._end(ReportedError(code=exc.reason, error_class="incompatible", detail=str(exc)))
        except BadIndex as exc:
            self._end(ReportedError(code=exc.reason, error_class="terminal", detail=str(exc)))
        except OSError as exc:
            self._end(ReportedError(code="disk_error", error_class="retryable", detail=str(exc)))

    def _take(self, digest: str, payload: bytes) -> None:
        self._incoming.count_received(len(payload))  # also what others asked for, or comes twice: it was paid for
        is_piece = digest in self._incoming.missing_pieces()
        if not is_piece and not self._incoming.is_missing(digest):
            return
        if len(payload) > LARGEST_PART_BYTES or sha256_hex(payload) != digest:
            self.corrupted += 1
            log.warning("%s of %s arrived damaged; it is asked for again", digest[:12], self._incoming.ref.digest[:12])
            self._on_corrupt(digest)
            return
        self._asked.discard(digest)
        if is_piece:
            self._incoming.add_piece(digest, payload)
        else:
            self._incoming.add_chunk(digest, payload)
            self._uncommitted += 1
        self._progress()

    def _progress(self) -> None:
        if self._uncommitted >= WINDOW_CHUNKS or not self._asked:
            self._incoming.commit()
            self._uncommitted = 0
            self._on_progress(self._incoming.have())
        if self._incoming.complete:
            self._end(None)
            return
        if len(self._asked) <= WINDOW_CHUNKS // 2:
            self._ask()
        self._silence_s = max(SHORTEST_SILENCE_S, self._silence_s / 2)
        self._wait()

    def _ask(self) -> None:
        """Ask for what is missing and not asked for yet, up to the window."""
        room = WINDOW_CHUNKS - len(self._asked)
        pieces = [digest for digest in self._incoming.missing_pieces() if digest not in self._asked][:room]
        index = self._incoming.index
        if pieces:
            self._send_pieces(pieces)
        elif index is not None:
            self._send_positions(index, set(self._incoming.next_missing(room, self._asked)))

    def _repeat(self) -> None:
        self._asked.clear()
        self._incoming.commit()
        self._uncommitted = 0
        self._ask()
        self._wait()

    def _send_pieces(self, pieces: list[str]) -> None:
        self._asked.update(pieces)
        ref = self._incoming.ref
        self._channel.want(Want(device=self._device, artifact=ref.digest, pieces=tuple(pieces), index=ref.index))

    def _send_positions(self, index: ChunkIndex, positions: set[int]) -> None:
        if not positions:
            return
        self._asked.update(index.chunks[position].id for position in positions)
        ref = self._incoming.ref
        first = min(positions)
        missing = bitmap(positions, first)
        want = Want(device=self._device, artifact=ref.digest, first=first, missing=missing, index=ref.index)
        self._channel.want(want)

    def _wait(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self._ended:
            self._timer = self._timers.after(self._silence_s * self._jitter(), self._silent)

    def _silent(self) -> None:
        self._silence_s = min(LONGEST_SILENCE_S, self._silence_s * 2)
        try:
            self._repeat()
        except DiskFull as exc:
            self._end(ReportedError(code=exc.reason, error_class="incompatible", detail=str(exc)))

    def _end(self, error: ReportedError | None) -> None:
        self._ended = True
        self._leave()
        self._on_done(error)

    def _leave(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._channel.unlisten(self._incoming.ref.digest)
