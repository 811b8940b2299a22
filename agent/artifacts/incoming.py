"""What has arrived of one artifact: index pieces and chunks on the disk, and the bitmap of those that are safe there.

Decides: what counts as arrived (its digest holds, then it is synced, then its bit is set), and what is missing after a
power cut. Leaves out: asking for it (`agent/update/fetch.py`) and putting it together (`assemble.py`).
"""

import base64
import json
import os
import shutil
from collections.abc import Container, Iterator
from pathlib import Path

from agent.device.durable import disk_errors, sync_folder, write_durably
from agent.errors import AgentError
from wire.artifact import ArtifactRef, Chunk, ChunkIndex
from wire.base import decode
from wire.canonical import canonical_json, sha256_hex
from wire.errors import WireError
from wire.update import Have

BITMAP_NAME = "bitmap"


class BadIndex(AgentError):
    """An artifact's index, whose pieces the signed document names, does not describe that artifact."""

    reason = "bad_index"
    exit_code = 5


class Incoming:
    """One artifact under way, in a folder of its own. Opening it again goes on where the bitmap says."""

    def __init__(self, folder: Path, ref: ArtifactRef) -> None:
        """Open the folder.

        Raises:
            DiskFull: No room even for the folder.
            BadIndex: The pieces are all there and are no index of `ref`.
        """
        self.ref = ref
        self.folder = folder
        self._pieces: dict[str, bytes] = {}
        self._index: ChunkIndex | None = None
        self._ids: list[str] = []
        self._lowest = 0
        self._positions: dict[str, list[int]] = {}
        self._safe: set[int] = set()
        self._written: dict[str, Path] = {}
        with disk_errors(folder):
            (folder / "chunks").mkdir(parents=True, exist_ok=True)
            (folder / "pieces").mkdir(exist_ok=True)
        self._resume()

    @property
    def index(self) -> ChunkIndex | None:
        """The index, once all its pieces are here."""
        return self._index

    @property
    def complete(self) -> bool:
        return self._index is not None and len(self._safe) == len(self._index.chunks)

    def missing_pieces(self) -> list[str]:
        """Return the index pieces that are not here, in order, each once."""
        return [] if self._index else [digest for digest in dict.fromkeys(self.ref.index) if digest not in self._pieces]

    def is_missing(self, chunk: str) -> bool:
        """Return whether `chunk` belongs to the artifact and is neither safe nor written."""
        places = self._positions.get(chunk)
        return places is not None and places[0] not in self._safe and chunk not in self._written

    def next_missing(self, most: int, skip: Container[str] = ()) -> list[int]:
        """Return up to `most` positions of missing chunks, lowest first, without those in `skip`.

        A chunk that stands in several places is named once, by the first.
        """
        found: list[int] = []
        for position in self._candidates():
            chunk = self._ids[position]
            if len(found) < most and self.is_missing(chunk) and chunk not in skip:
                found.append(position)
            elif len(found) >= most:
                break
        return found

    def have(self) -> Have:
        """Return the progress, written chunks included."""
        chunks = self._index.chunks if self._index else ()
        here = self._safe.union(*(self._positions[chunk] for chunk in self._written))
        return Have(
            chunks=len(here), of_chunks=len(chunks), wire_bytes=sum(chunks[position].wire_bytes for position in here)
        )

    def add_piece(self, digest: str, payload: bytes) -> None:
        """Keep an index piece whose digest was verified; with the last one the index is read.

        Raises:
            BadIndex: The index does not describe the artifact.
            DiskFull: No room.
        """
        write_durably(self.folder / "pieces" / digest, payload)
        self._pieces[digest] = payload
        self._read_index()

    def add_chunk(self, chunk: str, payload: bytes) -> None:
        """Write a chunk whose digest was verified. It is safe only after `commit`.

        Raises:
            DiskFull: No room.
        """
        path = self.chunk_path(chunk)
        with disk_errors(path):
            path.write_bytes(payload)
        self._written[chunk] = path

    def commit(self) -> None:
        """Sync what was written since the last call, then set its bits.

        Raises:
            DiskFull: No room; no bit is set.
        """
        if not self._written:
            return
        for path in self._written.values():
            _sync_file(path)
        sync_folder(self.folder / "chunks")
        safe = self._safe.union(*(self._positions[chunk] for chunk in self._written))
        self._write_bitmap(safe)
        self._safe = safe
        self._written = {}

    def forget(self, chunks: list[str]) -> None:
        """Clear the bits of chunks that turned out to be damaged on the disk, so that they are asked for again."""
        gone = {position for chunk in chunks for position in self._positions.get(chunk, ())}
        self._write_bitmap(self._safe - gone)
        self._safe -= gone
        self._lowest = 0

    def chunk_path(self, chunk: str) -> Path:
        return self.folder / "chunks" / chunk

    def _candidates(self) -> Iterator[int]:
        """Yield positions from the lowest that is not safe: what lies below is never looked at again."""
        while self._lowest < len(self._ids) and self._lowest in self._safe:
            self._lowest += 1
        return (place for place in range(self._lowest, len(self._ids)) if self._positions[self._ids[place]][0] == place)

    def _resume(self) -> None:
        for digest in dict.fromkeys(self.ref.index):
            path = self.folder / "pieces" / digest
            if path.is_file() and sha256_hex(content := path.read_bytes()) == digest:
                self._pieces[digest] = content
        self._read_index()

    def _read_index(self) -> None:
        if self._index is not None or self.missing_pieces():
            return
        content = b"".join(self._pieces[digest] for digest in self.ref.index)
        self._index = _checked_index(self.ref, content)
        self._pieces = {}
        self._ids = [chunk.id for chunk in self._index.chunks]
        for position, chunk in enumerate(self._index.chunks):
            self._positions.setdefault(chunk.id, []).append(position)
        self._safe = self._read_bitmap(self._index.chunks)

    def _read_bitmap(self, chunks: tuple[Chunk, ...]) -> set[int]:
        try:
            document = json.loads((self.folder / BITMAP_NAME).read_bytes())
            same_cut = document["index"] == list(self.ref.index)
            bits = base64.b64decode(document["bits"], validate=True)
        except FileNotFoundError:
            return set()
        except (ValueError, KeyError, TypeError):
            same_cut = False
        if not same_cut:
            return self._verified_again(chunks)
        return {place for place in range(min(len(chunks), 8 * len(bits))) if bits[place // 8] >> place % 8 & 1}

    def _verified_again(self, chunks: tuple[Chunk, ...]) -> set[int]:
        """Find by digest what a damaged bitmap, or another cut of the same artifact, left behind."""
        safe: set[int] = set()
        for chunk, places in self._positions.items():
            path = self.chunk_path(chunk)
            if path.is_file() and sha256_hex(path.read_bytes()) == chunks[places[0]].id:
                safe.update(places)
        return safe

    def _write_bitmap(self, safe: set[int]) -> None:
        assert self._index is not None
        document = {"index": list(self.ref.index), "bits": bitmap(safe)}
        write_durably(self.folder / BITMAP_NAME, canonical_json(document))


def bitmap(positions: set[int], first: int = 0) -> str:
    """Return positions as the wire writes them: bit i of byte i // 8, least significant first, base64."""
    bits = bytearray((max(positions, default=first - 1) - first) // 8 + 1)
    for position in positions:
        bits[(position - first) // 8] |= 1 << (position - first) % 8
    return base64.b64encode(bytes(bits)).decode()


def discard(folder: Path) -> None:
    """Forget everything that has arrived."""
    shutil.rmtree(folder, ignore_errors=True)


def _checked_index(ref: ArtifactRef, content: bytes) -> ChunkIndex:
    """Refuse an index that is not this artifact's, or promises more bytes than the signed document does."""
    if len(content) != ref.index_bytes:
        raise BadIndex(f"the index of {ref.digest[:12]} has {len(content)} bytes, {ref.index_bytes} were signed")
    try:
        index = decode(ChunkIndex, content, ref.index_bytes)
    except WireError as exc:
        raise BadIndex(f"the index of {ref.digest[:12]} cannot be read: {exc}") from exc
    if index.artifact != ref.digest:
        raise BadIndex(f"the index is of {index.artifact[:12]}, the document asks for {ref.digest[:12]}")
    plain = sum(chunk.plain_bytes for chunk in index.chunks)
    if plain > ref.size_bytes + index.manifest_bytes:
        raise BadIndex(f"{ref.digest[:12]}: {plain} bytes in the index, {ref.size_bytes} were signed")
    return index


def _sync_file(path: Path) -> None:
    with disk_errors(path):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
