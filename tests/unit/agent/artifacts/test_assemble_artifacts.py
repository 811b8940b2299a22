"""Putting artifacts together: digests, bounds, confinement, and what is kept."""

from pathlib import Path

import pytest
import zstandard

from agent.artifacts.assemble import Assembled, DamagedChunks, assemble, read_manifest
from agent.artifacts.incoming import Incoming, bitmap
from agent.artifacts.indexes import BadIndex
from agent.artifacts.store import ArtifactStore
from agent.errors import BadBundle
from tests.unit.agent.artifacts.artifact_kit import Cut, Fetching, MemoryChannel, cut, cut_stream
from wire.artifact import Chunk, FileEntry
from wire.base import encode
from wire.canonical import sha256_hex
from wire.manifest import DatasetManifest

SOURCE = cut()


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "state")


def fetched(store: ArtifactStore, source: Cut = SOURCE) -> Incoming:
    fetching = Fetching(store.incoming(source.ref.digest), MemoryChannel(source))
    fetching.begin()
    fetching.run()
    assert fetching.ends == [None]
    return fetching.incoming


def test_a_complete_artifact_has_all_its_files_and_no_chunks(store: ArtifactStore) -> None:
    assembled = assemble(fetched(store), store)
    assert isinstance(assembled, Assembled)
    assert {name: (assembled.folder / name).read_bytes() for name in SOURCE.files} == SOURCE.files
    assert store.find(SOURCE.ref.digest) == assembled.folder
    assert store.digests() == {SOURCE.ref.digest}
    assert not store.incoming(SOURCE.ref.digest).exists()
    assert read_manifest(assembled.folder, SOURCE.ref.digest) == assembled.manifest


def test_a_chunk_that_rotted_on_the_disk_is_named_and_comes_again(store: ArtifactStore) -> None:
    incoming = fetched(store)
    rotten = SOURCE.index.chunks[7].id
    incoming.chunk_path(rotten).write_bytes(b"rust")
    with pytest.raises(DamagedChunks) as caught:
        assemble(incoming, store)
    assert caught.value.chunks == [rotten]
    incoming.forget(caught.value.chunks)
    again = Fetching(store.incoming(SOURCE.ref.digest), MemoryChannel(SOURCE))
    again.begin()
    again.run()
    assert again.channel.sent == [rotten]
    assert assemble(again.incoming, store).folder.is_dir()


@pytest.mark.parametrize("name", ["inputs.npy", "manifest.json"])
def test_a_complete_artifact_that_rotted_is_dropped(store: ArtifactStore, name: str) -> None:
    incoming = fetched(store)
    folder = assemble(incoming, store).folder
    (folder / name).write_bytes(b"rust")
    with pytest.raises(DamagedChunks):
        assemble(incoming, store)
    assert store.find(SOURCE.ref.digest) is None


def _made(manifest: bytes, entries: tuple[FileEntry, ...], content: bytes) -> Cut:
    return cut_stream(manifest, entries, manifest + content, (100, 1500))


def test_a_file_with_another_digest_is_refused(store: ArtifactStore) -> None:
    entry = FileEntry(path="inputs.npy", size_bytes=50, sha256=sha256_hex(b"promised"))
    manifest = encode(DatasetManifest(name="set", kind="regression", samples=1, files=(entry,)))
    with pytest.raises(BadBundle, match=r"inputs\.npy"):
        assemble(fetched(store, _made(manifest, (entry,), b"x" * 50)), store)
    assert store.digests() == frozenset()


def test_an_index_that_names_other_files_than_the_manifest_is_refused(store: ArtifactStore) -> None:
    entry = FileEntry(path="inputs.npy", size_bytes=50, sha256=sha256_hex(b"x" * 50))
    manifest = encode(DatasetManifest(name="set", kind="regression", samples=1, files=(entry,)))
    other = entry.model_copy(update={"path": "outputs.npy"})
    with pytest.raises(BadBundle, match="different files"):
        assemble(fetched(store, _made(manifest, (other,), b"x" * 50)), store)


