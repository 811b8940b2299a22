"""What has arrived of one artifact: index pieces and chunks on the disk, and the bitmap of those that are safe there.

Decides: what counts as arrived (its digest holds, then it is synced, then its bit is set), what need not come because
the device has it from elsewhere, and what is missing after a power cut. Leaves out: asking for it
(`agent/update/fetch.py`) and putting it together (`assemble.py`).

A chunk that a complete artifact holds is left there and read when the new one is put together; it has no bit, and is
looked for anew after a restart. One that another download brought gets a second name here (a hard link).
"""

import base64
import errno
import json
import os
import shutil
from collections.abc import Collection, Container, Iterator, Mapping
from pathlib import Path
from typing import Protocol

from agent.artifacts.held import Held
from agent.artifacts.indexes import BadIndex, check_proportion, checked_index
from agent.device.durable import disk_errors, sync_folder, write_durably
from wire.artifact import ArtifactRef, Chunk, ChunkIndex
from wire.canonical import canonical_json, sha256_hex
from wire.update import Have

BITMAP_NAME = "bitmap"
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EMLINK})


class Elsewhere(Protocol):
    """What else lies on the device: `agent/artifacts/store.py`."""

    def held(self, wanted: Collection[str]) -> Mapping[str, Held]:
        """Return which chunks complete artifacts hold."""

    def arrived(self, wanted: Collection[str], folder: Path) -> Iterator[tuple[str, Path]]:
        """Yield chunks that other downloads than the one in `folder` have brought, and where they lie."""


