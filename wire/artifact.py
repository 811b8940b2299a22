"""How files travel: an artifact (bundle or data set) is a manifest, its files, and an index of chunks.

The artifact's digest is the SHA-256 of its manifest's canonical bytes; the manifest names every file by digest, so one
digest stands for everything. The chunk index says how the bytes travel. It is transport, not identity: its own pieces
are named, by digest, in the signed document that asks for the artifact. Chunk ids are digests of the bytes on the wire
(compressed, later encrypted), so that a chunk is verified before anything is done with it.
"""

from typing import Literal, Self

from pydantic import Field, model_validator

from wire.base import LARGEST_PART_BYTES, Message, Name
from wire.canonical import Digest

LARGEST_ARTIFACT_BYTES = 8 * 1024**3
LARGEST_CHUNK_PLAIN_BYTES = 1024 * 1024
MANIFEST_PATH = "manifest.json"


class FileEntry(Message):
    """One file of an artifact. Paths are relative, with `/`, and never leave the folder."""

    path: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*$", max_length=200)
    size_bytes: int = Field(ge=0, le=LARGEST_ARTIFACT_BYTES)
    sha256: Digest


class Chunk(Message):
    """A run of the artifact's byte stream as it crosses the wire."""

    id: Digest
    wire_bytes: int = Field(gt=0, le=LARGEST_PART_BYTES)
    plain_bytes: int = Field(gt=0, le=LARGEST_CHUNK_PLAIN_BYTES)
    encoding: Literal["raw", "zstd"] = "raw"


class ChunkIndex(Message):
    """How an artifact's byte stream is cut: its manifest first, then its files in the manifest's order."""

    artifact: Digest
    manifest_bytes: int = Field(gt=0, le=LARGEST_ARTIFACT_BYTES)
    files: tuple[FileEntry, ...] = Field(max_length=10_000)
    chunks: tuple[Chunk, ...] = Field(min_length=1, max_length=200_000)

    @model_validator(mode="after")
    def _lengths_agree(self) -> Self:
        stream = self.manifest_bytes + sum(file.size_bytes for file in self.files)
        cut = sum(chunk.plain_bytes for chunk in self.chunks)
        if stream != cut:
            raise ValueError(f"chunks hold {cut} bytes, the files {stream}")
        if len({file.path for file in self.files} | {MANIFEST_PATH}) != len(self.files) + 1:
            raise ValueError("a file path stands twice")
        return self


class ArtifactRef(Message):
    """What a signed document says of an artifact: enough to fetch it and to refuse anything else."""

    digest: Digest
    index: tuple[Digest, ...] = Field(min_length=1, max_length=256)
    index_bytes: int = Field(gt=0, le=256 * LARGEST_PART_BYTES)
    size_bytes: int = Field(gt=0, le=LARGEST_ARTIFACT_BYTES)
    wire_bytes: int = Field(gt=0, le=LARGEST_ARTIFACT_BYTES)


class Want(Message):
    """A device asks for index pieces or chunks. It asks again until it has all: QoS 1 is not enough.

    `missing` is a bitmap (base64, bit i of byte i // 8, least significant first) over chunks `first` and after; at most
    the device's window is set.
    """

    device: Name
    artifact: Digest
    pieces: tuple[Digest, ...] = Field(default=(), max_length=256)
    first: int = Field(default=0, ge=0, le=200_000)
    missing: str = Field(default="", max_length=40_000)
    index: tuple[Digest, ...] = Field(default=(), max_length=256)
