"""Readings that come over a link: which queries they make, and what is counted instead."""

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from agent.gateway.sources import make_source
from agent.serve.settings import MqttSource
from tests.unit.agent.gateway.sources.source_kit import DirectLink, Intake, PlayedClock, array_of, play, surroundings


class Heard:
    """A source and what it is told."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.link, self.intake, self.time = DirectLink(), Intake(), PlayedClock()
        chosen = MqttSource.model_validate({"kind": "mqtt", "topic": "farm/+/climate", **settings})
        self.source = make_source(chosen, surroundings(folder, link=self.link, clock=self.time.clock()))

    def tell(self, *messages: tuple[str, Any], every_s: float = 1.0) -> None:
        async def scene() -> None:
            running = asyncio.create_task(self.source.run(self.intake))
            await asyncio.sleep(0)
            for topic, content in messages:
                payload = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.link.heard["farm/+/climate"](topic, payload)
                self.time.stall(every_s)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            assert self.link.heard == {}, "a source that ends hears nothing any more"

        play(scene)


def test_each_topic_fills_windows_of_its_own(tmp_path: Path) -> None:
    heard = Heard(tmp_path, window={"length": 3, "hop": 2})
    readings = [(f"farm/{barn}/climate", [n + offset, -n]) for n in range(5) for barn, offset in (("a", 0), ("b", 100))]
    heard.tell(*readings)
    assert heard.intake.origins("key") == ["climate"] * 4
    assert heard.intake.origins("topic") == [f"farm/{barn}/climate" for barn in "abab"]
    second_of_b = heard.intake.queries[3]
    assert np.array_equal(array_of(second_of_b), [[102, 103, 104], [-2, -3, -4]])
    begin = 1_700_000_000.0
    times = (second_of_b.origin["first_at_s"] - begin, second_of_b.origin["last_at_s"] - begin)
    assert times == (5.0, 9.0)
    assert second_of_b.origin["readings"] == 3
    assert second_of_b.dtype == "float64"


def test_without_a_window_each_reading_is_a_row(tmp_path: Path) -> None:
    heard = Heard(tmp_path, fields=["t", "rh"])
    heard.tell(*(("farm/a/climate", {"rh": 0.5, "t": n}) for n in range(3)))
    assert [array_of(query).tolist() for query in heard.intake.queries] == [[n, 0.5] for n in range(3)]
    assert {query.shape for query in heard.intake.queries} == {(2,)}


def test_what_cannot_be_read_is_counted_and_the_rest_goes_on(tmp_path: Path) -> None:
    begin = 1_700_000_000.0
    heard = Heard(tmp_path, fields=["t"], time_field="at", largest_bytes=1000, most_ahead_s=60)
    good = [("farm/a/climate", {"t": n, "at": begin + n}) for n in range(3)]
    bad = [
        ("farm/a/climate", b"\xff"),
        ("farm/a/climate", b"{" * 900),
        ("farm/a/climate", b"x" * 2000),
        ("farm/a/climate", {"t": "warm", "at": begin + 3}),
        ("farm/a/climate", {"t": 1, "at": begin + 2}),
        ("farm/a/climate", {"t": 1, "at": begin + 2}),
        ("farm/a/climate", {"t": 1, "at": begin + 1000}),
        ("farm/a/climate", {"t": [1, 2], "at": begin + 3.5}),
        ("farm/a/climate", {"at": begin + 3}),
    ]
    heard.tell(*good, *bad, ("farm/a/climate", {"t": 9, "at": begin + 9}))
    assert [array_of(query).tolist() for query in heard.intake.queries] == [[0.0], [1.0], [2.0], [9.0]]
    assert heard.intake.reasons == {
        "reading_malformed": 2,
        "reading_too_large": 1,
        "reading_wrong_type": 1,
        "reading_out_of_order": 2,
        "reading_from_future": 1,
        "reading_wrong_length": 1,
        "reading_field_missing": 1,
    }
    assert all("farm/a/climate" in detail for _, detail in heard.intake.refusals)


def test_gaps_begin_a_window_anew(tmp_path: Path) -> None:
    heard = Heard(tmp_path, window={"length": 3, "gap_s": 5.0})
    first = [("farm/a/climate", n) for n in range(2)]
    heard.tell(*first)
    heard.tell(*first, ("farm/a/climate", 2), every_s=10.0)
    assert (heard.intake.queries, heard.intake.reasons) == ([], {"window_gap": 2})


@pytest.mark.parametrize("topic", ["thresher/#", "thresher/1/farm/d/barn-1/ack", "thresher/+/x", "thresher"])
def test_the_fleets_own_topics_are_no_readings(topic: str) -> None:
    with pytest.raises(ValidationError, match="the fleet's own"):
        MqttSource(kind="mqtt", topic=topic)


def test_topics_that_only_look_like_the_fleets_are_fine() -> None:
    assert MqttSource(kind="mqtt", topic="threshers/+").topic == "threshers/+"
