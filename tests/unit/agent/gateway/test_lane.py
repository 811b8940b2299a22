"""A lane with real channels and workers played by threads: nothing is lost but what the policy says."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from agent.gateway.base import Outcome, Query
from agent.gateway.lane import Lane
from agent.serve.channel import encode_header
from agent.serve.settings import QueueSettings, ReplaySource, WorkloadServe
from tests.unit.agent.gateway.fake_worker import DESCRIBED, FakeWorker, echo

QUEUED = WorkloadServe(queue=QueueSettings(policy="queue", size=100), timeout_s=20.0)
BUNDLE, NEXT = "a" * 64, "b" * 64


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(_awaited(test), 30))


async def _awaited(test: Callable[[], Awaitable[None]]) -> None:
    await test()


def query(text: str, **changes: Any) -> Query:
    return Query(text.encode(), "json", **changes)


async def attach(lane: Lane, worker: FakeWorker, run: str = "one", bundle: str = BUNDLE) -> None:
    await lane.attach(run, bundle, worker.end, DESCRIBED)


async def until(holds: Callable[[], bool]) -> None:
    while not holds():
        await asyncio.sleep(0.005)


def labels(outcomes: list[Outcome]) -> list[str]:
    return [outcome.answers[0]["labels"][0] for outcome in outcomes]


def test_queries_are_answered_in_their_order() -> None:
    async def test() -> None:
        lane, worker = Lane("main", QUEUED), FakeWorker()
        await attach(lane, worker)
        outcomes = await asyncio.gather(*(lane.offer(query(str(n))) for n in range(50)))
        assert labels(list(outcomes)) == [str(n) for n in range(50)]
        assert worker.seen == [str(n) for n in range(50)]
        assert {outcome.bundle for outcome in outcomes} == {BUNDLE}
        assert outcomes[0].times_ns == (1, 2, 3)
        counted = lane.counts.take()
        assert (counted["arrived"], counted["answered"]) == (50, 50)
        assert "lost" not in counted

    run(test)


def test_without_anything_deployed_nobody_waits() -> None:
    async def test() -> None:
        lane = Lane("main", QUEUED)
        outcome = await lane.offer(query("x"))
        assert outcome.reason == "no_worker"
        assert lane.counts.take()["lost_by_reason"] == {"no_worker": 1}

    run(test)


def test_queries_wait_for_a_worker_that_is_expected() -> None:
    async def test() -> None:
        lane = Lane("main", QUEUED)
        lane.expect()
        future = lane.offer(query("early", waits=True))
        await attach(lane, FakeWorker())
        assert labels([await future]) == ["early"]

    run(test)


def test_a_switch_loses_nothing_and_keeps_the_order() -> None:
    async def test() -> None:
        lane, old, new = Lane("main", QUEUED), FakeWorker(), FakeWorker()
        await attach(lane, old)
        old.hold()
        futures = [lane.offer(query(str(n))) for n in range(10)]
        await until(lambda: old.seen == ["0"])
        await attach(lane, new, "two", NEXT)
        lane.detach("one")
        assert not new.seen  # the old one's last answer comes first
        old.release()
        outcomes = await asyncio.gather(*futures)
        assert labels(outcomes) == [str(n) for n in range(10)]
        assert [outcome.bundle for outcome in outcomes] == [BUNDLE, *[NEXT] * 9]
        assert lane.counts.take()["held"] == 9
        await asyncio.to_thread(old.thread.join, 5)
        assert not old.thread.is_alive()  # its channel was closed: it has nothing to wait for
        assert lane.bundle == NEXT

    run(test)


def test_stop_then_start_holds_queries_until_the_next_worker() -> None:
    async def test() -> None:
        lane, old, new = Lane("main", QUEUED), FakeWorker(), FakeWorker()
        await attach(lane, old)
        lane.detach("one")
        futures = [lane.offer(query(str(n))) for n in range(5)]
        await asyncio.sleep(0.05)
        assert not any(future.done() for future in futures)
        await attach(lane, new, "two", NEXT)
        assert labels(list(await asyncio.gather(*futures))) == ["0", "1", "2", "3", "4"]
        assert not old.seen

    run(test)


def test_a_query_whose_worker_ended_is_asked_once_more_and_only_once() -> None:
    async def test() -> None:
        lane = Lane("main", QUEUED)
        await attach(lane, FakeWorker(lambda *_: None))
        first, second = lane.offer(query("first")), lane.offer(query("second"))
        await until(lambda: lane.bundle is None)
        await attach(lane, FakeWorker(lambda header, payload: None if payload == b"first" else echo(header, payload)))
        assert (await first).reason == "worker_ended"
        await until(lambda: lane.bundle is None)
        await attach(lane, FakeWorker())
        assert labels([await second]) == ["second"]

    run(test)


def test_a_full_queue_refuses_and_a_late_query_is_given_up() -> None:
    async def test() -> None:
        settings = WorkloadServe(queue=QueueSettings(policy="queue", size=2), timeout_s=0.2)
        lane, worker = Lane("main", settings), FakeWorker()
        await attach(lane, worker)
        worker.hold()
        futures = [lane.offer(query(str(n), waits=True)) for n in range(4)]
        assert (await futures[3]).reason == "queue_full"
        assert [(await future).reason for future in futures[:3]] == ["query_timeout"] * 3
        worker.release()
        assert labels([await lane.offer(query("after"))]) == ["after"]  # the late answer was dropped, not handed on
        lost = lane.counts.take()["lost_by_reason"]
        assert lost == {"queue_full": 1, "query_timeout": 3}

    run(test)


def test_the_newest_query_of_a_paced_source_wins_and_deadlines_are_counted() -> None:
    async def test() -> None:
        heard: list[str | None] = []
        settings = WorkloadServe(source=ReplaySource(), deadline_ms=10_000.0)
        lane, worker = Lane("main", settings, lambda _, outcome: heard.append(outcome.reason)), FakeWorker()
        await attach(lane, worker)
        worker.hold()
        futures = [lane.offer(query(str(n))) for n in range(4)]
        await until(lambda: worker.seen == ["0"])
        worker.release()
        outcomes = await asyncio.gather(*futures)
        assert [outcome.reason for outcome in outcomes] == [None, "dropped_for_newer", "dropped_for_newer", None]
        counted = lane.counts.take()
        assert (counted["deadlines"], counted["deadline_misses"]) == (4, 2)
        assert sorted(heard, key=str) == [None, None, "dropped_for_newer", "dropped_for_newer"]

    run(test)


def test_a_pause_holds_queries_back() -> None:
    async def test() -> None:
        lane, worker = Lane("main", QUEUED), FakeWorker()
        await attach(lane, worker)
        lane.pause()
        future = lane.offer(query("x"))
        await asyncio.sleep(0.05)
        assert not worker.seen
        lane.resume()
        assert labels([await future]) == ["x"]

    run(test)


def test_who_goes_away_frees_the_place() -> None:
    async def test() -> None:
        lane, worker = Lane("main", QUEUED), FakeWorker()
        await attach(lane, worker)
        worker.hold()
        asked, waiting, last = (lane.offer(query(name, waits=True)) for name in ("asked", "waiting", "last"))
        await until(lambda: worker.seen == ["asked"])
        waiting.cancel()
        asked.cancel()
        await asyncio.sleep(0)
        worker.release()
        assert labels([await last]) == ["last"]
        assert worker.seen == ["asked", "last"]

    run(test)


def test_idle_tells_everybody_who_waits() -> None:
    async def test() -> None:
        lane, worker = Lane("main", QUEUED), FakeWorker()
        await attach(lane, worker)
        lane.pause()
        future = lane.offer(query("x"))
        lane.idle()
        assert (await future).reason == "no_worker"
        await asyncio.to_thread(worker.thread.join, 5)
        assert not worker.thread.is_alive()

    run(test)


def test_the_old_worker_s_last_answer_is_taken_also_where_it_is_let_go_at_once() -> None:
    async def test() -> None:
        lane, old, new = Lane("main", QUEUED), FakeWorker(), FakeWorker()
        await attach(lane, old)
        old.hold()
        futures = [lane.offer(query(str(n))) for n in range(3)]
        await until(lambda: old.seen == ["0"])
        lane.detach("one")  # memory holds one worker: it ends before the next one is there
        await attach(lane, new, "two", NEXT)
        old.release()
        outcomes = await asyncio.gather(*futures)
        assert labels(outcomes) == ["0", "1", "2"]
        assert new.seen == ["1", "2"]  # nothing was asked twice

    run(test)


def test_queries_of_a_source_outlast_a_pause_and_applications_are_told() -> None:
    async def test() -> None:
        settings = WorkloadServe(queue=QueueSettings(policy="queue", size=10), timeout_s=0.05)
        lane, worker = Lane("main", settings), FakeWorker()
        await attach(lane, worker)
        lane.pause()
        assert not lane.describe().ready
        sensor, application = lane.offer(query("1")), lane.offer(query("2", waits=True))
        outcome = await application
        assert (outcome.reason, outcome.asked) == ("query_timeout", False)
        await asyncio.sleep(0.15)
        lane.resume()
        answered = await sensor
        assert (labels([answered]), answered.asked) == (["1"], True)

    run(test)


def test_what_fails_behind_an_outcome_does_not_hold_the_lane_up() -> None:
    def fails(_query: Query, _outcome: Outcome) -> None:
        raise TypeError("a sink's defect")

    async def test() -> None:
        lane, worker = Lane("main", QUEUED, fails), FakeWorker()
        await attach(lane, worker)
        for text in ("1", "2"):
            assert labels([await lane.offer(query(text))]) == [text]
        assert lane.counts.take()["lost_by_reason"] == {"sink_failed": 2}

    run(test)


def test_a_worker_that_says_nonsense_is_left_and_the_next_one_is_asked() -> None:
    class Nonsense(FakeWorker):
        def _serve(self) -> None:
            self._channel.receive()
            self._channel._send(encode_header({})[:2] + b"\x00" * 6 + b"no frame at all")

    async def test() -> None:
        lane = Lane("main", QUEUED)
        await attach(lane, Nonsense())
        future = lane.offer(query("1"))
        await until(lambda: lane.bundle is None)
        await attach(lane, FakeWorker(), "two")
        assert labels([await future]) == ["1"]

    run(test)


def test_room_is_what_may_still_wait() -> None:
    async def test() -> None:
        lane = Lane("main", WorkloadServe(queue=QueueSettings(policy="queue", size=3)))
        lane.expect()
        for left in (3, 2, 1, 0, 0):
            assert lane.room == left
            lane.offer(query("1"))

    run(test)
