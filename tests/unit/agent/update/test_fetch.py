"""Fetching over a channel that loses, repeats and damages, with the power cut at every moment."""

import errno
import itertools
import os
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.artifacts import incoming as incoming_module
from agent.artifacts.assemble import assemble
from agent.artifacts.incoming import Incoming
from agent.artifacts.store import ArtifactStore
from agent.update.fetch import LONGEST_SILENCE_S, WINDOW_CHUNKS
from tests.unit.agent.artifacts.artifact_kit import Fetching, MemoryChannel, asked_of, cut
from wire.base import LARGEST_PART_BYTES, encode

SOURCE = cut()


@pytest.fixture
def fetching(tmp_path: Path) -> Fetching:
    return Fetching(tmp_path / "in", MemoryChannel(SOURCE))


def test_all_arrives_and_everything_is_asked_for_once(fetching: Fetching) -> None:
    fetching.begin()
    fetching.run()
    assert fetching.ends == [None]
    assert fetching.incoming.complete
    assert sorted(fetching.channel.sent) == sorted(SOURCE.parts)
    assert fetching.progress[-1].chunks == fetching.progress[-1].of_chunks == len(SOURCE.index.chunks)
    assert fetching.progress[-1].wire_bytes == SOURCE.ref.wire_bytes
    assert fetching.channel.listening is None


def test_index_pieces_come_first(fetching: Fetching) -> None:
    fetching.begin()
    first = fetching.channel.wants[0]
    assert first.pieces == SOURCE.ref.index[:WINDOW_CHUNKS]
    assert first.missing == ""
    assert first.index == SOURCE.ref.index


def test_never_more_than_a_window_is_on_the_way(fetching: Fetching) -> None:
    fetching.begin()
    while fetching.channel.waiting:
        assert len(fetching.channel.waiting) <= WINDOW_CHUNKS
        fetching.channel.deliver(1)
    assert fetching.ends == [None]
    for want in fetching.channel.wants:
        assert 0 < len(asked_of(want, SOURCE.index)) <= WINDOW_CHUNKS
        assert len(encode(want)) < LARGEST_PART_BYTES


def test_what_is_lost_is_asked_for_again_until_it_comes(fetching: Fetching) -> None:
    dice = random.Random(4)
    fetching.channel.spoil = lambda _, payload: [payload] if dice.random() < 0.5 else []
    fetching.begin()
    fetching.run()
    assert fetching.ends == [None]
    assert set(fetching.channel.sent) == set(SOURCE.parts)


def test_silence_is_met_with_ever_rarer_questions(fetching: Fetching) -> None:
    fetching.channel.spoil = lambda _, __: []
    fetching.begin()
    asked_s = []
    for _ in range(12):
        fetching.clock.fire_next()
        asked_s.append(fetching.clock.now_s)
    gaps = [later - earlier for earlier, later in itertools.pairwise(asked_s)]
    assert gaps == sorted(gaps)
    assert gaps[-1] == LONGEST_SILENCE_S
    assert fetching.ends == []


def test_a_broker_that_is_back_is_asked_at_once(fetching: Fetching) -> None:
    fetching.channel.spoil = lambda _, __: []
    fetching.begin()
    before = len(fetching.channel.wants)
    fetching.fetch.ask_again()
    assert len(fetching.channel.wants) == before + 1


def test_a_damaged_payload_is_counted_and_asked_for_again(fetching: Fetching) -> None:
    damaged: set[str] = set()

    def spoil(digest: str, payload: bytes) -> list[bytes]:
        if digest in damaged:
            return [payload]
        damaged.add(digest)
        return [payload[:-1] + bytes([payload[-1] ^ 0x40])]

    fetching.channel.spoil = spoil
    fetching.begin()
    fetching.run()
    assert fetching.ends == [None]
    assert sorted(fetching.corrupt) == sorted(SOURCE.parts)
    assert fetching.fetch.corrupted == len(SOURCE.parts)


def test_repeated_and_foreign_payloads_change_nothing(fetching: Fetching) -> None:
    fetching.channel.spoil = lambda _, payload: [payload, payload]
    fetching.begin()
    fetching.fetch.deliver("e" * 64, b"nobody asked for this")
    fetching.run()
    assert fetching.ends == [None]
    assert fetching.corrupt == []
    assert not (fetching.folder / "chunks" / ("e" * 64)).exists()


def test_a_stopped_fetch_tells_nobody(fetching: Fetching) -> None:
    fetching.begin()
    fetching.fetch.stop()
    fetching.run()
    assert fetching.ends == []
    assert fetching.channel.listening is None
    assert not fetching.clock.fire_next()


