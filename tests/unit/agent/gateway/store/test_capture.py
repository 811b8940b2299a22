"""Capturing: which queries, bounds, and what lies on the disk."""

import asyncio
import base64
from pathlib import Path
from typing import Any

import pytest

from agent.gateway.base import Outcome, Query, Surroundings
from agent.gateway.store.capture import DAY_S, Capture
from agent.serve.settings import CaptureSettings
from tests.unit.agent.gateway.sinks.sink_kit import VirtualTime, until
from tests.unit.agent.gateway.sinks.sink_kit import surroundings as around
from wire.sample import Sample, pack, unpack

PAYLOAD = bytes(range(8))
QUERY = Query(PAYLOAD, "raw", "float32", (2,), origin={"topic": "farm/barn", "key": "barn"})


def answered(*values: float, classes: tuple[int, ...] = (1, 0)) -> Outcome:
    return Outcome(answers=({"classes": classes, "labels": (), "values": values},), bundle="ab" * 32)


class Stage:
    """A capture whose chance and clock a test sets."""

    def __init__(self, folder: Path, time: VirtualTime | None = None, **settings: Any) -> None:
        self.folder = folder / "capture"
        self.time = time or VirtualTime()
        self.chance = 0.99
        made = around(folder)
        place = Surroundings(
            made.device, made.workload, folder, self.time.clock, made.link, made.golden_inputs, made.count
        )
        self.capture = Capture(CaptureSettings(**settings), place, lambda: self.chance)

    async def heard(self, *outcomes: Outcome, query: Query = QUERY) -> None:
        for outcome in outcomes:
            self.capture.heard(query, outcome)
            await self.capture.close()

    def samples(self) -> list[Sample]:
        return [unpack(path.read_bytes()) for path in sorted(self.folder.glob("*.sample"))]


def hear(stage: Stage, *outcomes: Outcome, query: Query = QUERY) -> list[Sample]:
    asyncio.run(stage.heard(*outcomes, query=query))
    return stage.samples()


def test_doubtful_answers_are_kept_whole(tmp_path: Path) -> None:
    stage = Stage(tmp_path, below_confidence=0.6)
    (sample,) = hear(stage, answered(0.6, 0.4), answered(0.59, 0.41))
    assert (sample.device, sample.workload, sample.because) == ("barn-1", "climate", "confidence")
    assert sample.answer == {"classes": [1, 0], "labels": [], "values": [0.59, 0.41]}
    assert sample.origin == {"topic": "farm/barn", "key": "barn"}
    assert (sample.encoding, sample.dtype, sample.shape) == ("raw", "float32", (2,))
    assert base64.b64decode(sample.payload) == PAYLOAD
    assert (sample.bundle, sample.at_s) == ("ab" * 32, stage.time.clock.now_s())


@pytest.mark.parametrize("value", [None, float("nan")], ids=["as workers tell it", "NaN"])
def test_an_answer_that_is_no_number_is_doubtful(tmp_path: Path, value: float | None) -> None:
    outcome = Outcome(answers=({"classes": (1, 0), "labels": (), "values": (value, 0.1)},), bundle="ab" * 32)
    (sample,) = hear(Stage(tmp_path, below_confidence=0.6), outcome)
    assert (sample.answer["values"], sample.because) == ([None, 0.1], "confidence")


def test_a_share_is_kept_at_random_of_regressions_too(tmp_path: Path) -> None:
    stage = Stage(tmp_path, ratio=0.25, below_confidence=0.9)
    stage.chance = 0.25
    assert hear(stage, answered(0.1, classes=())) == [], "a regression has no confidence"
    stage.chance = 0.24
    assert [each.because for each in hear(stage, answered(0.1, classes=()))] == ["random"]