class Incoming:
    """One artifact under way, in a folder of its own. Opening it again goes on where the bitmap says."""

    def __init__(self, folder: Path, ref: ArtifactRef, elsewhere: Elsewhere | None = None) -> None:
        """Open the folder.

        Args:
            folder: Made where it is not there.
            ref: What the signed document says.
            elsewhere: Where chunks may lie that need not come; None: nowhere.
        Raises:
            DiskFull: No room even for the folder.
            BadIndex: The pieces are all there and are no index of `ref`, or would be out of all proportion.
        """
        check_proportion(ref)
        self.ref = ref
        self.folder = folder
        self._pieces: dict[str, bytes] = {}
        self._index: ChunkIndex | None = None
        self._ids: list[str] = []
        self._lowest = 0
        self._positions: dict[str, list[int]] = {}
        self._safe: set[int] = set()
        self._written: dict[str, Path] = {}
        self._elsewhere = elsewhere
        self._held: dict[str, Held] = {}
        self._received_bytes = self._linked_bytes = 0
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
        return self._index is not None and len(self._safe) + self._held_places() == len(self._index.chunks)

    @property
    def leans_on(self) -> frozenset[str]:
        """Artifacts of which parts are read when this one is put together."""
        return frozenset(held.folder.name for held in self._held.values())

    def held(self, chunk: str) -> Held | None:
        """Return where a complete artifact holds `chunk`; None: it lies here, or nowhere."""
        return self._held.get(chunk)

    def missing_pieces(self) -> list[str]:
        """Return the index pieces that are not here, in order, each once."""
        return [] if self._index else [digest for digest in dict.fromkeys(self.ref.index) if digest not in self._pieces]

    def is_missing(self, chunk: str) -> bool:
        """Return whether `chunk` belongs to the artifact and is neither safe nor written."""
        places = self._positions.get(chunk)
        return places is not None and not (places[0] in self._safe or chunk in self._written or chunk in self._held)

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
        """Return the progress, written chunks included, and what it took from the network and from this device."""
        chunks = self._index.chunks if self._index else ()
        here = self._safe.union(*(self._positions[chunk] for chunk in (*self._written, *self._held)))
        held_bytes = sum(chunks[self._positions[chunk][0]].wire_bytes for chunk in self._held)
        return Have(
            chunks=len(here),
            of_chunks=len(chunks),
            wire_bytes=sum(chunks[position].wire_bytes for position in here),
            received_bytes=self._received_bytes,
            reused_bytes=held_bytes + self._linked_bytes,
        )

    def count_received(self, size_bytes: int) -> None:
        """Count what the network brought for this artifact, whatever became of it; kept with the next commit."""
        self._received_bytes += size_bytes

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
            BadIndex: The index gives it another length.
            DiskFull: No room.
        """
        assert self._index is not None
        promised = self._index.chunks[self._positions[chunk][0]].wire_bytes
        if len(payload) != promised:
            raise BadIndex(f"chunk {chunk[:12]} has {len(payload)} bytes, the index says {promised}")
        path = self.chunk_path(chunk)
        with disk_errors(path):
            path.unlink(missing_ok=True)  # it may be another download's too
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
        self._held = {chunk: held for chunk, held in self._held.items() if chunk not in chunks}
        self._write_bitmap(self._safe - gone)
        self._safe -= gone
        self._lowest = 0

    def chunk_path(self, chunk: str) -> Path:
        return self.folder / "chunks" / chunk

    def _candidates(self) -> Iterator[int]:
        """Yield positions from the lowest that is not safe: what lies below is never looked at again."""
        while self._lowest < len(self._ids) and (self._lowest in self._safe or self._ids[self._lowest] in self._held):
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
        self._index = checked_index(self.ref, content)
        self._pieces = {}
        self._ids = [chunk.id for chunk in self._index.chunks]
        for position, chunk in enumerate(self._index.chunks):
            self._positions.setdefault(chunk.id, []).append(position)
        self._safe = self._read_bitmap(self._index.chunks)
        if self._elsewhere is not None:
            self._look_around(self._elsewhere, self._index.chunks)

    def _look_around(self, elsewhere: Elsewhere, chunks: tuple[Chunk, ...]) -> None:
        """Find what need not come. What a download left is verified, as if it came from the network."""
        missing = {chunk for chunk, places in self._positions.items() if places[0] not in self._safe}
        for chunk, path in elsewhere.arrived(missing, self.folder):
            if chunk not in self._written and _named_again(path, self.chunk_path(chunk)):
                self._written[chunk] = self.chunk_path(chunk)
                self._linked_bytes += chunks[self._positions[chunk][0]].wire_bytes
        found = elsewhere.held(missing - self._written.keys()).items()
        self.commit()
        fits = {chunk: chunks[self._positions[chunk][0]].plain_bytes for chunk, _ in found}
        self._held = {chunk: held for chunk, held in found if held.plain_bytes == fits[chunk]}

    def _held_places(self) -> int:
        return sum(len(self._positions[chunk]) for chunk in self._held)

    def _read_bitmap(self, chunks: tuple[Chunk, ...]) -> set[int]:
        try:
            document = json.loads((self.folder / BITMAP_NAME).read_bytes())
            same_cut = document["index"] == list(self.ref.index)
            bits = base64.b64decode(document["bits"], validate=True)
            self._received_bytes = max(0, int(document.get("received_bytes", 0)))
            self._linked_bytes = max(0, int(document.get("linked_bytes", 0)))
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
        document = {
            "index": list(self.ref.index),
            "bits": bitmap(safe),
            "received_bytes": self._received_bytes,
            "linked_bytes": self._linked_bytes,
        }
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


def _named_again(path: Path, name: Path) -> bool:
    """Give a chunk a second name, a copy where the disk has no hard links; False where it is damaged, or gone now."""
    with disk_errors(name):
        name.unlink(missing_ok=True)
        try:
            os.link(path, name)
        except OSError as exc:
            if exc.errno not in _NO_LINKS:
                return False
            shutil.copyfile(path, name)
    if sha256_hex(name.read_bytes()) == name.name:
        return True
    name.unlink()
    return False


def _sync_file(path: Path) -> None:
    with disk_errors(path):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
