"""A request for single queries: believed once, for this device, in time; answered in parts; ended in any case."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from agent.device.raw import GRACE_S, VALID_S, RawTelling
from agent.loop import Loop
from wire.raw import MOST_PACKED, RawPart, RawRequest, unpack_records

NOW_S = 1_795_500_000.0
Heard = Callable[[Mapping[str, Any]], None]


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Stage:
    """A telling with a gateway that only notes what it is asked; time stands still until it is moved."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, float, int]] = []
        self.heard: Heard | None = None
        self.parts: list[RawPart] = []
        self.clock = Clock()
        self.loop = Loop(self.clock)
        self.telling = RawTelling(("farm", "barn-1"), self.loop, self, lambda name: name == "main", self.parts.append)

    def raw(self, workload: str, seconds: float, most: int, heard: Heard) -> None:
        self.asked.append((workload, seconds, most))
        self.heard = heard

    def ask(self, now_s: float = NOW_S, **changed: Any) -> None:
        fields = {
            "fleet": "farm",
            "device": "barn-1",
            "workload": "main",
            "request": "r1",
            "seconds": 30.0,
            "most_records": 2000,
            "issued_s": NOW_S,
            "expires_s": NOW_S + 60,
        }
        self.telling.arrived(RawRequest.model_validate({**fields, **changed}), now_s)

    def say(self, records: list[dict[str, Any]], ended: str | None = None, workload: str = "main") -> None:
        assert self.heard is not None
        self.heard({"workload": workload, "records": records, "ended": ended})

    def turn(self, seconds: float) -> None:
        self.clock.now_s += seconds
        self.loop.post(self.loop.stop)
        self.loop.run()  # a timer that is due comes first, then the stop

    @property
    def reasons(self) -> list[str | None]:
        return [part.reason for part in self.parts if part.last]

    @property
    def records(self) -> list[dict[str, Any]]:
        return [record for part in self.parts for record in unpack_records(part)]


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_records_come_in_parts_and_in_their_order(stage: Stage) -> None:
    stage.ask()
    assert stage.asked == [("main", 30.0, 2000)]
    records = [{"at_ms": number} for number in range(MOST_PACKED + 7)]
    stage.say(records)
    stage.say([{"at_ms": -1}], ended="full")
    assert stage.records == [*records, {"at_ms": -1}]
    assert [(part.part, part.records, part.last) for part in stage.parts] == [
        (0, MOST_PACKED, False),
        (1, 7, False),
        (2, 1, False),
        (3, 0, True),
    ]
    assert stage.reasons == ["full"]
    stage.say([{"at_ms": 5}])
    assert len(stage.parts) == 4


def test_no_more_records_are_sent_than_were_asked_for(stage: Stage) -> None:
    stage.ask(most_records=10)
    stage.say([{"at_ms": number} for number in range(8)])
    stage.say([{"at_ms": number} for number in range(8)])
    assert len(stage.records) == 10


def test_lines_of_another_workload_and_nonsense_are_left_out(stage: Stage) -> None:
    stage.ask()
    stage.say([{"at_ms": 1}], workload="other")
    stage.say(["nonsense", {"at_ms": 2}])  # type: ignore[list-item]
    assert stage.records == [{"at_ms": 2}]


@pytest.mark.parametrize(
    ("changed", "now_s", "reason"),
    [
        ({}, NOW_S + 61, "expired"),
        ({"expires_s": NOW_S + VALID_S + 1}, NOW_S, "valid_too_long"),
        ({"workload": "other"}, NOW_S, "not_served"),
    ],
)
def test_what_is_not_carried_out_is_answered_with_the_reason(
    stage: Stage, changed: dict[str, Any], now_s: float, reason: str
) -> None:
    stage.ask(now_s, **changed)
    assert (stage.asked, stage.reasons) == ([], [reason])
    assert stage.parts[0].detail
    stage.ask(request="r2")
    assert len(stage.asked) == 1


@pytest.mark.parametrize("changed", [{"device": "barn-2"}, {"fleet": "yard"}])
def test_a_request_for_another_device_is_nobodys_business(stage: Stage, changed: dict[str, Any]) -> None:
    stage.ask(**changed)
    assert (stage.asked, stage.parts) == ([], [])


def test_a_repeated_request_is_carried_out_once(stage: Stage) -> None:
    stage.ask()
    stage.say([], ended="over")
    stage.ask()
    assert (len(stage.asked), len(stage.parts)) == (1, 1)


def test_one_at_a_time(stage: Stage) -> None:
    stage.ask()
    stage.ask(request="r2")
    assert [(part.request, part.reason) for part in stage.parts] == [("r2", "busy")]
    stage.say([{"at_ms": 1}], ended="over")
    stage.ask(request="r3")
    assert len(stage.asked) == 2


def test_it_ends_by_itself_where_the_gateway_says_nothing(stage: Stage) -> None:
    stage.ask()
    stage.turn(30.0 + GRACE_S - 0.1)
    assert stage.reasons == []
    stage.turn(0.2)
    assert stage.reasons == ["over"]
    stage.say([{"at_ms": 1}])
    assert stage.records == []
    stage.ask(request="r2")
    assert len(stage.asked) == 2
