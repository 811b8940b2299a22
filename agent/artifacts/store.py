"""Where artifacts lie: complete ones under their digest, those under way beside them; and what may be dropped.

Decides: names, that a folder under `artifacts/` is complete and verified (it gets there by one rename), and how much
disk all of it may take. Leaves out: fetching (`agent/update/fetch.py`) and verifying (`assemble.py`).

What may be dropped is what nobody names: the callers say which artifacts are running, the way back, or under way, and
the rest is swept. A chunk has as many references as artifacts and downloads have it, and goes with the last.
"""

import logging
import os
import shutil
import stat
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from agent.artifacts.held import Held, find_held, forget_held
from agent.device.durable import sync_folder
from agent.errors import DiskFull
from wire.artifact import MANIFEST_PATH, ArtifactRef

log = logging.getLogger(__name__)


class ArtifactStore:
    """`state_dir/artifacts/{digest}` and `state_dir/incoming/{digest}`."""

    def __init__(self, state_dir: Path, limit_bytes: int | None = None) -> None:
        """Make the folders. limit_bytes: what artifacts and downloads may take together; null: what the disk has."""
        self._limit_bytes = limit_bytes
        self._artifacts = state_dir / "artifacts"
        self._incoming = state_dir / "incoming"
        for folder in (self._artifacts, self._incoming):
            folder.mkdir(parents=True, exist_ok=True)

    def find(self, digest: str) -> Path | None:
        """Return the folder of a complete artifact, or None."""
        folder = self._artifacts / digest
        return folder if (folder / MANIFEST_PATH).is_file() else None

    def digests(self) -> frozenset[str]:
        """Return the digests of the complete artifacts."""
        return frozenset(entry.name for entry in self._artifacts.iterdir() if (entry / MANIFEST_PATH).is_file())

    def incoming(self, digest: str) -> Path:
        """Return the folder for what has arrived of an artifact so far."""
        return self._incoming / digest

    def adopt(self, digest: str, folder: Path) -> Path:
        """Move a verified folder in, by one rename, and forget its chunks.

        Raises:
            OSError: The rename failed; the folder stays where it was.
        """
        complete = self._artifacts / digest
        if self.find(digest) is None:
            shutil.rmtree(complete, ignore_errors=True)
            os.rename(folder, complete)
            sync_folder(self._artifacts)
        shutil.rmtree(self._incoming / digest, ignore_errors=True)
        return complete

    def drop(self, digest: str) -> None:
        """Forget a complete artifact."""
        _drop(self._artifacts / digest)

    def free_bytes(self) -> int:
        """Return what the disk, or the limit, has left for us [bytes]."""
        free = shutil.disk_usage(self._artifacts).free
        return free if self._limit_bytes is None else max(0, min(free, self._limit_bytes - self.used_bytes()))

    def used_bytes(self) -> int:
        """Return what artifacts and downloads take [bytes]; a file with two names counts once."""
        return _size_of(self._artifacts, self._incoming)

    def check_room(self, ref: ArtifactRef) -> None:
        """Refuse a download that would lead over the limit, counting what has come of it once.

        Raises:
            DiskFull: The limit is too low, or too much lies here.
        """
        if self._limit_bytes is None or self.find(ref.digest) is not None:
            return
        others = self.used_bytes() - _size_of(self.incoming(ref.digest))
        needed = ref.size_bytes + ref.wire_bytes
        if others + needed > self._limit_bytes:
            raise DiskFull(
                f"{ref.digest[:12]} needs {needed} bytes and {others} are taken: artifacts_limit_bytes is "
                f"{self._limit_bytes}; raise it, or keep fewer workloads"
            )

    def held(self, wanted: Collection[str]) -> dict[str, Held]:
        """Return which of the chunks `wanted` complete artifacts hold, and where."""
        found: dict[str, Held] = {}
        for digest in sorted(self.digests()) if wanted else ():
            found |= find_held(self._artifacts / digest, wanted)
        return found

    def forget_held(self, held: Collection[Held], chunks: Collection[str]) -> None:
        """Never take `chunks` from the artifacts of `held` again: the disk has damaged them there.

        Raises:
            DiskFull: No room.
        """
        for folder in {each.folder for each in held}:
            log.warning("%s is damaged on the disk: %d of its chunks are fetched again", folder.name[:12], len(chunks))
            forget_held(folder, chunks)

    def arrived(self, wanted: Collection[str], folder: Path) -> Iterator[tuple[str, Path]]:
        """Yield which of the chunks `wanted` other downloads than that in `folder` have brought, and where they lie."""
        for chunks in sorted(self._incoming.glob("*/chunks")):
            with suppress(FileNotFoundError):  # put together at this moment, in a thread of its own
                names = [entry.name for entry in os.scandir(chunks)] if chunks.parent != folder else []
                yield from ((name, chunks / name) for name in names if name in wanted)

    def collect(self, keep: Collection[str], keep_incoming: Collection[str]) -> list[str]:
        """Drop every artifact that is not in `keep`, and chunks of those in neither; return what was dropped."""
        dropped = [entry for entry in self._artifacts.iterdir() if entry.name not in keep]
        wanted = {*keep, *keep_incoming}
        half = [entry for entry in self._incoming.iterdir() if entry.name not in wanted]
        for folder in (*dropped, *half):
            _drop(folder)
        if dropped or half:
            log.info("dropped %d artifacts and %d unfinished downloads", len(dropped), len(half))
        return sorted(entry.name for entry in dropped)


def _drop(folder: Path) -> None:
    """Remove a folder; its manifest first, so that what a power cut leaves of it is not taken for complete."""
    with suppress(OSError):
        (folder / MANIFEST_PATH).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def _size_of(*folders: Path) -> int:
    sizes: dict[int, int] = {}
    for folder in folders:
        for path in folder.rglob("*"):
            with suppress(FileNotFoundError):
                status = path.lstat()
                sizes[status.st_ino] = status.st_size if stat.S_ISREG(status.st_mode) else 0
    return sum(sizes.values())
