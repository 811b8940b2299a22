"""Messages wait for room in the lane: in their order, bounded, and never those that make no query."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from agent.gateway.base import Clock, Outcome, Query
from agent.gateway.lane import Lane
from agent.gateway.sources.backlog import MOST_IN_LANE, Backlog
from agent.gateway.sources.inbox import MOST_A_TURN, Inbox, Message
from agent.serve.settings import QueueSettings, WorkloadServe
from tests.unit.agent.gateway.fake_worker import DESCRIBED, FakeWorker, echo
from tests.unit.agent.gateway.sources.source_kit import Intake, PlayedClock, play, until


class Waiting(Intake):
    """Has room for as many queries as the test says, and answers none by itself."""

    def __init__(self, room: int) -> None:
        super().__init__(room=room)
        self.futures: list[asyncio.Future[Outcome]] = []

    def offer(self, query: Query) -> "asyncio.Future[Outcome]":
        assert self.room > 0
        self.room -= 1
        self.queries.append(query)
        self.futures.append(asyncio.get_running_loop().create_future())
        return self.futures[-1]

    @property
    def asked(self) -> list[int]:
        return [int(query.payload) for query in self.queries]


def even(message: Message) -> Query | None:
    """Every second message completes a query."""
    return Query(message.payload, "json") if int(message.payload) % 2 == 0 else None


def hear(backlog: Backlog, *numbers: int) -> None:
    for number in numbers:
        backlog.hear("t", str(number).encode())


def beside(backlog: Backlog, scene: Callable[[], Awaitable[None]]) -> None:
    async def both() -> None:
        running = asyncio.create_task(backlog.run())
        await scene()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    play(both)


def test_what_finds_no_room_waits_and_keeps_its_order() -> None:
    intake = Waiting(room=2)
    backlog = Backlog(even, intake, Clock())

    async def scene() -> None:
        hear(backlog, *range(20))
        assert intake.asked == [0, 2], "at once, while there is room"
        for room in (1, 3):
            intake.room = room
            await until(lambda: intake.room == 0)
        assert intake.asked == [0, 2, 4, 6, 8, 10]
        intake.room = 1000
        await until(lambda: len(intake.asked) == 10)
        hear(backlog, 20)
        await until(lambda: intake.asked == list(range(0, 21, 2)))

    beside(backlog, scene)
    assert intake.refusals == []


def test_what_completes_no_query_needs_no_room() -> None:
    intake, read = Waiting(room=0), []

    def note(message: Message) -> Query | None:
        read.append(int(message.payload))
        return even(message)

    backlog = Backlog(note, intake, Clock())
    hear(backlog, 1, 3, 5, 6, 7)
    assert read == [1, 3, 5, 6], "6 is held, and what comes after it waits"
    assert intake.queries == []


def test_the_oldest_go_first_when_too_many_wait() -> None:
    intake = Waiting(room=0)
    backlog = Backlog(even, intake, Clock(), Inbox(most=3))

    async def scene() -> None:
        hear(backlog, *range(0, 20, 2))
        intake.room = 10
        await until(lambda: intake.asked == [0, 14, 16, 18])

    beside(backlog, scene)
    assert intake.reasons == {"burst_dropped": 6}


def test_a_source_leaves_places_to_applications() -> None:
    intake = Waiting(room=1000)
    backlog = Backlog(even, intake, Clock())

    async def scene() -> None:
        hear(backlog, *range(0, 4 * MOST_IN_LANE, 2))
        assert len(intake.queries) == MOST_IN_LANE
        for future in intake.futures[:5]:
            future.set_result(Outcome())
        await until(lambda: len(intake.queries) == MOST_IN_LANE + 5)

    beside(backlog, scene)


def test_a_long_backlog_gives_others_their_turn() -> None:
    intake = Waiting(room=0)
    backlog = Backlog(lambda message: None if message.topic == "t" else even(message), intake, Clock())

    async def scene() -> None:
        backlog.hear("held", b"0")
        hear(backlog, *range(10 * MOST_A_TURN))
        intake.room = 1
        turns = 0
        while backlog._inbox:
            turns += 1
            await asyncio.sleep(0)
        assert turns >= 10

    beside(backlog, scene)


def test_times_are_those_of_the_arrival() -> None:
    intake, clock, times = Waiting(room=0), PlayedClock(at_s=100.0), []

    def note(message: Message) -> Query | None:
        times.append(message.at_s)
        return even(message)

    backlog = Backlog(note, intake, clock.clock())

    async def scene() -> None:
        for number in (0, 2, 4):
            hear(backlog, number)
            clock.stall(1.0)
        intake.room = 3
        await until(lambda: len(times) == 3)

    beside(backlog, scene)
    assert times == [100.0, 101.0, 102.0]


@pytest.mark.parametrize("size", [1, 16])
def test_where_only_the_newest_counts_nothing_waits(size: int) -> None:
    async def scene() -> None:
        settings = WorkloadServe(queue=QueueSettings(policy="newest", size=size))
        lane, worker = Lane("main", settings), FakeWorker(echo)
        worker.hold()
        await lane.attach("one", "a" * 64, worker.end, DESCRIBED)
        backlog = Backlog(lambda message: Query(message.payload, "json"), lane, Clock())
        running = asyncio.create_task(backlog.run())
        hear(backlog, *range(60))
        await until(lambda: worker.seen == ["0"])
        worker.release()
        await until(lambda: len(worker.seen) == 2)
        counted = lane.counts.take()
        running.cancel()
        lane.idle()
        assert worker.seen == ["0", "59"]
        assert counted is not None
        assert counted["lost_by_reason"] == {"dropped_for_newer": 58}

    play(scene)
