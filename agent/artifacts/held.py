"""Chunks that the device holds already: complete artifacts are the store, a record in each says which bytes are which.

Decides: what the record holds, and that a run of bytes counts as a chunk only while it has the digest that it had when
the artifact was verified. Leaves out: when a chunk is looked for (`incoming.py`), which artifacts stay (`store.py`). No
chunk lies on the disk twice: a record is all that sharing costs.

    held = find_held(folder, {"ab…"})
    plain = read_held(held["ab…"])       # None where the disk has changed under it
"""

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.device.durable import write_durably, write_synced
from wire.artifact import MANIFEST_PATH, Chunk, ChunkIndex
from wire.canonical import canonical_json, sha256_hex

RECORD_NAME = ".chunks"
"""No file of an artifact may begin with a dot."""

Entry = list[str | int]
"""One chunk in the record: file, first byte in it, bytes, the chunk's id, SHA-256 of the bytes."""


@dataclass(frozen=True)
class Held:
    """A chunk as a run of bytes in a file of a complete artifact."""

    folder: Path
    file: str
    start: int
    plain_bytes: int
    sha256: str


def record_of(index: ChunkIndex, digests: Sequence[str]) -> bytes:
    """Return the record of an artifact; a chunk that lies in more than one file is left out.

    Args:
        index: The cut by which it was fetched.
        digests: SHA-256 of each chunk's plain bytes, in the index's order.
    """
    entries: list[Entry] = []
    for (chunk, file, start), digest in zip(_places(index), digests, strict=True):
        if file is not None:
            entries.append([file, start, chunk.plain_bytes, chunk.id, digest])
    return canonical_json({"chunks": entries})


def write_record(folder: Path, record: bytes) -> None:
    """Write the record into a folder that is being put together."""
    write_synced(folder / RECORD_NAME, record)


def find_held(folder: Path, wanted: Collection[str]) -> dict[str, Held]:
    """Return which of the chunks `wanted` a complete artifact holds; none where its record is away or damaged."""
    return {
        chunk: Held(folder, file, start, size, digest)
        for file, start, size, chunk, digest in _entries(folder)
        if chunk in wanted
    }


def read_held(held: Held) -> bytes | None:
    """Return the chunk's plain bytes, or None where they are no longer those that were verified."""
    try:
        with (held.folder / held.file).open("rb") as file:
            file.seek(held.start)
            plain = file.read(held.plain_bytes)
    except OSError:
        return None
    return plain if sha256_hex(plain) == held.sha256 else None


def forget_held(folder: Path, chunks: Collection[str]) -> None:
    """Take chunks out of an artifact's record, so that they are never taken from there again.

    Raises:
        DiskFull: No room.
    """
    left = [list(entry) for entry in _entries(folder) if entry[3] not in chunks]
    write_durably(folder / RECORD_NAME, canonical_json({"chunks": left}))


def _entries(folder: Path) -> Iterable[tuple[str, int, int, str, str]]:
    try:
        entries = json.loads((folder / RECORD_NAME).read_bytes())["chunks"]
        return [(str(file), int(start), int(size), str(chunk), str(sha)) for file, start, size, chunk, sha in entries]
    except (OSError, ValueError, KeyError, TypeError):
        return ()


def _places(index: ChunkIndex) -> Iterator[tuple[Chunk, str | None, int]]:
    """Yield each chunk, the file that holds all of it (None: more than one does) and where it begins there."""
    start, at, first = 0, 0, 0  # of the chunk in the stream; number of its file, and where that begins
    files = [(MANIFEST_PATH, index.manifest_bytes), *((entry.path, entry.size_bytes) for entry in index.files)]
    for chunk in index.chunks:
        while start >= first + files[at][1]:
            first += files[at][1]
            at += 1
        inside = start + chunk.plain_bytes <= first + files[at][1]
        yield chunk, files[at][0] if inside else None, start - first
        start += chunk.plain_bytes
