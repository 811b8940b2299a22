"""Cut an artifact's bytes into chunks.

Decides: chunks end at file boundaries and around large tensors, else where their content says, so that what two bundles
share has the same chunks in both; a chunk is compressed only where that saves at least a twentieth. Leaves out: where
exactly the cuts are (`chunking`), and who sends the chunks. Deterministic: the same bytes, the same chunks.

    index, wire = cut("ab…", manifest_bytes, files)
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Literal

import zstandard

from controller.bundle.chunking.gear import cut_ends
from controller.bundle.chunking.tensors import tensor_spans
from wire.artifact import MANIFEST_PATH, Chunk, ChunkIndex, FileEntry
from wire.base import LARGEST_PART_BYTES, encode
from wire.canonical import sha256_hex

WORTHWHILE_RATIO = 0.95
"""A chunk is sent compressed when that makes it at most this share of its plain size."""

Ends = Callable[[str, bytes], tuple[int, ...]]
"""(name, content of a file) -> where its chunks end."""

_LEVEL = 12  # beyond it model weights gain less than 1 %, and take several times longer


def plain_ends(name: str, content: bytes) -> tuple[int, ...]:
    """Return where the chunks of a file end.

    Args:
        name: Its ending says how tensors are found in it.
        content: The whole file.
    """
    bounds = {bound for span in tensor_spans(name, content) for bound in span}
    return cut_ends(content, sorted(bounds - {0, len(content)}))


def cut_bytes(name: str, content: bytes, ends: Ends = plain_ends) -> Iterator[tuple[Chunk, bytes]]:
    """Yield the chunks of one file with their bytes as they travel. ends: where they end, instead of `plain_ends`."""
    packer = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=False, write_content_size=True)
    for start, end in pairwise((0, *ends(name, content))):
        plain = content[start:end]
        packed = packer.compress(plain)
        smaller = len(packed) <= WORTHWHILE_RATIO * len(plain)
        wire = packed if smaller else plain
        encoding: Literal["zstd", "raw"] = "zstd" if smaller else "raw"
        yield Chunk(id=sha256_hex(wire), wire_bytes=len(wire), plain_bytes=len(plain), encoding=encoding), wire


def cut(
    artifact: str,
    manifest: bytes,
    files: Iterable[FileEntry],
    contents: Mapping[str, bytes],
    *,
    ends: Ends = plain_ends,
) -> tuple[ChunkIndex, dict[str, bytes]]:
    """Cut a whole artifact.

    Args:
        artifact: Its digest.
        manifest: The manifest's canonical bytes, which travel first.
        files: In the manifest's order.
        contents: path -> bytes.
        ends: As in `cut_bytes`.
    Returns:
        The index, and chunk id -> bytes as they travel.
    """
    entries = tuple(files)
    named = [(MANIFEST_PATH, manifest), *((entry.path, contents[entry.path]) for entry in entries)]
    pairs = [pair for name, content in named for pair in cut_bytes(name, content, ends)]
    chunks = tuple(chunk for chunk, _ in pairs)
    index = ChunkIndex(artifact=artifact, manifest_bytes=len(manifest), files=entries, chunks=chunks)
    return index, {chunk.id: wire for chunk, wire in pairs}


def index_pieces(index: ChunkIndex) -> tuple[bytes, ...]:
    """Return the index as it travels: its canonical bytes in slices of at most one message."""
    content = encode(index)
    return tuple(content[start : start + LARGEST_PART_BYTES] for start in range(0, len(content), LARGEST_PART_BYTES))


def wire_size(name: str, content: bytes) -> int:
    """Return the bytes that a file takes on the wire; a chunk that repeats is sent once."""
    return sum({chunk.id: chunk.wire_bytes for chunk, _ in cut_bytes(name, content)}.values())
