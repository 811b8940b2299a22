"""Where artifacts lie: complete ones under their digest, those under way beside them; and what may be dropped.

Decides: names, and that a folder under `artifacts/` is complete and verified (it gets there by one rename). Leaves out:
fetching (`agent/update/fetch.py`) and verifying (`assemble.py`).
"""

import logging
import os
import shutil
from collections.abc import Collection
from pathlib import Path

from agent.device.durable import sync_folder
from wire.artifact import MANIFEST_PATH

log = logging.getLogger(__name__)


class ArtifactStore:
    """`state_dir/artifacts/{digest}` and `state_dir/incoming/{digest}`."""

    def __init__(self, state_dir: Path) -> None:
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
        shutil.rmtree(self._artifacts / digest, ignore_errors=True)

    def free_bytes(self) -> int:
        """Return what the disk has left for us [bytes]."""
        return shutil.disk_usage(self._artifacts).free

    def collect(self, keep: Collection[str], keep_incoming: Collection[str]) -> list[str]:
        """Drop every artifact that is not in `keep`, and chunks of those in neither; return what was dropped."""
        dropped = [entry for entry in self._artifacts.iterdir() if entry.name not in keep]
        wanted = {*keep, *keep_incoming}
        half = [entry for entry in self._incoming.iterdir() if entry.name not in wanted]
        for folder in (*dropped, *half):
            shutil.rmtree(folder, ignore_errors=True)
        if dropped or half:
            log.info("dropped %d artifacts and %d unfinished downloads", len(dropped), len(half))
        return sorted(entry.name for entry in dropped)
