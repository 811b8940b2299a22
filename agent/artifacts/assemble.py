"""Put an artifact together: chunks in, files out, every digest checked, one rename at the end.

Decides: whether what has arrived is the artifact. Leaves out: when this is done, and what follows a failure
(`agent/update/machine.py`). Runs in a thread of its own: large bundles take seconds.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import zstandard
from pydantic import TypeAdapter, ValidationError

from agent.artifacts.held import read_held, record_of, write_record
from agent.artifacts.incoming import Incoming
from agent.artifacts.indexes import BadIndex
from agent.artifacts.store import ArtifactStore
from agent.device.durable import disk_errors, sync_folder, write_synced
from agent.errors import AgentError, BadBundle
from wire.artifact import LARGEST_CHUNK_PLAIN_BYTES, MANIFEST_PATH, Chunk, ChunkIndex, FileEntry
from wire.canonical import sha256_hex
from wire.manifest import LARGEST_MANIFEST_BYTES, BundleManifest, DatasetManifest, Manifest

LARGEST_ZSTD_WINDOW_BYTES = LARGEST_CHUNK_PLAIN_BYTES
"""A frame that asks for more memory than its chunk may hold is refused before it is given any."""

_MANIFEST: TypeAdapter[BundleManifest | DatasetManifest] = TypeAdapter(Manifest)


class DamagedChunks(AgentError):
    """Chunks that were safe on the disk are no longer what they were; they must be fetched again."""

    reason = "damaged_chunks"
    exit_code = 12

    def __init__(self, message: str, chunks: list[str]) -> None:
        super().__init__(message)
        self.chunks = chunks


@dataclass(frozen=True)
class Assembled:
    """A complete artifact on the disk."""

    folder: Path
    manifest: BundleManifest | DatasetManifest


def read_manifest(folder: Path, digest: str) -> BundleManifest | DatasetManifest:
    """Return the manifest in `folder`, checked against the artifact's digest.

    Raises:
        BadBundle: Not there, another digest, or not a manifest that this release understands.
    """
    path = folder / MANIFEST_PATH
    try:
        content = path.read_bytes()
    except OSError as exc:
        raise BadBundle(f"{path} cannot be read ({exc.strerror}): deploy the bundle again") from exc
    return _checked_manifest(content, digest)


def assemble(incoming: Incoming, store: ArtifactStore) -> Assembled:
    """Return the artifact, complete and verified under `artifacts/`.

    Raises:
        DamagedChunks: Some chunks must come again.
        BadIndex: A chunk does not hold what the index says.
        BadBundle: The manifest, or a file's digest, is wrong: the sender's fault, fetching again does not help.
        DiskFull: No room.
    """
    digest = incoming.ref.digest
    complete = store.find(digest)
    if complete is not None:
        return _verified_again(complete, digest, store)
    if incoming.index is None:
        raise BadIndex(f"{digest[:12]} has no index yet")
    _refuse_damaged(incoming, incoming.index)
    folder = incoming.folder / "files"
    shutil.rmtree(folder, ignore_errors=True)
    with disk_errors(folder):
        manifest = _written(incoming, incoming.index, folder)
        return Assembled(store.adopt(digest, folder), manifest)


def _written(incoming: Incoming, index: ChunkIndex, folder: Path) -> BundleManifest | DatasetManifest:
    """Write the files. What another artifact lent is not believed where the sum is wrong: it is fetched instead."""
    try:
        return _write_files(incoming, index, folder)
    except BadBundle as exc:
        lent = [chunk.id for chunk in index.chunks if incoming.held(chunk.id) is not None]
        if not lent:
            raise
        detail = f"{index.artifact[:12]} does not fit together with {len(lent)} chunks of other artifacts: {exc}"
        raise DamagedChunks(detail, lent) from exc


def _verified_again(folder: Path, digest: str, store: ArtifactStore) -> Assembled:
    """Read a complete artifact once more: it may have lain on a worn card for months."""
    try:
        manifest = read_manifest(folder, digest)
        damaged = [entry.path for entry in manifest.files if not _holds(_confined(folder, entry.path), entry.sha256)]
    except BadBundle:
        damaged = [MANIFEST_PATH]
    if damaged:
        store.drop(digest)
        raise DamagedChunks(f"{', '.join(damaged[:3])} of {digest[:12]} are damaged on the disk: fetched again", [])
    return Assembled(folder, manifest)


def _refuse_damaged(incoming: Incoming, index: ChunkIndex) -> None:
    ids = dict.fromkeys(chunk.id for chunk in index.chunks)
    damaged = [chunk for chunk in ids if not _is_here(incoming, chunk)]
    if damaged:
        raise DamagedChunks(f"{len(damaged)} chunks of {index.artifact[:12]} are damaged on the disk", damaged)


def _is_here(incoming: Incoming, chunk: str) -> bool:
    held = incoming.held(chunk)
    return _holds(incoming.chunk_path(chunk), chunk) if held is None else read_held(held) is not None


def _holds(path: Path, digest: str) -> bool:
    try:
        return sha256_hex(path.read_bytes()) == digest
    except OSError:
        return False


def _write_files(incoming: Incoming, index: ChunkIndex, folder: Path) -> BundleManifest | DatasetManifest:
    digests: list[str] = []
    stream = _Stream(_plain_chunks(incoming, index, digests))
    if index.manifest_bytes > LARGEST_MANIFEST_BYTES:
        raise BadBundle(f"a manifest of {index.manifest_bytes} bytes is refused: at most {LARGEST_MANIFEST_BYTES}")
    content = b"".join(stream.take(index.manifest_bytes))
    manifest = _checked_manifest(content, index.artifact)
    if tuple(manifest.files) != tuple(index.files):
        raise BadBundle(f"index and manifest of {index.artifact[:12]} name different files")
    folder.mkdir(parents=True)
    for entry in index.files:
        _write_file(folder, entry, stream)
    write_record(folder, record_of(index, digests))
    write_synced(folder / MANIFEST_PATH, content)
    for inner in sorted({path.parent for path in folder.rglob("*")} | {folder}):
        sync_folder(inner)
    return manifest


def _write_file(folder: Path, entry: FileEntry, stream: "_Stream") -> None:
    path = _confined(folder, entry.path)
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with path.open("wb") as out:
        for piece in stream.take(entry.size_bytes):
            digest.update(piece)
            out.write(piece)
        _sync(out)
    if digest.hexdigest() != entry.sha256:
        raise BadBundle(f"{entry.path} has another digest than its manifest says: build the bundle again")


def _confined(folder: Path, name: str) -> Path:
    """Return where `name` lies inside `folder`. The wire refuses others already; a disk is worth a second look."""
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()) or path == folder.resolve():
        raise BadBundle(f"{name!r} would lie outside the bundle's folder")
    return path


def _sync(out: BinaryIO) -> None:
    out.flush()
    os.fsync(out.fileno())


def _checked_manifest(content: bytes, digest: str) -> BundleManifest | DatasetManifest:
    if sha256_hex(content) != digest:
        raise BadBundle(f"the manifest's digest is {sha256_hex(content)[:12]}, the document asks for {digest[:12]}")
    try:
        return _MANIFEST.validate_json(content)
    except ValidationError as exc:
        fault = exc.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(step) for step in fault["loc"]) or "document"
        raise BadBundle(f"manifest of {digest[:12]}: {where}: {fault['msg']}") from exc


def _plain_chunks(incoming: Incoming, index: ChunkIndex, digests: list[str]) -> Iterator[bytes]:
    """Yield each chunk's plain bytes, and put their digests into `digests`."""
    for chunk in index.chunks:
        held = incoming.held(chunk.id)
        plain = read_held(held) if held is not None else _plain(chunk, incoming.chunk_path(chunk.id))
        if plain is None:
            raise DamagedChunks(f"chunk {chunk.id[:12]} was damaged on the disk a moment ago", [chunk.id])
        is_plain = held is None and chunk.encoding == "raw"  # then its name was verified, and is the digest
        digests.append(held.sha256 if held is not None else chunk.id if is_plain else sha256_hex(plain))
        yield plain


