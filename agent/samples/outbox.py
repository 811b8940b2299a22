"""Captured samples on the disk, and how one is cut for the wire.

Decides: order, parts, and that only those of workloads whose configuration asks for samples are seen at all; others,
left from before the configuration was changed, are deleted. Leaves out: capturing (`gateway/store/capture.py`) and
when something is sent (`sender.py`). A file is read piece by piece: a sample may be larger than this process should be.
"""

import base64
import contextlib
import hashlib
import logging
from collections.abc import Collection, Generator
from pathlib import Path

from wire.sample import LARGEST_PACKED_BYTES, PART_BYTES, SamplePart

log = logging.getLogger(__name__)

PATTERN = "*/capture/*.sample"


class SampleOutbox:
    """`STATE/gateway/WORKLOAD/capture/ID.sample`, written by the gateway, deleted here."""

    def __init__(self, state_dir: Path, workloads: Collection[str]) -> None:
        """See the samples of `workloads`, and no others."""
        self._folder = state_dir / "gateway"
        self._workloads = frozenset(workloads)

    def oldest(self) -> str | None:
        """Return the id of the sample that waits longest; its name begins with its time. Null: none waits."""
        return min((path.stem for path in self._waiting()), default=None)

    def parts(self, sample: str) -> Generator[SamplePart, None, None]:
        """Yield a sample cut for the wire; nothing where it is not here any more, or is larger than the wire allows.

        Raises:
            OSError: It cannot be read.
        """
        path = next((path for path in self._waiting() if path.stem == sample), None)
        if path is None:
            return
        with contextlib.suppress(FileNotFoundError), path.open("rb") as packed:
            size_bytes = path.stat().st_size
            digest = hashlib.file_digest(packed, "sha256").hexdigest()
            packed.seek(0)
            parts = -(-size_bytes // PART_BYTES)
            for number in range(parts if size_bytes <= LARGEST_PACKED_BYTES else 0):
                data = base64.b64encode(packed.read(PART_BYTES)).decode()
                yield SamplePart(sample=sample, part=number, parts=parts, sha256=digest, data=data)

    def remove(self, samples: Collection[str]) -> list[str]:
        """Delete samples that the controller has, or that cannot be sent; return those that were here."""
        found = [path for path in self._waiting() if path.stem in samples]
        for path in found:
            path.unlink(missing_ok=True)
        return [path.stem for path in found]

    def remove_unasked(self) -> None:
        """Delete samples of workloads that are not captured any more."""
        for path in self._folder.glob(PATTERN):
            if path.parent.parent.name not in self._workloads:
                log.info("%s is deleted: its workload is not captured any more", path)
                path.unlink(missing_ok=True)

    def _waiting(self) -> list[Path]:
        return [path for path in self._folder.glob(PATTERN) if path.parent.parent.name in self._workloads]
