"""Trial records on the disk until the controller has acknowledged them, and how they travel.

Decides: names, compression, parts. Leaves out: when they are sent again (`sender.py`).
"""

import base64
import zlib
from collections.abc import Collection
from pathlib import Path

from agent.device.durable import write_durably
from wire.base import encode
from wire.canonical import sha256_hex
from wire.trial import TrialPart, TrialRecord

PART_BYTES = 64 * 1024
"""Of a record's compressed bytes a part: 88 kB as base64 in JSON, below the wire's 96 KiB."""

_SUFFIX = ".record.zz"


class Outbox:
    """`state_dir/outbox/{trial}.record.zz`: zlib over the record's canonical bytes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def put(self, record: TrialRecord) -> None:
        """Keep a record over restarts.

        Raises:
            DiskFull: No room.
        """
        write_durably(self._path(record.trial), zlib.compress(encode(record), 6))

    def trials(self) -> list[str]:
        """Return the trials that wait, by name."""
        return sorted(path.name.removesuffix(_SUFFIX) for path in self._folder.glob(f"*{_SUFFIX}"))

    def remove(self, trials: Collection[str]) -> list[str]:
        """Forget acknowledged records; return those that were here."""
        known = [trial for trial in self.trials() if trial in trials]
        for trial in known:
            self._path(trial).unlink(missing_ok=True)
        return known

    def parts(self, trial: str) -> list[TrialPart]:
        """Return a record cut for the wire; empty where it is not here any more."""
        try:
            content = self._path(trial).read_bytes()
        except FileNotFoundError:
            return []
        slices = [content[start : start + PART_BYTES] for start in range(0, len(content), PART_BYTES)]
        digest = sha256_hex(content)
        return [
            TrialPart(trial=trial, part=number, parts=len(slices), sha256=digest, data=base64.b64encode(piece).decode())
            for number, piece in enumerate(slices)
        ]

    def _path(self, trial: str) -> Path:
        return self._folder / f"{trial}{_SUFFIX}"