def test_a_manifest_that_is_none_is_refused(store: ArtifactStore) -> None:
    entry = FileEntry(path="inputs.npy", size_bytes=50, sha256=sha256_hex(b"x" * 50))
    with pytest.raises(BadBundle, match="manifest"):
        assemble(fetched(store, _made(b'{"artifact":"poem"}', (entry,), b"x" * 50)), store)


@pytest.mark.parametrize(("window_log", "said"), [(17, "another number of bytes"), (26, "too much memory")])
def test_a_small_chunk_cannot_fill_the_memory(store: ArtifactStore, window_log: int, said: str) -> None:
    """A zstd bomb: 50 MB of zeros behind a chunk that promises 100 bytes; of it, or of its window, nothing is made."""
    settings = zstandard.ZstdCompressionParameters.from_level(3, window_log=window_log)
    bomb = zstandard.ZstdCompressor(compression_params=settings).compress(b"\0" * 50_000_000)
    whole = cut(chunks=12)
    chunk = Chunk(id=sha256_hex(bomb), wire_bytes=len(bomb), plain_bytes=100, encoding="zstd")
    index = whole.index.model_copy(update={"chunks": (chunk, *whole.index.chunks[1:])})
    content = encode(index)
    sizes = {"index_bytes": len(content), "wire_bytes": whole.ref.wire_bytes + len(bomb)}
    ref = whole.ref.model_copy(update={"index": (sha256_hex(content),), **sizes})
    source = Cut(ref, index, {**whole.parts, chunk.id: bomb, sha256_hex(content): content}, {})
    with pytest.raises(BadIndex, match=said):
        assemble(fetched(store, source), store)


@pytest.mark.parametrize("path", ["../escape", "/etc/passwd", "a/../../b", ".hidden", "a//b", ""])
def test_paths_never_leave_the_folder(path: str) -> None:
    with pytest.raises(ValueError, match="path"):
        FileEntry(path=path, size_bytes=1, sha256="a" * 64)


def test_another_cut_of_the_same_artifact_keeps_the_chunks_that_still_fit(store: ArtifactStore) -> None:
    incoming = fetched(store)
    content = encode(incoming.index) if incoming.index else b""
    pieces = [content[start : start + 900] for start in range(0, len(content), 900)]
    ref = SOURCE.ref.model_copy(update={"index": tuple(sha256_hex(piece) for piece in pieces)})
    again = Incoming(store.incoming(SOURCE.ref.digest), ref)
    for piece in pieces:
        again.add_piece(sha256_hex(piece), piece)
    assert again.complete


def test_a_torn_bitmap_is_rebuilt_from_the_chunks(store: ArtifactStore) -> None:
    incoming = fetched(store)
    (incoming.folder / "bitmap").write_bytes(b'{"index": [')
    incoming.chunk_path(SOURCE.index.chunks[3].id).unlink()
    again = Incoming(store.incoming(SOURCE.ref.digest), SOURCE.ref)
    assert again.next_missing(10) == [3]


def test_garbage_is_collected_and_what_is_kept_stays(store: ArtifactStore) -> None:
    other = cut(seed=2)
    assemble(fetched(store), store)
    assemble(fetched(store, other), store)
    half = cut(seed=3)
    fetched(store, half)
    assert store.collect({SOURCE.ref.digest}, {half.ref.digest}) == [other.ref.digest]
    assert store.digests() == {SOURCE.ref.digest}
    assert store.incoming(half.ref.digest).is_dir()
    store.collect({SOURCE.ref.digest}, ())
    assert not store.incoming(half.ref.digest).exists()


def test_bits_are_least_significant_first() -> None:
    assert bitmap({5, 6, 14}, first=5) == "AwI="
    assert bitmap(set()) == ""
