"""What a device has is not fetched: chunks of complete artifacts and of other downloads; what damage makes of it."""

import json
from pathlib import Path

import pytest

from agent.artifacts.assemble import DamagedChunks, assemble
from agent.artifacts.downloads import Downloads
from agent.artifacts.held import RECORD_NAME, find_held, read_held
from agent.artifacts.incoming import Incoming
from agent.artifacts.indexes import BadIndex
from agent.artifacts.store import ArtifactStore
from agent.errors import DiskFull
from agent.loop import Loop
from tests.unit.agent.artifacts.artifact_kit import Cut, Fetching, MemoryChannel, changed, cut
from wire.artifact import ArtifactRef, ChunkIndex
from wire.base import encode
from wire.canonical import sha256_hex
from wire.update import Have, ReportedError

OLD = cut()
NEW = changed(OLD, "inputs.npy")
"""As OLD, with another first file: the chunks of the second stay."""
SHARED = {chunk.id for chunk in OLD.index.chunks} & {chunk.id for chunk in NEW.index.chunks}


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "state")


def fetched(store: ArtifactStore, source: Cut, most: int = 10**9) -> Fetching:
    """Fetch, all or so many payloads."""
    fetching = Fetching(store.incoming(source.ref.digest), MemoryChannel(source), elsewhere=store)
    fetching.begin()
    if most == 10**9:
        fetching.run()
        assert fetching.ends == [None]
    else:
        fetching.channel.deliver(most)
    return fetching


def test_only_what_the_device_lacks_is_fetched(store: ArtifactStore) -> None:
    assemble(fetched(store, OLD).incoming, store)
    second = fetched(store, NEW)
    assert len(SHARED) > len(NEW.index.chunks) // 2
    assert set(second.channel.sent) == set(NEW.parts) - SHARED
    folder = assemble(second.incoming, store).folder
    assert {name: (folder / name).read_bytes() for name in NEW.files} == NEW.files


def test_what_was_fetched_and_what_was_here_is_told(store: ArtifactStore) -> None:
    assemble(fetched(store, OLD).incoming, store)
    have = fetched(store, NEW).progress[-1]
    chunks = {chunk.id: chunk.wire_bytes for chunk in NEW.index.chunks}
    assert have.chunks == have.of_chunks
    assert have.wire_bytes == NEW.ref.wire_bytes
    assert have.reused_bytes == sum(chunks[chunk] for chunk in SHARED)
    assert have.received_bytes == NEW.ref.index_bytes + NEW.ref.wire_bytes - have.reused_bytes


def test_what_comes_twice_is_counted_twice_and_over_a_restart(store: ArtifactStore) -> None:
    first = Fetching(store.incoming(OLD.ref.digest), MemoryChannel(OLD, lambda _, payload: [payload, payload]))
    first.begin()
    first.channel.deliver(50)
    kept = json.loads((first.folder / "bitmap").read_bytes())["received_bytes"]
    second = Fetching(first.folder, MemoryChannel(OLD))
    second.begin()
    assert (second.incoming.have().received_bytes, kept > 0) == (kept, True)


def test_an_artifact_whose_files_are_here_needs_its_index_and_its_manifest(store: ArtifactStore) -> None:
    assemble(fetched(store, OLD).incoming, store)
    twin = changed(OLD, None)
    here = {chunk.id for chunk in OLD.index.chunks}
    second = fetched(store, twin)
    assert set(second.channel.sent) == {
        *twin.ref.index,
        *(chunk.id for chunk in twin.index.chunks if chunk.id not in here),
    }
    assert 0 < len(set(second.channel.sent) - set(twin.ref.index)) <= twin.index.manifest_bytes // 100 + 1
    assert assemble(second.incoming, store).folder.is_dir()


def test_what_another_download_brought_gets_a_second_name(store: ArtifactStore) -> None:
    fetched(store, OLD, most=len(OLD.ref.index) + 33)
    second = fetched(store, NEW)
    linked = SHARED & {path.name for path in (store.incoming(OLD.ref.digest) / "chunks").iterdir()}
    assert linked
    assert set(second.channel.sent) == set(NEW.parts) - linked
    assert second.incoming.chunk_path(min(linked)).stat().st_nlink == 2
    store.collect((), {NEW.ref.digest})
    assert assemble(second.incoming, store).folder.is_dir()


