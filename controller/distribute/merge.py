"""Merge what devices ask for, so that a chunk goes out once for all who miss it. Pure: time is an argument.

Decides: how long wants are gathered, and that what has just gone out is not repeated at once. Leaves out: sending.
"""

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass, field

from wire.artifact import Want
from wire.errors import MalformedMessage

WINDOW_S = 0.05
"""Wants for one artifact are gathered for so long: devices that were told at once ask at once."""
RECENT_S = 0.5
"""A chunk that went out this short a time ago is still on its way to whoever asks for it now. A device whose copy was
lost asks again later."""
MOST_CHUNKS_A_WANT = 1024
"""A device asks for a bounded window; a want for more is cut."""
MOST_ARTIFACTS = 1000
"""Artifacts that are gathered for at one time: a flood of invented digests stops here."""

Key = tuple[str, str]
"""(fleet, artifact)."""


@dataclass
class Batch:
    """What is to be sent for one artifact in one fleet: index pieces by digest, chunks by number."""

    fleet: str
    artifact: str
    due_s: float
    pieces: set[str] = field(default_factory=set)
    chunks: set[int] = field(default_factory=set)
    index: tuple[str, ...] = ()
    devices: set[str] = field(default_factory=set)


class WantMerger:
    """Open batches, and what was sent a moment ago."""

    def __init__(self, window_s: float = WINDOW_S, recent_s: float = RECENT_S) -> None:
        self._window_s = window_s
        self._recent_s = recent_s
        self._batches: dict[Key, Batch] = {}
        self._sent: dict[tuple[Key, str], float] = {}

    def add(self, fleet: str, want: Want, now_s: float) -> None:
        """Take a want in.

        Raises:
            MalformedMessage: The bitmap is not base64.
        """
        key = (fleet, want.artifact)
        wanted = wanted_chunks(want)
        if key not in self._batches and len(self._batches) >= MOST_ARTIFACTS:
            return
        batch = self._batches.setdefault(key, Batch(fleet, want.artifact, now_s + self._window_s))
        batch.pieces.update(want.pieces)
        batch.chunks.update(wanted)
        batch.index = want.index or batch.index
        batch.devices.add(want.device)

    def due(self, now_s: float) -> list[Batch]:
        """Return, and forget, the batches whose window is over."""
        keys = [key for key, batch in self._batches.items() if batch.due_s <= now_s]
        return [self._batches.pop(key) for key in keys]

    def next_due_s(self) -> float | None:
        """Return when the next batch is due, or None without any."""
        return min((batch.due_s for batch in self._batches.values()), default=None)

    def unsent(self, batch: Batch, ids: Iterable[str], now_s: float) -> list[str]:
        """Return which of `ids` did not go out a moment ago, and note that they do now."""
        self._sent = {each: sent_s for each, sent_s in self._sent.items() if now_s - sent_s < self._recent_s}
        key = (batch.fleet, batch.artifact)
        fresh = [each for each in ids if (key, each) not in self._sent]
        self._sent.update({(key, each): now_s for each in fresh})
        return fresh


def wanted_chunks(want: Want) -> list[int]:
    """Return the numbers of the chunks that a want asks for, at most `MOST_CHUNKS_A_WANT`.

    Raises:
        MalformedMessage: The bitmap is not base64.
    """
    try:
        bitmap = base64.b64decode(want.missing, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise MalformedMessage(f"bitmap of a want is not base64: {exc}") from exc
    numbers = (8 * place + bit for place, byte in enumerate(bitmap) for bit in range(8) if byte >> bit & 1)
    return [want.first + number for number, _ in zip(numbers, range(MOST_CHUNKS_A_WANT), strict=False)]
