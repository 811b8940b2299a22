"""The store: when the disk is written, what a restart finds, bounds, and damage."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.gateway.sinks.text import line_of
from agent.gateway.store.segments import SegmentFolder
from agent.gateway.store.store import FLUSH_BYTES
from agent.serve.settings import KIB
from tests.unit.agent.gateway.sinks.sink_kit import number_of, prediction
from tests.unit.agent.gateway.store.store_kit import Stage


def test_it_is_written_when_the_oldest_is_old_or_there_is_much(tmp_path: Path) -> None:
    stage = Stage(tmp_path, flush_s=10.0)
    assert stage.store.due_in_s() is None
    stage.append(0)
    stage.time.elapsed_s += 4.0
    stage.append(1)
    assert stage.store.due_in_s() == 6.0
    assert stage.files() == []
    stage.append(*range(2, 2 + FLUSH_BYTES // len(line_of(prediction(0).document)) + 1))
    assert stage.store.due_in_s() == 0.0
    stage.write()
    assert stage.store.due_in_s() is None
    assert stage.store.kept_bytes == sum(path.stat().st_size for path in stage.files())


def test_nothing_is_written_for_what_was_taken_in_time(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.append(0, 1, 2)
    assert stage.rest() == [0, 1, 2]
    assert stage.store.due_in_s() is None
    stage.close()
    assert list(tmp_path.iterdir()) == []


def test_peeking_takes_nothing_out(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.append(0, 1)
    stage.write()
    stage.append(2)
    assert [each.number for each in stage.store.peek(1)] == [0]
    assert [each.number for each in stage.store.peek(9)] == [0, 1], "from the disk first"
    stage.store.forget(1)
    assert [number_of(each.prediction) for each in stage.store.peek(9)] == [2]


def test_a_prediction_comes_back_as_it_was_with_what_json_has_not_made_null(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    odd = {"values": [float("nan"), 1.5, float("inf")], "labels": ["größer\n", "\ud800"], "origin": {"key": 'a"\\b'}}
    stage.store.append(prediction(0, **odd))
    stage.close()
    (kept,) = stage.again().store.peek(9)
    document = kept.prediction.document
    assert document["values"] == [None, 1.5, None]
    assert document["labels"] == ["größer\n", "?"]
    assert document["origin"] == odd["origin"]


def test_a_segment_is_full_and_another_begins_and_read_ones_are_deleted(tmp_path: Path) -> None:
    stage = Stage(tmp_path, most_bytes=64 * KIB)
    numbers = list(range(200))
    stage.append(*numbers)
    stage.write()
    sizes = [path.stat().st_size for path in stage.files()]
    assert len(sizes) > 4
    assert max(sizes) <= 8 * KIB
    assert stage.store.disk_bytes == sum(sizes)
    for kept in [stage.store.peek(200)]:
        stage.store.forget(kept[-1].number)
    assert len(stage.files()) == len(sizes) - 1
    assert stage.again().rest() == numbers[len(kept) :]


def test_a_line_cut_off_by_a_power_cut_is_passed_over(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.append(0, 1, 2)
    stage.write()
    (path,) = stage.files()
    path.write_bytes(path.read_bytes()[:-20])
    later = stage.again()
    later.append(3)
    later.write()
    assert later.again().rest() == [0, 1, 3]
    assert later.counts == {}


def test_damaged_lines_and_files_are_counted_once_and_the_rest_comes(tmp_path: Path) -> None:
    stage = Stage(tmp_path, most_bytes=64 * KIB)
    stage.append(*range(200))
    stage.write()
    first, second, *_ = stage.files()
    lines = first.read_bytes().split(b"\n")
    lines[1], lines[4] = b"\0" * len(lines[1]), b"[1, 2]"
    first.write_bytes(b"\n".join(lines))
    lost = second.read_bytes().count(b"\n")
    second.unlink()
    second.mkdir()  # what cannot be read as a file
    later = stage.again()
    later.store.peek(3)
    found = later.rest(3)
    begin = len(lines) - 1
    assert found == [n for n in range(200) if n not in {1, 4} and not begin <= n < begin + lost]
    assert later.counts == {"store_damaged": 2 + lost}


def test_an_unreadable_position_brings_everything_again(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.append(*range(10))
    stage.write()
    stage.store.forget(stage.store.peek(5)[-1].number)
    stage.close()
    assert stage.again().rest()[0] == 5
    stage = Stage(tmp_path / "other")
    stage.append(*range(10))
    stage.write()
    stage.store.forget(stage.store.peek(5)[-1].number)
    stage.close()
    stage.folder.joinpath("position").write_text("nonsense")
    assert stage.again().rest() == list(range(10))


def test_after_everything_was_delivered_a_restart_finds_nothing_and_numbers_go_on(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.append(*range(30))
    stage.write()
    assert stage.rest() == list(range(30))
    stage.close()
    later = stage.again()
    assert later.rest() == []
    later.append(30)
    later.close()
    assert later.again().rest() == [30]


def test_the_position_is_written_now_and_then_while_much_is_read(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.append(*range(1200))
    stage.write()
    while (kept := stage.store.peek(10)) and stage.store.due_in_s() is None:
        stage.store.forget(kept[-1].number)
    assert stage.store.due_in_s() == 0.0
    stage.write()
    assert stage.store.due_in_s() is None
    # A crash now brings none of these again.
    assert stage.again().rest()[0] == stage.store.position > 100


def test_a_file_holds_consecutive_numbers_only(tmp_path: Path) -> None:
    folder = SegmentFolder(tmp_path, 1000)
    written = [*folder.write(0, [b"0\n", b"1\n"]), *folder.write(2, [b"2\n"]), *folder.write(7, [b"7\n"])]
    folder.close()
    assert [(each.first, each.end) for each in written] == [(0, 2), (0, 3), (7, 8)]
    found = SegmentFolder(tmp_path, 1000).found()
    # The next file's name bounds a file; what it lacks is passed over when it is read.
    assert [(each.first, each.end) for each in found] == [(0, 7), (7, 8)]
    assert [folder.read(each, each.first) for each in found] == [[b"0", b"1", b"2"], [b"7"]]


def test_a_burst_that_is_faster_than_the_disk_is_kept(tmp_path: Path) -> None:
    async def scene() -> None:
        writing = asyncio.create_task(stage.store.write())
        stage.append(*range(10, 9000))
        await writing

    stage = Stage(tmp_path)
    stage.append(*range(10))
    asyncio.run(scene())
    stage.close()
    assert stage.again().rest() == list(range(9000))
    assert stage.counts == {}


def test_a_prediction_larger_than_the_bound_is_not_kept(tmp_path: Path) -> None:
    stage = Stage(tmp_path, most_bytes=4 * KIB)
    assert not stage.store.append(prediction(0, values=[0.123456] * 1000))
    assert stage.store.append(prediction(1))
    assert stage.counts == {"store_full": 1}


def test_a_smaller_bound_holds_from_the_next_prediction_on(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.append(*range(2000))
    stage.write()
    stage.close()
    later = stage.again(most_bytes=64 * KIB)
    later.append(2000)
    assert later.store.kept_bytes <= 64 * KIB
    # One file of the former size was all there was: the newest is what is left.
    assert later.rest()[-1] == 2000


Step = tuple[str, int]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 40)),
        st.tuples(st.just("take"), st.integers(1, 40)),
        st.tuples(st.sampled_from(["write", "restart", "kill"]), st.just(0)),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(steps=STEPS, full=st.sampled_from(["drop_oldest", "drop_newest"]))
def test_whatever_happens_order_holds_and_only_the_policy_drops(
    tmp_path_factory: pytest.TempPathFactory, steps: Sequence[Step], full: str
) -> None:
    """Against a list: what is taken out is in order; what is missing was dropped, or not yet written at a kill."""
    stage = Stage(tmp_path_factory.mktemp("store"), most_bytes=16 * KIB, full=full)
    appended, taken, excused, written = 0, [], 0, 0
    for step, count in steps:
        if step == "append":
            for _ in range(count):
                stage.append(appended)
                appended += 1
        elif step == "take" and (kept := stage.store.peek(count)):
            taken += [number_of(each.prediction) for each in kept]
            stage.store.forget(kept[-1].number)
        elif step == "write":
            stage.write()
            written = appended
        elif step in ("restart", "kill"):
            if step == "restart":
                stage.close()
            else:
                excused += appended - written
            excused += stage.counts["store_full"]
            stage = stage.again()
            written = appended
        assert stage.store.disk_bytes == sum(path.stat().st_size for path in stage.files()) <= 16 * KIB
    taken += stage.rest()
    excused += stage.counts["store_full"]
    firsts = list(dict.fromkeys(taken))
    assert firsts == sorted(firsts)
    assert appended - len(firsts) <= excused