def test_a_damaged_chunk_of_another_download_is_not_taken(store: ArtifactStore) -> None:
    first = fetched(store, OLD)
    for path in (first.folder / "chunks").iterdir():
        path.write_bytes(b"rust")
    assert set(fetched(store, NEW).channel.sent) == set(NEW.parts)


@pytest.mark.parametrize("damage", ["bytes", "short", "gone"])
def test_a_chunk_that_rotted_in_another_artifact_is_fetched_and_never_taken_from_there_again(
    store: ArtifactStore, damage: str
) -> None:
    folder = assemble(fetched(store, OLD).incoming, store).folder
    second = fetched(store, NEW)
    file = folder / "deep" / "labels.npy"
    content = file.read_bytes()
    file.write_bytes(content[:-1] + b"?" if damage == "bytes" else content[: len(content) // 2])
    if damage == "gone":
        file.unlink()
    with pytest.raises(DamagedChunks) as caught:
        assemble(second.incoming, store)
    lost = set(caught.value.chunks)
    assert lost <= SHARED
    held = [found for chunk in lost if (found := second.incoming.held(chunk))]
    store.forget_held(held, lost)
    second.incoming.forget(list(lost))
    third = fetched(store, NEW)
    assert set(third.channel.sent) == lost
    assert assemble(third.incoming, store).folder.is_dir()


@pytest.mark.parametrize("record", [b"", b"{", b'{"chunks": [["inputs.npy", 0, 5]]}', b'{"chunks": 7}', None])
def test_without_its_record_an_artifact_lends_nothing(store: ArtifactStore, record: bytes | None) -> None:
    """Artifacts of earlier releases have none."""
    folder = assemble(fetched(store, OLD).incoming, store).folder
    (folder / RECORD_NAME).unlink()
    if record is not None:
        (folder / RECORD_NAME).write_bytes(record)
    assert find_held(folder, SHARED) == {}
    assert set(fetched(store, NEW).channel.sent) == set(NEW.parts)


def test_a_record_that_gives_chunks_other_names_spoils_nothing(store: ArtifactStore) -> None:
    """Two chunks of one length change their names: the file's digest finds it, and both are fetched."""
    folder = assemble(fetched(store, OLD).incoming, store).folder
    entries = json.loads((folder / RECORD_NAME).read_bytes())["chunks"]
    first, second = [entry for entry in entries if entry[3] in SHARED][:2]
    first[3], second[3] = second[3], first[3]
    (folder / RECORD_NAME).write_text(json.dumps({"chunks": entries}))
    incoming = fetched(store, NEW).incoming
    with pytest.raises(DamagedChunks) as caught:
        assemble(incoming, store)
    assert set(caught.value.chunks) == SHARED


def test_a_held_chunk_is_what_the_index_says(store: ArtifactStore) -> None:
    folder = assemble(fetched(store, OLD).incoming, store).folder
    everything = b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())
    for chunk, held in find_held(folder, SHARED).items():
        plain = read_held(held)
        assert plain is not None
        assert plain in everything
        assert len(plain) == next(each.plain_bytes for each in OLD.index.chunks if each.id == chunk)


def test_collecting_drops_the_manifest_first(store: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The power goes when the first file is to be removed: what is left is no artifact, and lends nothing."""
    assemble(fetched(store, OLD).incoming, store)
    monkeypatch.setattr("agent.artifacts.store.shutil.rmtree", lambda *_, **__: None)
    assert store.collect((), ()) == [OLD.ref.digest]
    assert store.find(OLD.ref.digest) is None
    assert store.held(SHARED) == {}


def test_what_is_being_fetched_keeps_those_that_lend_to_it(store: ArtifactStore) -> None:
    assemble(fetched(store, OLD).incoming, store)
    downloads = Downloads("barn-1", store, MemoryChannel(NEW), Loop(), lambda *_: None)
    fetched(store, NEW, most=len(NEW.ref.index))
    downloads.fetch("main", NEW.ref, lambda _: None, lambda _: None)
    assert downloads.digests == {NEW.ref.digest, OLD.ref.digest}
    downloads.leave("main")
    assert downloads.digests == frozenset()


def test_a_finished_fetch_says_what_it_took(store: ArtifactStore) -> None:
    told: list[tuple[str, Have]] = []
    loop, channel, ends = Loop(), MemoryChannel(OLD), list[ReportedError | None]()
    downloads = Downloads("barn-1", store, channel, loop, lambda *_: None, on_fetched=lambda *both: told.append(both))

    def done(error: ReportedError | None) -> None:
        ends.append(error)
        loop.stop()

    downloads.fetch("main", OLD.ref, done, lambda _: None)
    loop.after(0.05, lambda: print(channel.deliver(), "payloads"))
    loop.after(10.0, loop.stop)
    loop.run()
    assert ends == [None]
    assert [(digest, have.reused_bytes) for digest, have in told] == [(OLD.ref.digest, 0)]
    assert told[0][1].received_bytes == OLD.ref.index_bytes + OLD.ref.wire_bytes


def test_a_store_with_a_limit_refuses_what_would_lead_over_it(tmp_path: Path) -> None:
    needed = OLD.ref.size_bytes + OLD.ref.wire_bytes
    limited = ArtifactStore(tmp_path / "state", 4 * needed)
    assert limited.free_bytes() == 4 * needed
    assemble(fetched(limited, OLD).incoming, limited)
    assert limited.used_bytes() > OLD.ref.size_bytes
    assert limited.free_bytes() == 4 * needed - limited.used_bytes()
    limited.check_room(NEW.ref)
    fetched(limited, NEW)
    limited.check_room(NEW.ref)  # what has come of it counts once
    smaller = ArtifactStore(tmp_path / "state", needed)
    smaller.check_room(OLD.ref)  # complete
    with pytest.raises(DiskFull, match="artifacts_limit_bytes"):
        smaller.check_room(cut(seed=9).ref)


def reworked(source: Cut, index: ChunkIndex) -> tuple[ArtifactRef, bytes]:
    """Return a reference to `source` by another index, and that index as one piece."""
    content = encode(index)
    named = {"index": (sha256_hex(content),), "index_bytes": len(content)}
    return source.ref.model_copy(update=named), content


def lying(source: Cut, **changes: int) -> Cut:
    """Return the artifact with an index that says other numbers of its third chunk."""
    chunks = list(source.index.chunks)
    chunks[2] = chunks[2].model_copy(update=changes)
    index = source.index.model_copy(update={"chunks": tuple(chunks)})
    ref, content = reworked(source, index)
    return Cut(ref, index, {**source.parts, sha256_hex(content): content}, source.files)


def test_a_chunk_longer_than_the_index_says_ends_the_fetch(tmp_path: Path) -> None:
    fetching = Fetching(tmp_path / "in", MemoryChannel(lying(OLD, wire_bytes=7)))
    fetching.begin()
    fetching.run()
    (end,) = fetching.ends
    assert end is not None
    assert (end.code, end.error_class) == ("bad_index", "terminal")
    assert "the index says 7" in end.detail


def test_an_index_of_more_bytes_than_were_signed_is_refused(tmp_path: Path) -> None:
    fetching = Fetching(tmp_path / "in", MemoryChannel(lying(OLD, wire_bytes=90_000)))
    fetching.begin()
    fetching.run()
    (end,) = fetching.ends
    assert end is not None
    assert (end.code, "on the wire" in end.detail) == ("bad_index", True)


def test_an_index_of_too_many_entries_is_refused_before_it_is_fetched(tmp_path: Path) -> None:
    ref = OLD.ref.model_copy(update={"index_bytes": 20 * 1024 * 1024})
    with pytest.raises(BadIndex, match="an index of 20971520 bytes"):
        Incoming(tmp_path / "in", ref)
    assert not (tmp_path / "in").exists()


def test_a_payload_larger_than_any_part_is_not_even_hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetching = Fetching(tmp_path / "in", MemoryChannel(OLD))
    fetching.begin()
    monkeypatch.setattr("agent.update.fetch.sha256_hex", lambda _: pytest.fail("it was hashed"))
    fetching.fetch.deliver(OLD.ref.index[0], bytes(200_000))
    assert fetching.corrupt == [OLD.ref.index[0]]