@pytest.mark.parametrize(
    ("query", "outcome"),
    [
        (QUERY, Outcome(reason="bad_query")),
        (Query(PAYLOAD, "raw", "float32", (2, 1), batch=True), answered(0.1)),
        (QUERY, Outcome(answers=({"values": (0.1,), "classes": (1,)},) * 2)),
        (Query(bytes(17 * 1024 * 1024), "npy"), answered(0.1)),
    ],
    ids=["not answered", "a list", "two answers", "too large"],
)
def test_what_is_not_one_answered_query_of_a_bearable_size_is_not_kept(
    tmp_path: Path, query: Query, outcome: Outcome
) -> None:
    assert hear(Stage(tmp_path, ratio=1.0), outcome, query=query) == []


def test_a_day_has_so_many_and_a_restart_does_not_begin_a_new_one(tmp_path: Path) -> None:
    stage = Stage(tmp_path, ratio=1.0, most_each_day=3)
    assert len(hear(stage, *[answered(0.9)] * 2)) == 2
    stage = Stage(tmp_path, stage.time, ratio=1.0, most_each_day=3)
    assert len(hear(stage, *[answered(0.9)] * 5)) == 3
    stage.time.elapsed_s += DAY_S
    assert len(hear(stage, answered(0.9))) == 4


def test_the_folder_is_bounded_and_takes_more_once_some_were_sent(tmp_path: Path) -> None:
    stage = Stage(tmp_path, ratio=1.0, most_bytes=1024, most_each_day=1000)
    kept = len(hear(stage, *[answered(0.9)] * 20))
    assert 1 < kept < 20
    assert sum(path.stat().st_size for path in stage.folder.glob("*.sample")) <= 1024
    min(stage.folder.glob("*.sample")).unlink()
    assert len(hear(stage, answered(0.9))) == kept


def test_a_full_folder_costs_no_packing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(tmp_path, ratio=1.0, most_bytes=1024)
    (stage.folder / "s-0.sample").write_bytes(bytes(1000))
    packed: list[Sample] = []

    def note(sample: Sample) -> bytes:
        packed.append(sample)
        return pack(sample)

    monkeypatch.setattr("agent.gateway.store.capture.pack", note)
    asyncio.run(stage.heard(answered(0.9), query=Query(bytes(64), "npy")))
    assert packed == []
    (stage.folder / "s-0.sample").unlink()
    asyncio.run(stage.heard(answered(0.9), query=Query(bytes(64), "npy")))
    assert len(packed) == len(stage.samples()) == 1


def test_capturing_never_holds_serving_back(tmp_path: Path) -> None:
    """One is written at a time; what comes meanwhile is not kept."""

    async def scene() -> None:
        stage = Stage(tmp_path, ratio=1.0)
        for _ in range(50):
            stage.capture.heard(QUERY, answered(0.9))
        await until(lambda: len(stage.samples()) == 1)
        await stage.capture.close()
        assert len(stage.samples()) == 1

    asyncio.run(scene())


def test_a_disk_that_takes_nothing_costs_the_sample_only(tmp_path: Path) -> None:
    stage = Stage(tmp_path, ratio=1.0)
    stage.folder.rmdir()
    stage.folder.write_text("no folder")
    assert hear(stage, answered(0.9)) == []


def test_half_a_sample_of_a_former_run_is_swept_away(tmp_path: Path) -> None:
    (tmp_path / "capture").mkdir()
    (tmp_path / "capture" / "s-1.tmp").write_bytes(b"half")
    Stage(tmp_path, ratio=1.0)
    assert list((tmp_path / "capture").iterdir()) == []


def test_a_map_is_not_kept_and_its_shares_are_no_confidence(tmp_path: Path) -> None:
    answer = {
        "classes": (1, 0),
        "labels": (),
        "values": (0.3, 0.1),
        "mask": {"rows": 1, "columns": 1, "pixels": "AA=="},
    }
    outcome = Outcome(answers=(answer,), bundle="ab" * 32)
    assert hear(Stage(tmp_path, below_confidence=0.6, ratio=0.0), outcome) == []
    (sample,) = hear(Stage(tmp_path / "all", ratio=1.0), outcome)
    assert (sample.because, "mask" in sample.answer) == ("random", False)
