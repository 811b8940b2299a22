"""Single queries are recorded while asked for, within time and number, and never with their input."""

import pytest

from agent.gateway.base import Outcome
from agent.gateway.raw import LONGEST_S, MOST_EACH, MOST_RECORDS, RawRecorder

ANSWER = {"classes": (2, 0), "labels": ("cedar", "ash"), "values": (0.875, 0.125)}
ANSWERED = Outcome(answers=(ANSWER,), bundle="a" * 64, times_ns=(100_000, 2_000_000, 50_000), total_ns=5_250_000)


class Hands:
    """A clock that is moved by hand."""

    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Hands:
    return Hands()


@pytest.fixture
def recorder(clock: Hands) -> RawRecorder:
    return RawRecorder(clock=clock, monotonic=clock)


def test_nothing_is_recorded_unasked(recorder: RawRecorder) -> None:
    recorder.note(ANSWERED, 1.0)
    recorder.refused("bad_reading")
    assert recorder.take() is None


def test_a_record_holds_times_answer_and_bundle(recorder: RawRecorder) -> None:
    recorder.begin(10.0, 5)
    recorder.note(ANSWERED, 3.1)
    assert recorder.take() == {
        "ended": None,
        "records": [
            {
                "at_ms": 1_000_000,
                "total_ms": 5.25,
                "wait_ms": 3.1,
                "bundle": "a" * 12,
                "pre_ms": 0.1,
                "infer_ms": 2.0,
                "post_ms": 0.05,
                "label": "cedar",
                "confidence": 0.875,
            }
        ],
    }
    assert recorder.take() is None


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (({"classes": (7,), "labels": (), "values": (0.5,)},), {"label": "7", "confidence": 0.5}),
        (({"classes": (), "labels": (), "values": (21.5, 3.0)},), {"value": 21.5}),
        (({"classes": (), "labels": (), "values": (None,)},), {}),
        ((ANSWER, ANSWER, ANSWER), {"label": "cedar", "confidence": 0.875, "answers": 3}),
        ((), {}),
    ],
)
def test_what_a_record_says_of_the_answer(
    recorder: RawRecorder, answers: tuple[dict[str, object], ...], expected: dict[str, object]
) -> None:
    recorder.begin(10.0, 5)
    recorder.note(Outcome(answers=answers), 0.0)
    told = recorder.take()
    assert told is not None
    times = {"at_ms", "total_ms", "wait_ms", "pre_ms", "infer_ms", "post_ms"}
    assert {name: value for name, value in told["records"][0].items() if name not in times} == expected


def test_a_query_without_an_answer_has_its_reason(recorder: RawRecorder) -> None:
    recorder.begin(10.0, 5)
    recorder.note(Outcome(reason="query_timeout"), 10_000.0)
    recorder.refused("bad_reading")
    told = recorder.take()
    assert told is not None
    assert [record["reason"] for record in told["records"]] == ["query_timeout", "bad_reading"]
    assert "pre_ms" not in told["records"][0]


def test_it_ends_with_the_time(recorder: RawRecorder, clock: Hands) -> None:
    recorder.begin(10.0, 5)
    recorder.note(ANSWERED, 0.0)
    clock.now_s += 10.0
    recorder.note(ANSWERED, 0.0)
    told = recorder.take()
    assert told is not None
    assert (len(told["records"]), told["ended"]) == (1, "over")
    recorder.note(ANSWERED, 0.0)
    assert recorder.take() is None


def test_it_ends_with_the_records(recorder: RawRecorder) -> None:
    recorder.begin(10.0, 3)
    for _ in range(10):
        recorder.note(ANSWERED, 0.0)
    told = recorder.take()
    assert told is not None
    assert (len(told["records"]), told["ended"]) == (3, "full")


def test_bounds_hold_whatever_is_asked(recorder: RawRecorder, clock: Hands) -> None:
    recorder.begin(1e9, 10**9)
    for _ in range(MOST_RECORDS + 10):
        recorder.note(ANSWERED, 0.0)
    sizes = []
    while (told := recorder.take()) is not None:
        sizes.append(len(told["records"]))
    assert (max(sizes), sum(sizes)) == (MOST_EACH, MOST_RECORDS)
    recorder.begin(1e9, 5)
    clock.now_s += LONGEST_S
    assert recorder.take() == {"records": [], "ended": "over"}


def test_a_new_request_takes_the_formers_place(recorder: RawRecorder) -> None:
    recorder.begin(10.0, 5)
    recorder.note(ANSWERED, 0.0)
    recorder.begin(10.0, 5)
    assert recorder.take() is None