def _plain(chunk: Chunk, path: Path) -> bytes:
    content = path.read_bytes()
    plain = content if chunk.encoding == "raw" else _decompress(content, chunk)
    if len(plain) != chunk.plain_bytes:
        raise BadIndex(f"chunk {chunk.id[:12]} holds another number of bytes than {chunk.plain_bytes}")
    return plain


def _decompress(content: bytes, chunk: Chunk) -> bytes:
    """Decompress at most one byte more than promised: a small chunk cannot fill the memory."""
    decompressor = zstandard.ZstdDecompressor(max_window_size=LARGEST_ZSTD_WINDOW_BYTES)
    try:
        return decompressor.stream_reader(content).read(chunk.plain_bytes + 1)
    except zstandard.ZstdError as exc:
        raise BadIndex(f"chunk {chunk.id[:12]} is not zstd: {exc}") from exc


class _Stream:
    """The artifact's byte stream, taken in runs that ignore the cuts between chunks."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def take(self, size_bytes: int) -> Iterator[bytes]:
        """Yield the next `size_bytes`, in pieces; the index was checked to hold as many."""
        while size_bytes > 0:
            piece = self._rest or next(self._chunks)
            self._rest = piece[size_bytes:]
            yield piece[:size_bytes]
            size_bytes -= min(size_bytes, len(piece))
