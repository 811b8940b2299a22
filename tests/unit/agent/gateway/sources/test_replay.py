"""Replayed queries: what they are, when they come, and what happens when a switch or a standstill comes between."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from agent.gateway.base import Outcome, Query, SourceLost
from agent.gateway.sources import make_source
from agent.serve.settings import NoSource, ReplaySource
from tests.unit.agent.gateway.sources.source_kit import ANSWERED, Intake, PlayedClock, array_of, play, surroundings


class Enough(Exception):
    """The test has seen what it wants."""


def stop_after(count: int, then: Callable[[Query], None] = lambda _: None) -> Intake:
    def answer(query: Query) -> Outcome:
        then(query)
        if len(intake.queries) >= count:
            raise Enough
        return ANSWERED

    intake = Intake(answer)
    return intake


def saved(path: Path, rows: int, first: float = 0.0) -> Path:
    np.save(path, first + np.arange(rows * 6, dtype=np.float32).reshape(rows, 2, 3))
    return path


def replayed(intake: Intake, settings: ReplaySource, folder: Path, golden: Callable[[], Path | None]) -> PlayedClock:
    time = PlayedClock()
    source = make_source(settings, surroundings(folder, clock=time.clock(), golden=golden))
    assert source.period_s == 1 / settings.rate_hz

    async def scene() -> None:
        with pytest.raises(Enough):
            await source.run(intake)

    play(scene)
    return time


def test_golden_inputs_come_row_by_row_and_again(tmp_path: Path) -> None:
    golden = saved(tmp_path / "inputs.npy", rows=3)
    intake = stop_after(7)
    replayed(intake, ReplaySource(rate_hz=4), tmp_path, lambda: golden)
    assert intake.origins("row") == [0, 1, 2, 0, 1, 2, 0]
    wanted = np.load(golden)
    assert all(np.array_equal(array_of(query), wanted[query.origin["row"]]) for query in intake.queries)
    assert {query.dtype for query in intake.queries} == {"float32"}
    assert intake.reasons == {}


def test_without_repeat_it_ends(tmp_path: Path) -> None:
    path, intake = saved(tmp_path / "q.npy", rows=3), Intake()
    source = make_source(ReplaySource(path=path, repeat=False), surroundings(tmp_path, clock=PlayedClock().clock()))
    play(lambda: source.run(intake))
    assert intake.origins("row") == [0, 1, 2]


def test_it_waits_for_the_first_bundle_and_follows_a_switch(tmp_path: Path) -> None:
    old, new = saved(tmp_path / "old.npy", 4), saved(tmp_path / "new.npy", 4, first=100.0)
    asked: list[None] = []

    def golden() -> Path | None:
        asked.append(None)
        return None if len(asked) <= 3 else old if len(asked) <= 5 else new

    intake = stop_after(4)
    replayed(intake, ReplaySource(), tmp_path, golden)
    assert list(zip(intake.origins("file"), intake.origins("row"), strict=True)) == [
        ("old.npy", 0),
        ("old.npy", 1),
        ("new.npy", 0),
        ("new.npy", 1),
    ]


def test_the_pace_does_not_drift(tmp_path: Path) -> None:
    """Whatever an offer takes, the n-th query comes n periods after the first."""
    path = saved(tmp_path / "q.npy", rows=2)
    times: list[float] = []
    time = PlayedClock(0.0)

    def offered(_: Query) -> None:
        times.append(time.at_s)
        time.stall(0.03)

    intake = stop_after(1000, offered)
    source = make_source(ReplaySource(path=path, rate_hz=10), surroundings(tmp_path, clock=time.clock()))

    async def scene() -> None:
        with pytest.raises(Enough):
            await source.run(intake)

    play(scene)
    assert times == pytest.approx([n / 10 for n in range(1000)], abs=1e-6)


def test_after_a_standstill_ticks_are_skipped_and_counted(tmp_path: Path) -> None:
    path = saved(tmp_path / "q.npy", rows=2)
    times: list[float] = []
    time = PlayedClock(0.0)

    def stall(_: Query) -> None:
        times.append(time.at_s)
        if len(times) == 3:
            time.stall(1.05)

    intake = stop_after(6, stall)
    source = make_source(ReplaySource(path=path, rate_hz=10), surroundings(tmp_path, clock=time.clock()))

    async def scene() -> None:
        with pytest.raises(Enough):
            await source.run(intake)

    play(scene)
    assert times == pytest.approx([0.0, 0.1, 0.2, 1.25, 1.3, 1.4])
    assert intake.reasons == {"tick_skipped": 9}


@pytest.mark.parametrize("content", [None, b"nothing like it"])
def test_a_file_that_cannot_be_replayed_is_lost(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "q.npy"
    if content is not None:
        path.write_bytes(content)
    source = make_source(ReplaySource(path=path), surroundings(tmp_path, clock=PlayedClock().clock()))

    async def scene() -> None:
        with pytest.raises(SourceLost, match=r"q\.npy"):
            await source.run(Intake())

    play(scene)


def test_a_file_that_shrinks_is_lost_and_tried_again_from_the_start(tmp_path: Path) -> None:
    path = saved(tmp_path / "q.npy", rows=100)
    source = make_source(ReplaySource(path=path), surroundings(tmp_path, clock=PlayedClock().clock()))

    def answer(query: Query) -> Outcome:
        if query.origin["row"] == 5:
            path.write_bytes(b"x")
        return ANSWERED

    intake = Intake(answer)

    async def scene() -> None:
        with pytest.raises(SourceLost, match="shorter"):
            await source.run(intake)
        saved(path, rows=100)
        again = stop_after(2)
        with pytest.raises(Enough):
            await source.run(again)
        assert again.origins("row") == [0, 1]

    play(scene)
    assert len(intake.queries) == 6


def test_no_source_asks_nothing(tmp_path: Path) -> None:
    intake = Intake()
    source = make_source(NoSource(), surroundings(tmp_path))
    play(lambda: asyncio.wait_for(source.run(intake), 5))
    assert (source.period_s, intake.queries) == (None, [])
