"""Energy over a span, and when there is none to tell."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.measure.energy import EnergyMeter, Span, energy, find_meter, idle_watts
from agent.measure.energy.sensors import Power
from tests.unit.agent.measure.recorded import device

WATTS = 5.0
SECOND = 1_000_000_000


def meter(watts: Callable[[], float | None] = lambda: WATTS, every_s: float = 0.01) -> EnergyMeter:
    return EnergyMeter(lambda: Power("test", watts, every_s), "test", least_s=10.0)


class Followed:
    """A sensor whose clock is the test's: `span` is read at given times."""

    source, every_s, least_s = "test", 60.0, 10.0

    def __init__(self, joules: dict[int, float]) -> None:
        self._joules = joules

    def joules(self, now_ns: int) -> float | None:
        return self._joules.get(now_ns)


def span_of(joules: dict[int, float], monkeypatch: pytest.MonkeyPatch) -> Span:
    """Return a span with these readings, time [ns] -> energy since its begin [J]."""
    clock = iter(joules)
    span = Span(Followed(joules))
    with monkeypatch.context() as patched:
        patched.setattr("agent.measure.energy.meter.time.monotonic_ns", lambda: next(clock))
        for _ in joules:
            span._read()
    return span


def test_a_constant_power_gives_its_energy() -> None:
    with meter().span() as span:
        time.sleep(0.1)
    assert span.joules == pytest.approx(WATTS * span.seconds)
    assert span.seconds >= 0.1


def test_the_sensor_is_read_on_a_thread_and_often() -> None:
    read_by: list[threading.Thread] = []
    often = threading.Event()

    def watts() -> float:
        read_by.append(threading.current_thread())
        if len(read_by) > 4:
            often.set()
        return WATTS

    with meter(watts).span():
        assert often.wait(30)
    assert threading.main_thread() in read_by  # at begin and end
    assert len(set(read_by)) == 2
    assert not any(thread.name == "energy" for thread in threading.enumerate())


def test_a_part_of_a_span(monkeypatch: pytest.MonkeyPatch) -> None:
    span = span_of({0: 0.0, 10 * SECOND: 20.0, 20 * SECOND: 60.0}, monkeypatch)
    assert (span.joules, span.seconds) == (60.0, 20.0)
    assert span.between(0, 20 * SECOND) == 60.0
    assert span.between(5 * SECOND, 15 * SECOND) == 30.0
    assert span.between(10 * SECOND, 10 * SECOND) == 0.0
    assert span.between(5 * SECOND, 21 * SECOND) is None
    assert span.between(-1, 5 * SECOND) is None
    assert span.between(15 * SECOND, 5 * SECOND) is None


def test_a_sensor_that_falls_out_tells_nothing() -> None:
    readings = iter([WATTS, WATTS])
    with meter(lambda: next(readings, None)).span() as span:
        time.sleep(0.05)
    assert span.joules is None
    assert span.between(0, 1) is None


def test_a_sensor_that_is_gone_tells_nothing() -> None:
    with EnergyMeter(lambda: None, "test", 10.0).span() as span:
        pass
    assert (span.joules, span.seconds, span.between(0, 1)) == (None, 0.0, None)


def test_an_error_inside_a_span_ends_its_thread() -> None:
    with pytest.raises(KeyError), meter().span():
        raise KeyError
    assert not any(thread.name == "energy" for thread in threading.enumerate())


def test_idle_power() -> None:
    assert idle_watts(meter(), 0.05) == pytest.approx(WATTS)
    assert idle_watts(meter(lambda: None), 0.01) is None


def test_energy_is_above_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    span = span_of({0: 0.0, 20 * SECOND: 100.0}, monkeypatch)
    found = energy(meter(), span, (5 * SECOND, 15 * SECOND), queries=100, idle_w=2.0)
    assert found is not None
    assert (found.source, found.seconds, found.queries) == ("test", 10.0, 100)
    assert (found.mean_w, found.idle_w, found.joules) == (5.0, 2.0, 30.0)
    assert found.joules_per_query == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("part", "queries", "idle_w"),
    [
        ((0, 9 * SECOND), 10, 2.0),  # too short
        ((0, 21 * SECOND), 10, 2.0),  # not inside the span
        ((0, 15 * SECOND), 0, 2.0),
        ((0, 15 * SECOND), 10, None),
    ],
)
def test_no_honest_number_is_none(
    monkeypatch: pytest.MonkeyPatch, part: tuple[int, int], queries: int, idle_w: float | None
) -> None:
    span = span_of({0: 0.0, 20 * SECOND: 100.0}, monkeypatch)
    assert energy(meter(), span, part, queries, idle_w) is None


def test_a_device_with_a_counter_has_a_meter(tmp_path: Path) -> None:
    root = device("laptop_x86", tmp_path)
    found = find_meter(root)
    assert found is not None
    assert (found.source, found.least_s) == ("rapl:package+dram", 10.0)
    with found.span() as span:
        (root / "sys/class/powercap/intel-rapl:0:2/energy_uj").write_text("7500000\n")
    assert span.joules == pytest.approx(2.5)


def test_a_device_without_a_sensor_has_no_meter(tmp_path: Path) -> None:
    assert find_meter(tmp_path) is None
