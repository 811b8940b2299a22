"""The store of artifacts: complete ones only, each under its digest.

Decides: the layout on disk and that an artifact appears by one rename. Leaves out: what is in it (`pack.py`) and how it
is sent (`controller/distribute`).

    store = ArtifactStore(workspace / "artifacts")
    store.chunk(digest, chunk_id)
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from controller.bundle.atomic import sweep_unfinished, unfinished_folder, write_synced
from controller.bundle.chunk import cut, index_pieces
from controller.errors import NotFound
from wire.artifact import MANIFEST_PATH, ArtifactRef, ChunkIndex
from wire.base import decode, encode
from wire.canonical import sha256_hex
from wire.manifest import BundleManifest, DatasetManifest, Manifest, manifest_digest

_INDEX = "index.json"
_CHUNKS = "chunks"
_MANIFEST: TypeAdapter[BundleManifest | DatasetManifest] = TypeAdapter(Manifest)


@dataclass(frozen=True)
class Artifact:
    """A packed artifact: its digest, what a signed document says of it, and its manifest."""

    digest: str
    ref: ArtifactRef
    manifest: BundleManifest | DatasetManifest


class ArtifactStore:
    """Artifacts under one folder: `{digest}/` holds `manifest.json`, the files, `index.json` and `chunks/{id}`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        sweep_unfinished(root)

    def add(self, manifest: BundleManifest | DatasetManifest, contents: Mapping[str, bytes]) -> Artifact:
        """Write an artifact, or find that it is here already.

        Args:
            manifest: Names every file.
            contents: path -> bytes of every file that the manifest names.
        Raises:
            DiskFull: No room; nothing is left behind.
        """
        digest = manifest_digest(manifest)
        if not (self.root / digest).is_dir():
            index, chunks = cut(digest, encode(manifest), manifest.files, contents)
            self._write(digest, manifest, contents, index, chunks)
        return Artifact(digest, self.ref(digest), manifest)

    def digests(self) -> tuple[str, ...]:
        """Return the digests of all complete artifacts, sorted."""
        return tuple(sorted(path.name for path in self.root.iterdir() if path.is_dir() and len(path.name) == 64))

    def folder(self, digest: str) -> Path:
        """Return the folder of an artifact.

        Raises:
            NotFound: No such artifact here.
        """
        path = self.root / digest
        if len(digest) != 64 or not path.is_dir():
            raise NotFound(f"no artifact {digest[:12]}… in {self.root}; deploy again to pack it")
        return path

    def manifest(self, digest: str) -> BundleManifest | DatasetManifest:
        """Return the manifest of an artifact."""
        return _MANIFEST.validate_json((self.folder(digest) / MANIFEST_PATH).read_bytes())

    def index(self, digest: str) -> ChunkIndex:
        """Return the chunk index of an artifact."""
        content = (self.folder(digest) / _INDEX).read_bytes()
        return decode(ChunkIndex, content, largest_bytes=len(content))

    def ref(self, digest: str) -> ArtifactRef:
        """Return what a signed document says of an artifact. A chunk that repeats counts once on the wire."""
        index = self.index(digest)
        pieces = index_pieces(index)
        return ArtifactRef(
            digest=digest,
            index=tuple(sha256_hex(piece) for piece in pieces),
            index_bytes=sum(map(len, pieces)),
            size_bytes=index.manifest_bytes + sum(file.size_bytes for file in index.files),
            wire_bytes=sum({chunk.id: chunk.wire_bytes for chunk in index.chunks}.values()),
        )

    def chunk(self, artifact: str, chunk: str) -> bytes:
        """Return a chunk as it travels.

        Raises:
            NotFound: No such artifact, or no such chunk in it.
        """
        path = self.folder(artifact) / _CHUNKS / chunk
        if not chunk.isalnum() or not path.is_file():
            raise NotFound(f"artifact {artifact[:12]}… has no chunk {chunk[:12]}…")
        return path.read_bytes()

    def piece(self, artifact: str, digest: str) -> bytes:
        """Return a piece of the index by its digest.

        Raises:
            NotFound: No such artifact, or no such piece.
        """
        for piece in index_pieces(self.index(artifact)):
            if sha256_hex(piece) == digest:
                return piece
        raise NotFound(f"the index of artifact {artifact[:12]}… has no piece {digest[:12]}…")

    def _write(
        self,
        digest: str,
        manifest: BundleManifest | DatasetManifest,
        contents: Mapping[str, bytes],
        index: ChunkIndex,
        chunks: Mapping[str, bytes],
    ) -> None:
        """Write everything into an unfinished folder, on disk before it is renamed."""
        files = {MANIFEST_PATH: encode(manifest), **contents, _INDEX: encode(index)}
        files |= {f"{_CHUNKS}/{chunk}": wire for chunk, wire in chunks.items()}
        with unfinished_folder(self.root) as partial:
            for path, content in files.items():
                (partial / path).parent.mkdir(parents=True, exist_ok=True)
                write_synced(partial / path, content)
            _rename(partial, self.root / digest)


def _rename(partial: Path, place: Path) -> None:
    """Put the folder in its place; when another process packed the same artifact first, theirs stays."""
    try:
        os.replace(partial, place)
    except OSError:
        if not place.is_dir():
            raise
