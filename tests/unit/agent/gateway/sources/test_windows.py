"""Windows against a naive reference, and the rules that begin one anew."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.gateway.sources.readings import BadReading, Reading
from agent.gateway.sources.windows import IN_ORDER_BEHIND, MOST_REMEMBERED, Shape, Window, Windows


class Notes:
    def __init__(self) -> None:
        self.counted: Counter[str] = Counter()

    def refuse(self, reason: str, detail: str = "") -> None:
        assert detail
        self.counted[reason] += 1


def windows(shape: Shape, *, ordered: bool = True, most_bytes: int = 1 << 20) -> tuple[Windows, Notes]:
    notes = Notes()
    return Windows(shape, ordered=ordered, notes=notes, most_bytes=most_bytes), notes


def fill(taker: Windows, readings: list[Reading], topic: str = "t") -> list[Window]:
    return [window for reading in readings if (window := taker.add(topic, reading)) is not None]


def steady(count: int, channels: int = 1, from_s: int = 0) -> list[Reading]:
    return [Reading(tuple(100.0 * c + n for c in range(channels)), float(n)) for n in range(from_s, from_s + count)]


def naive(readings: list[Reading], shape: Shape) -> list[tuple[list[list[float]], float, float]]:
    """Every stretch without a gap, cut every `hop` readings."""
    stretches: list[list[Reading]] = [readings[:1]]
    for before, reading in pairwise(readings):
        if shape.gap_s is not None and reading.at_s - before.at_s > shape.gap_s:
            stretches.append([])
        stretches[-1].append(reading)
    hop = shape.hop or shape.length
    found = []
    for stretch in stretches:
        for start in range(0, len(stretch) - shape.length + 1, hop):
            part = stretch[start : start + shape.length]
            channels = [list(channel) for channel in zip(*(reading.values for reading in part), strict=True)]
            found.append((channels, part[0].at_s, part[-1].at_s))
    return found


@given(
    steps=st.lists(st.floats(0.1, 3.0), min_size=1, max_size=60),
    channels=st.integers(1, 4),
    length=st.integers(1, 9),
    hop=st.none() | st.integers(1, 14),
    gap_s=st.none() | st.floats(0.5, 3.0),
)
def test_windows_are_those_of_the_naive_reference(
    steps: list[float], channels: int, length: int, hop: int | None, gap_s: float | None
) -> None:
    times = np.cumsum(steps).tolist()
    readings = [Reading(tuple(float(n * 10 + c) for c in range(channels)), at_s) for n, at_s in enumerate(times)]
    shape = Shape(length, hop, gap_s)
    taker, _ = windows(shape)
    found = fill(taker, readings)
    wanted = naive(readings, shape)
    assert len(found) == len(wanted)
    for window, (values, first_s, last_s) in zip(found, wanted, strict=True):
        assert window.shape == (channels, length)
        assert np.array_equal(np.frombuffer(window.values).reshape(window.shape), values)
        assert (window.first_at_s, window.last_at_s) == (first_s, last_s)


def test_topics_do_not_mix() -> None:
    taker, _ = windows(Shape(2))
    for reading in steady(2):
        assert (taker.add("a", reading) is None) == (taker.add("b", reading) is None)


def test_a_gap_that_costs_readings_is_counted() -> None:
    taker, notes = windows(Shape(3, gap_s=1.5))
    assert fill(taker, steady(2) + steady(3, from_s=9)) != []
    assert notes.counted == {"window_gap": 1}
    assert len(fill(taker, steady(3, from_s=99))) == 1
    assert notes.counted == {"window_gap": 1}, "nothing was lost between two whole windows"


@pytest.mark.parametrize("at_s", [4.0, 3.0, -1e9])
def test_time_goes_forward_where_the_sensor_tells_it(at_s: float) -> None:
    taker, _ = windows(Shape(3))
    fill(taker, steady(5))
    with pytest.raises(BadReading) as caught:
        taker.add("t", Reading((1.0,), at_s))
    assert caught.value.reason == "reading_out_of_order"
    assert len(fill(taker, steady(1, from_s=5))) == 1, "a refused reading leaves the window as it was"


def put_in_order(told: list[tuple[float, float]]) -> tuple[list[list[float]], int]:
    """Stretches of times that are taken, and how many are refused: every rule looks at the whole past."""
    stretches: list[list[float]] = [[]]
    behind: list[float] = []
    taken: list[float] = []
    refused = 0
    for at_s, now_s in told:
        last_s = stretches[-1][-1] if stretches[-1] else -np.inf
        if at_s > last_s and at_s not in taken[-MOST_REMEMBERED:]:
            stretches[-1].append(at_s)
        else:
            wrong = last_s > now_s and at_s not in taken[-MOST_REMEMBERED:]
            behind = ([*behind, at_s] if not behind or at_s > behind[-1] else [at_s]) if wrong else behind
            if len(behind) < IN_ORDER_BEHIND or not wrong:
                refused += 1
                continue
            stretches.append([at_s])
        taken.append(at_s)
        behind = []
    return stretches, refused


@given(
    steps=st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0, 0, 0, 0, -1, -7, 4, 30, 250])), max_size=60),
    length=st.integers(1, 4),
)
def test_times_that_lie_in_the_future_are_those_of_the_naive_reference(
    steps: list[tuple[int, int]], length: int
) -> None:
    clock = np.cumsum([step for step, _ in steps]).tolist()
    told = [(float(now_s + ahead_s), float(now_s)) for now_s, (_, ahead_s) in zip(clock, steps, strict=True)]
    taker, notes = windows(Shape(length))
    found, refused = [], Counter[str]()
    for at_s, now_s in told:
        try:
            window = taker.add("t", Reading((at_s,), at_s), now_s)
            found += [np.frombuffer(window.values).tolist()] if window is not None else []
        except BadReading as exc:
            refused[exc.reason] += 1
    stretches, wanted_refused = put_in_order(told)
    wanted = [part[n : n + length] for part in stretches for n in range(0, len(part) - length + 1, length)]
    assert (found, refused["reading_out_of_order"]) == (wanted, wanted_refused)
    assert refused.total() == wanted_refused
    assert notes.counted["reading_time_reset"] == len(stretches) - 1


def test_one_time_in_the_future_does_not_silence_its_topic() -> None:
    taker, notes = windows(Shape(2))
    refused = 0
    found = []
    for at_s in (0.0, 1.0, 251.0, 2.0, 3.0, 4.0, 5.0, 251.0, 6.0, 7.0):
        now_s = at_s if at_s < 100 else 2.0
        try:
            found.append(taker.add("t", Reading((at_s,), at_s), now_s))
        except BadReading:
            refused += 1
    assert [(window.first_at_s, window.last_at_s) for window in found if window] == [(0.0, 1.0), (4.0, 5.0), (6.0, 7.0)]
    assert (refused, notes.counted) == (3, {"reading_time_reset": 1}), "two before, and the wrong time once more"


def test_redeliveries_do_not_show_a_time_wrong() -> None:
    """A sensor whose clock is ahead: its last time lies in the future all the time."""
    taker, notes = windows(Shape(1))
    for n in range(MOST_REMEMBERED):
        taker.add("t", Reading((1.0,), 2.0 + n), float(n))
    for n in range(MOST_REMEMBERED):
        with pytest.raises(BadReading):
            taker.add("t", Reading((1.0,), 2.0 + n), float(MOST_REMEMBERED))
    assert notes.counted == {}


def test_a_clock_that_is_set_back_loses_nothing() -> None:
    taker, _ = windows(Shape(2, gap_s=5.0), ordered=False)
    assert len(fill(taker, [Reading((1.0,), 100.0), Reading((2.0,), 10.0)])) == 1


def test_a_reading_of_another_length_is_refused_and_two_begin_anew() -> None:
    taker, _ = windows(Shape(3))
    fill(taker, steady(2, channels=2))
    with pytest.raises(BadReading) as caught:
        taker.add("t", Reading((1.0,), 2.0))
    assert caught.value.reason == "reading_wrong_length"
    assert len(fill(taker, steady(1, channels=2, from_s=3))) == 1
    with pytest.raises(BadReading):
        taker.add("t", Reading((1.0, 2.0, 3.0), 4.0))
    changed = fill(taker, steady(3, channels=3, from_s=5))
    assert [window.shape for window in changed] == [(3, 3)]


def test_the_topic_that_was_silent_for_longest_makes_room() -> None:
    taker, notes = windows(Shape(2, most_topics=2))
    for topic in ("a", "b"):
        taker.add(topic, Reading((1.0,), 1.0))
    taker.add("a", Reading((1.0,), 2.0))
    taker.add("a", Reading((1.0,), 3.0))
    taker.add("c", Reading((1.0,), 3.0))
    assert notes.counted == {"window_evicted": 1}
    assert taker.add("a", Reading((1.0,), 4.0)) is not None
    assert taker.add("b", Reading((1.0,), 4.0)) is None, "b began anew"


def test_memory_is_bounded_over_all_topics() -> None:
    taker, notes = windows(Shape(100, most_topics=10_000), most_bytes=10_000)
    for number in range(1000):
        taker.add(f"t{number}", Reading((1.0,) * 10, 1.0))
    assert notes.counted["window_evicted"] == 1000 - 10_000 // (11 * 8)


def test_a_window_that_could_never_be_held_is_refused() -> None:
    taker, _ = windows(Shape(1_000_000))
    with pytest.raises(BadReading) as caught:
        taker.add("t", Reading((1.0,) * 3, 1.0))
    assert caught.value.reason == "reading_wrong_length"
