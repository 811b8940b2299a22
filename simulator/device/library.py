"""What the devices of one process know together of artifacts: indexes and manifests, parsed once.

Decides: that only the bytes which hold a manifest are kept, once for all devices. Leaves out: whether a device has all
its chunks, which each device knows of its own (`arrivals.py`).
"""

from dataclasses import dataclass, field

import zstandard
from pydantic import TypeAdapter, ValidationError

from agent.artifacts.indexes import check_proportion, checked_index
from agent.errors import BadBundle
from wire.artifact import ArtifactRef, Chunk, ChunkIndex
from wire.canonical import sha256_hex
from wire.manifest import BundleManifest, DatasetManifest, Manifest

_MANIFEST: TypeAdapter[BundleManifest | DatasetManifest] = TypeAdapter(Manifest)
AnyManifest = BundleManifest | DatasetManifest


@dataclass
class Known:
    """An artifact's index, where each of its chunks stands, and the chunks that hold its manifest."""

    index: ChunkIndex
    positions: dict[str, tuple[int, ...]]
    head: dict[str, bytes] = field(default_factory=dict)
    manifest: AnyManifest | None = None
    weighed: dict[int, int] = field(default_factory=dict)
    """Position -> bytes on the wire."""

    @property
    def head_chunks(self) -> tuple[Chunk, ...]:
        """The chunks that the manifest lies in: the first ones."""
        found, held = [], 0
        for chunk in self.index.chunks:
            found.append(chunk)
            held += chunk.plain_bytes
            if held >= self.index.manifest_bytes:
                break
        return tuple(found)


class Library:
    """All artifacts that a device of this process has asked for."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, ...], Known] = {}
        self._manifests: dict[str, AnyManifest] = {}

    def index(self, ref: ArtifactRef, content: bytes) -> Known:
        """Return what an index says, read once for each document that names it.

        Raises:
            BadIndex: It does not describe the artifact.
        """
        known = self._known.get(ref.index)
        if known is None:
            known = self._known[ref.index] = _read(ref, content)
        return known

    def keep(self, known: Known, chunk: str, payload: bytes) -> None:
        """Keep a verified chunk where the manifest lies in it and is not read yet."""
        wanted = known.manifest is None and chunk not in known.head
        if wanted and any(chunk == each.id for each in known.head_chunks):
            known.head[chunk] = payload

    def manifest(self, known: Known) -> AnyManifest:
        """Return the manifest of an artifact whose chunks have all arrived here once.

        Raises:
            BadBundle: Not what its digest says.
        """
        digest = known.index.artifact
        if known.manifest is None:
            known.manifest = self._manifests.setdefault(digest, _manifest(known))
            known.head.clear()
        return known.manifest

    def named(self, digest: str) -> AnyManifest | None:
        """Return the manifest of an artifact that any device has verified."""
        return self._manifests.get(digest)


def _read(ref: ArtifactRef, content: bytes) -> Known:
    check_proportion(ref)
    index = checked_index(ref, content)
    places: dict[str, tuple[int, ...]] = {}
    for position, chunk in enumerate(index.chunks):
        places[chunk.id] = (*places.get(chunk.id, ()), position)
    return Known(index, places, weighed={place: chunk.wire_bytes for place, chunk in enumerate(index.chunks)})


def _manifest(known: Known) -> AnyManifest:
    stream = b"".join(_plain(chunk, known.head[chunk.id]) for chunk in known.head_chunks)
    content = stream[: known.index.manifest_bytes]
    if sha256_hex(content) != known.index.artifact:
        raise BadBundle(f"the manifest of {known.index.artifact[:12]} has another digest than the document asks for")
    try:
        return _MANIFEST.validate_json(content)
    except ValidationError as exc:
        raise BadBundle(f"the manifest of {known.index.artifact[:12]} cannot be read: {exc}") from exc


def _plain(chunk: Chunk, payload: bytes) -> bytes:
    if chunk.encoding == "raw":
        return payload
    try:
        return zstandard.ZstdDecompressor().stream_reader(payload).read(chunk.plain_bytes + 1)
    except zstandard.ZstdError as exc:
        raise BadBundle(f"chunk {chunk.id[:12]} is not zstd: {exc}") from exc
