"""Results kept by content: what was computed once is not computed again, and a killed run leaves nothing half.

Decides: how a key is made and when an entry counts. Leaves out: what is kept (passes, calibrations, evaluations).
An entry is a folder; it appears under its key by one rename, after its files are on disk.

    cache.get_or_make(cache_key({"pass": "simplify"}), lambda folder: ...)
"""

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controller.bundle.atomic import sweep_unfinished, unfinished_folder, write_synced
from wire.canonical import canonical_json, sha256_hex

_RESULT = "result.json"


@dataclass(frozen=True)
class Entry:
    """A kept result: its folder, its facts, and whether it was there before."""

    folder: Path
    facts: Mapping[str, Any]
    hit: bool


class PassCache:
    """Entries under one folder. Safe for several processes: each key is made by one of them, the others wait."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        (root / "locks").mkdir(exist_ok=True)
        sweep_unfinished(root)

    def get(self, key: str) -> Entry | None:
        """Return the entry of `key`, if it is complete."""
        folder = self.root / key
        try:
            facts = json.loads((folder / _RESULT).read_bytes())
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        return Entry(folder, facts, hit=True)

    def get_or_make(self, key: str, make: Callable[[Path], Mapping[str, Any]]) -> Entry:
        """Return the entry of `key`; when there is none, let `make` fill a folder and keep it.

        Args:
            key: From `cache_key`.
            make: Writes files into the folder that it is given; returns facts that JSON can carry.
        Raises:
            DiskFull: No room; nothing is left behind.
        """
        with self._locked(key):
            if found := self.get(key):
                return found
            with unfinished_folder(self.root) as partial:
                facts = dict(make(partial))
                write_synced(partial / _RESULT, json.dumps(facts, sort_keys=True).encode())
                shutil.rmtree(self.root / key, ignore_errors=True)  # an entry whose facts are damaged
                os.replace(partial, self.root / key)
        return Entry(self.root / key, facts, hit=False)

    @contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        """Hold the key's lock; the kernel lets go of it when its process dies."""
        with (self.root / "locks" / key).open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def cache_key(parts: Mapping[str, Any]) -> str:
    """Return the SHA-256 over everything that decides a result, as JSON types."""
    return sha256_hex(canonical_json(dict(parts)))