def test_no_bit_is_set_before_its_chunk_is_synced(fetching: Fetching, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: set[str] = set()
    real_sync = incoming_module._sync_file

    def sync(path: Path) -> None:
        synced.add(path.name)
        real_sync(path)

    def write(self: Incoming, safe: set[int]) -> None:
        assert {SOURCE.index.chunks[place].id for place in safe} <= synced
        real_write(self, safe)

    real_write = Incoming._write_bitmap
    monkeypatch.setattr(incoming_module, "_sync_file", sync)
    monkeypatch.setattr(Incoming, "_write_bitmap", write)
    fetching.begin()
    fetching.run()
    assert fetching.ends == [None]
    assert synced == {chunk.id for chunk in SOURCE.index.chunks}


@pytest.mark.parametrize("survived", range(0, len(SOURCE.parts) + 1, 3))
def test_after_a_power_cut_only_what_was_not_safe_is_asked_for(tmp_path: Path, survived: int) -> None:
    """Cut the power after so many payloads; chunks that were written and not synced are torn."""
    first = Fetching(tmp_path / "in", MemoryChannel(SOURCE))
    first.begin()
    first.channel.deliver(survived)
    for chunk in list(first.incoming._written):
        first.incoming.chunk_path(chunk).write_bytes(b"torn")
    safe = len(first.incoming._safe)
    second = Fetching(tmp_path / "in", MemoryChannel(SOURCE))
    second.begin()
    second.run()
    assert second.ends == [None]
    asked = [digest for digest in second.channel.sent if digest not in SOURCE.ref.index]
    assert len(asked) == len(SOURCE.index.chunks) - safe
    store = ArtifactStore(tmp_path / "state")
    assert {
        name: (assemble(second.incoming, store).folder / name).read_bytes() for name in SOURCE.files
    } == SOURCE.files


class FullDisk:
    """A disk that takes so many writes and then says that it is full."""

    def __init__(self, writes: int) -> None:
        self.left = writes

    def spend(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("writes", [0, 1, 3, 8, 20])
def test_a_full_disk_ends_the_fetch_with_its_reason_and_later_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    disk = FullDisk(writes)
    real_write, real_replace = Path.write_bytes, os.replace

    def write_bytes(path: Path, content: Any) -> int:
        disk.spend()
        return real_write(path, content)

    def replace(source: Any, destination: Any) -> None:
        disk.spend()
        real_replace(source, destination)

    fetching = Fetching(tmp_path / "in", MemoryChannel(SOURCE))
    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", write_bytes)
        patched.setattr(os, "replace", replace)
        fetching.begin()
        fetching.run()
    (end,) = fetching.ends
    assert end is not None
    assert (end.code, end.error_class) == ("disk_full", "incompatible")
    again = Fetching(tmp_path / "in", MemoryChannel(SOURCE))
    again.begin()
    again.run()
    assert again.ends == [None]


def test_an_index_of_another_artifact_is_refused(tmp_path: Path) -> None:
    other = cut(seed=2)
    ref = SOURCE.ref.model_copy(update={"index": other.ref.index, "index_bytes": other.ref.index_bytes})
    lying = type(other)(ref, other.index, other.parts, other.files)
    fetching = Fetching(tmp_path / "in", MemoryChannel(lying))
    fetching.begin()
    fetching.run()
    (end,) = fetching.ends
    assert end is not None
    assert (end.code, end.error_class) == ("bad_index", "terminal")


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), loss=st.floats(0, 0.6), cuts=st.lists(st.integers(0, 30), max_size=4))
def test_any_mixture_of_loss_damage_repetition_and_power_cuts_converges(
    tmp_path_factory: pytest.TempPathFactory, seed: int, loss: float, cuts: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("mix")
    dice = random.Random(seed)

    def spoil(_: str, payload: bytes) -> list[bytes]:
        if dice.random() < loss:
            return []
        good = [payload] * dice.randint(1, 2)
        return [b"x" + payload[1:], *good] if dice.random() < 0.2 else good

    for survived in cuts:
        cut_short = Fetching(folder / "in", MemoryChannel(SOURCE, spoil))
        cut_short.begin()
        cut_short.channel.deliver(survived)
    last = Fetching(folder / "in", MemoryChannel(SOURCE, spoil))
    last.begin()
    last.run(5000)
    assert last.ends == [None]
    complete = assemble(last.incoming, ArtifactStore(folder / "state")).folder
    assert {name: (complete / name).read_bytes() for name in SOURCE.files} == SOURCE.files
