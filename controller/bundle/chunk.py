"""Cut an artifact's bytes into chunks.

Decides: chunks end at file boundaries and hold at most 64 KiB, so that a file that two bundles share has the same
chunks in both; a chunk is compressed only where that saves at least a twentieth. Leaves out: who sends them.
Deterministic: the same bytes, the same chunks.

    index, wire = cut("ab…", manifest_bytes, files)
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

import zstandard

from wire.artifact import Chunk, ChunkIndex, FileEntry
from wire.base import LARGEST_PART_BYTES, encode
from wire.canonical import sha256_hex

CHUNK_BYTES = 64 * 1024
"""Plain bytes of a chunk at most: with its headers it passes where messages end at 96 or 128 KiB."""

WORTHWHILE_RATIO = 0.95
"""A chunk is sent compressed when that makes it at most this share of its plain size."""

_LEVEL = 12  # beyond it model weights gain less than 1 %, and take several times longer


def cut_bytes(content: bytes) -> Iterator[tuple[Chunk, bytes]]:
    """Yield the chunks of one file with their bytes as they travel."""
    packer = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=False, write_content_size=True)
    for start in range(0, len(content), CHUNK_BYTES):
        plain = content[start : start + CHUNK_BYTES]
        packed = packer.compress(plain)
        smaller = len(packed) <= WORTHWHILE_RATIO * len(plain)
        wire = packed if smaller else plain
        encoding: Literal["zstd", "raw"] = "zstd" if smaller else "raw"
        yield Chunk(id=sha256_hex(wire), wire_bytes=len(wire), plain_bytes=len(plain), encoding=encoding), wire


def cut(
    artifact: str, manifest: bytes, files: Iterable[FileEntry], contents: Mapping[str, bytes]
) -> tuple[ChunkIndex, dict[str, bytes]]:
    """Cut a whole artifact.

    Args:
        artifact: Its digest.
        manifest: The manifest's canonical bytes, which travel first.
        files: In the manifest's order.
        contents: path -> bytes.
    Returns:
        The index, and chunk id -> bytes as they travel.
    """
    entries = tuple(files)
    pairs = [
        pair for content in (manifest, *(contents[entry.path] for entry in entries)) for pair in cut_bytes(content)
    ]
    chunks = tuple(chunk for chunk, _ in pairs)
    index = ChunkIndex(artifact=artifact, manifest_bytes=len(manifest), files=entries, chunks=chunks)
    return index, {chunk.id: wire for chunk, wire in pairs}


def index_pieces(index: ChunkIndex) -> tuple[bytes, ...]:
    """Return the index as it travels: its canonical bytes in slices of at most one message."""
    content = encode(index)
    return tuple(content[start : start + LARGEST_PART_BYTES] for start in range(0, len(content), LARGEST_PART_BYTES))


def wire_size(content: bytes) -> int:
    """Return the bytes that a file takes on the wire; a chunk that repeats is sent once."""
    return sum({chunk.id: chunk.wire_bytes for chunk, _ in cut_bytes(content)}.values())
