"""Forwarding: order, tries, refusals, a day without a network, and what a restart brings back."""

import asyncio
import contextlib
import itertools
import os
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from agent.gateway.base import Prediction, Undeliverable
from agent.gateway.sinks import forward
from agent.gateway.sinks.failures import WebhookBusy
from agent.gateway.sinks.forward import FIRST_WAIT_S, LONGEST_WAIT_S
from agent.gateway.sinks.text import line_of
from agent.gateway.store.segments import Segment, SegmentFolder
from agent.serve.settings import KIB
from tests.unit.agent.gateway.sinks.sink_kit import FakeSink, Line, VirtualTime, away, number_of, prediction, until

DAY_S = 86_400
EVERY_S = 10
FLUSH_S = 600.0
"""A day has 8,640 predictions; waiting for the disk once for each would make the test slow, not better."""
LINE_BYTES = len(line_of(prediction(8000).document))


def files(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_while_the_sink_takes_them_they_come_in_order_and_nothing_is_written(tmp_path: Path) -> None:
    async def run() -> None:
        async with Line(tmp_path) as line:
            for number in range(300):
                line.forwarder.accept(prediction(number))
                await line.time.advance(1.0)
            assert line.sink.delivered == list(range(300))
            assert files(tmp_path) == []
            assert line.store.is_empty
        assert files(tmp_path) == []
        assert line.sink.closed
        assert line.counts == {}

    asyncio.run(run())


def test_accepting_never_waits_for_the_sink(tmp_path: Path) -> None:
    class Hanging(FakeSink):
        async def deliver(self, predictions: Sequence[Prediction]) -> None:  # noqa: ARG002 - hangs whatever it gets
            await asyncio.Event().wait()

    async def run() -> None:
        line = Line(tmp_path)
        line.forwarder._sink = Hanging()
        async with line:
            for number in range(100):
                line.forwarder.accept(prediction(number))
            await line.time.advance(60.0)
            await until(lambda: line.store.disk_bytes > 0)
        assert files(tmp_path) == [f"{0:020d}.jsonl"]

    asyncio.run(run())


def test_a_sink_that_is_away_is_tried_ever_rarer_and_soon_again_after_it_was_there(tmp_path: Path) -> None:
    async def run() -> None:
        async with Line(tmp_path) as line:
            tried_at_s = []

            def note(given: Sequence[Prediction]) -> Exception:
                tried_at_s.append(line.time.elapsed_s)
                return away(given)

            line.sink.failure = note
            line.forwarder.accept(prediction(1))
            await line.time.advance(400.0)
            waits_s = [later - earlier for earlier, later in itertools.pairwise(tried_at_s)]
            assert waits_s[:6] == [FIRST_WAIT_S * 2**n for n in range(6)]
            assert set(waits_s[6:]) == {LONGEST_WAIT_S}
            assert line.counts == {"undelivered": line.sink.tries}
            line.sink.failure = lambda _: None
            await line.time.advance(LONGEST_WAIT_S)
            assert line.sink.delivered == [1]
            line.sink.failure = note
            line.forwarder.accept(prediction(2))
            await line.time.advance(FIRST_WAIT_S)
            assert tried_at_s[-1] - tried_at_s[-2] == FIRST_WAIT_S

    asyncio.run(run())


def test_a_sink_that_says_when_it_may_be_asked_again_is_left_alone_until_then(tmp_path: Path) -> None:
    async def run() -> None:
        async with Line(tmp_path) as line:
            line.sink.failure = lambda _: WebhookBusy("slow down", after_s=500.0)
            line.forwarder.accept(prediction(1))
            await line.time.advance(499.0)
            assert line.sink.tries == 1
            line.sink.failure = lambda _: None
            await line.time.advance(2.0)
            assert line.sink.delivered == [1]
            assert line.counts == {"webhook_busy": 1}

    asyncio.run(run())


def test_one_bad_prediction_costs_only_itself(tmp_path: Path) -> None:
    async def run() -> None:
        async with Line(tmp_path) as line:
            bad = {3, 11}
            line.sink.failure = lambda given: (
                Undeliverable("not this one") if bad & {number_of(each) for each in given} else None
            )
            for number in range(25):
                line.forwarder.accept(prediction(number))
            await until(lambda: line.store.is_empty)
            assert line.sink.delivered == [number for number in range(25) if number not in bad]
            assert line.counts == {"undeliverable": 2}
            assert max(line.sink.sizes) > 1

    asyncio.run(run())


def test_a_defect_in_a_sink_is_counted_and_loses_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        async with Line(tmp_path) as line:
            line.sink.failure = lambda _: ZeroDivisionError("a defect")
            line.forwarder.accept(prediction(1))
            await line.time.advance(0.5)
            line.sink.failure = lambda _: None
            await line.time.advance(FIRST_WAIT_S)
            assert line.sink.delivered == [1]
            assert line.counts == {"sink_failed": 1}

    asyncio.run(run())


async def a_day(line: Line) -> None:
    for number in range(DAY_S // EVERY_S):
        line.forwarder.accept(prediction(number))
        await line.time.advance(EVERY_S)


def test_a_day_offline_comes_in_order_on_return(tmp_path: Path) -> None:
    async def run() -> None:
        async with Line(tmp_path, flush_s=FLUSH_S) as line:
            line.sink.failure = away
            await a_day(line)
            assert line.sink.delivered == []
            size_bytes = sum(path.stat().st_size for path in tmp_path.iterdir())
            assert 8000 * LINE_BYTES < size_bytes <= 16 * KIB * KIB
            line.sink.failure = lambda _: None
            await line.time.advance(2 * LONGEST_WAIT_S)
            await until(lambda: line.store.is_empty)
            assert line.sink.delivered == list(range(8640))
        assert [name for name in files(tmp_path) if name.endswith(".jsonl")] == []
        assert set(line.counts) == {"undelivered"}

    asyncio.run(run())


@pytest.mark.parametrize("restarted", [False, True], ids=["in one life", "after a restart"])
def test_of_a_day_that_does_not_fit_the_newest_come(tmp_path: Path, restarted: bool) -> None:
    bound_bytes = 512 * KIB

    async def run() -> tuple[Line, Line]:
        async with Line(tmp_path, most_bytes=bound_bytes, flush_s=FLUSH_S) as first:
            first.sink.failure = away
            await a_day(first)
            assert first.store.disk_bytes <= bound_bytes
            assert sum(path.stat().st_size for path in tmp_path.glob("*.jsonl")) <= bound_bytes
            if not restarted:
                return first, await come_back(first)
        second = Line(tmp_path, first.time, most_bytes=bound_bytes, flush_s=FLUSH_S)
        async with second:
            return first, await come_back(second)

    first, last = asyncio.run(run())
    arrived = last.sink.delivered
    assert arrived == list(range(arrived[0], 8640))
    # An eighth of the bound may go at once, and no more.
    assert bound_bytes * 7 / 8 - LINE_BYTES < len(arrived) * LINE_BYTES <= bound_bytes
    assert first.counts["store_full"] == arrived[0]


def test_with_drop_newest_exactly_the_first_that_fit_come(tmp_path: Path) -> None:
    bound_bytes = 256 * KIB
    sizes = [len(line_of(prediction(number).document)) for number in range(8640)]
    promised = next(number for number in range(8640) if sum(sizes[: number + 1]) > bound_bytes)

    async def run() -> None:
        async with Line(tmp_path, most_bytes=bound_bytes, full="drop_newest", flush_s=FLUSH_S) as line:
            line.sink.failure = away
            await a_day(line)
            await come_back(line)
            assert line.sink.delivered[:promised] == list(range(promised))
            # Nothing later fits, unless it is shorter than the first one that did not.
            assert line.sink.delivered == list(range(promised))
            assert line.counts["store_full"] == 8640 - promised

    asyncio.run(run())


async def come_back(line: Line) -> Line:
    line.sink.failure = lambda _: None
    await line.time.advance(2 * LONGEST_WAIT_S)
    await until(lambda: line.store.is_empty)
    return line


def test_what_was_not_delivered_at_the_end_comes_first_after_a_restart(tmp_path: Path) -> None:
    async def run() -> None:
        time = VirtualTime()
        async with Line(tmp_path, time) as first:
            first.sink.failure = away
            for number in range(50):
                first.forwarder.accept(prediction(number))
        async with Line(tmp_path, time) as second:
            second.forwarder.accept(prediction(50))
            await time.advance(1.0)
            assert second.sink.delivered == list(range(51))

    asyncio.run(run())


def test_with_no_store_what_is_left_at_the_end_is_counted(tmp_path: Path) -> None:
    async def run() -> None:
        async with Line(tmp_path, most_bytes=0) as line:
            line.sink.failure = away
            for number in range(20):
                line.forwarder.accept(prediction(number))
            await line.time.advance(3600.0)
        assert files(tmp_path) == []
        assert line.counts["store_full"] == 20

    asyncio.run(run())


class Stubborn(FakeSink):
    """A sink that does not end when it is cancelled."""

    def __init__(self) -> None:
        super().__init__()
        self.released = asyncio.Event()

    async def deliver(self, predictions: Sequence[Prediction]) -> None:
        self.tries += 1
        while not self.released.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await self.released.wait()
        await super().deliver(predictions)


def test_at_the_end_memory_is_stored_before_the_sink_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forward, "CLOSE_S", 0.2)
    sink = Stubborn()

    async def run() -> None:
        line = Line(tmp_path, sink=sink)
        async with line:
            for number in range(30):
                line.forwarder.accept(prediction(number))
            await until(lambda: sink.tries == 1)
        assert sum(path.read_bytes().count(b"\n") for path in tmp_path.glob("*.jsonl")) == 30
        assert line.counts == {}
        sink.released.set()
        async with Line(tmp_path, line.time) as later:
            await until(lambda: later.store.is_empty)
            assert later.sink.delivered == list(range(30))

    asyncio.run(run())


def test_a_stop_does_not_wait_for_a_disk_that_hangs_and_counts_what_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on, begun = threading.Event(), threading.Event()
    write = SegmentFolder.write

    def hang(folder: SegmentFolder, first: int, lines: Sequence[bytes]) -> list[Segment]:
        begun.set()
        assert goes_on.wait(20)
        return write(folder, first, lines)

    monkeypatch.setattr(SegmentFolder, "write", hang)
    monkeypatch.setattr(forward, "CLOSE_S", 0.2)

    async def run(written_before: bool) -> None:
        begun.clear()
        goes_on.clear()
        async with Line(tmp_path / str(written_before)) as line:
            line.sink.failure = away
            for number in range(30):
                line.forwarder.accept(prediction(number))
            if written_before:
                await line.time.advance(60.0)
                await until(begun.is_set)
        assert line.counts["store_lost"] == 30
        goes_on.set()

    for written_before in (False, True):
        asyncio.run(run(written_before))


def test_what_a_sink_that_gathers_was_not_given_yet_comes_at_the_end_without_a_store_too(tmp_path: Path) -> None:
    async def run() -> None:
        async with Line(tmp_path, gather_s=30.0, most_bytes=0) as line:
            for number in range(25):
                line.forwarder.accept(prediction(number))
            await line.time.advance(29.0)
            assert line.sink.delivered == []
        assert line.sink.delivered == list(range(25))
        assert line.counts == {}

    asyncio.run(run())
