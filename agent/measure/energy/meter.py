"""Energy over a span of time: the sensor is read on a thread of the *control* process, never in the timed one.

Decides: what an answer is: ten seconds or more (a battery: sixty), without a gap, less the idle power measured before.
Leaves out: which sensors there are (`sensors.py`).
"""

import threading
import time
from bisect import bisect_left
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from agent.measure.conditions.read import ROOT
from agent.measure.energy.sensors import Sensor, find_sensor
from wire.trial import Energy

IDLE_S = 2.0

FindSensor = Callable[[], Sensor | None]


class EnergyMeter:
    """Knows that there is a sensor, and opens spans over which it is read."""

    def __init__(self, find: FindSensor, source: str, least_s: float) -> None:
        self._find = find
        self.source = source
        self.least_s = least_s

    def span(self) -> "Span":
        """Return a span, to be entered: `with meter.span() as span: …`."""
        return Span(self._find())


class Span:
    """Energy while it is entered. Read after its end."""

    def __init__(self, sensor: Sensor | None) -> None:
        self._sensor = sensor
        self._at_ns: list[int] = []
        self._joules: list[float] = []
        self._broken = sensor is None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="energy", daemon=True)

    def __enter__(self) -> "Span":
        self._read()
        if not self._broken:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._read()

    @property
    def seconds(self) -> float:
        """From the first reading to the last [s]."""
        return (self._at_ns[-1] - self._at_ns[0]) / 1e9 if self._at_ns else 0.0

    @property
    def joules(self) -> float | None:
        """All of the span's energy [J]; None where the sensor fell out."""
        return None if self._broken else self._joules[-1] - self._joules[0]

    def between(self, begin_ns: int, end_ns: int) -> float | None:
        """Return the energy of a part [J], linear between readings; None where it is not inside the span.

        Args:
            begin_ns: On the clock of `time.monotonic_ns`, which all processes share, and `perf_counter_ns` on Linux.
            end_ns: Likewise.
        """
        begin, end = self._until(begin_ns), self._until(end_ns)
        return None if begin is None or end is None or end_ns < begin_ns else end - begin

    def _until(self, at_ns: int) -> float | None:
        if self._broken or not self._at_ns[0] <= at_ns <= self._at_ns[-1]:
            return None
        place = bisect_left(self._at_ns, at_ns)
        if self._at_ns[place] == at_ns:
            return self._joules[place]
        old_ns, new_ns = self._at_ns[place - 1], self._at_ns[place]
        share = (at_ns - old_ns) / (new_ns - old_ns)
        return self._joules[place - 1] + share * (self._joules[place] - self._joules[place - 1])

    def _follow(self) -> None:
        while self._sensor is not None and not self._broken and not self._ended.wait(self._sensor.every_s):
            self._read()

    def _read(self) -> None:
        now_ns = time.monotonic_ns()
        joules = None if self._broken or self._sensor is None else self._sensor.joules(now_ns)
        if joules is None:
            self._broken = True
        else:
            self._at_ns.append(now_ns)
            self._joules.append(joules)


def find_meter(root: Path = ROOT) -> EnergyMeter | None:
    """Return a meter for this device's best sensor; None where it has none: then no energy is told."""
    sensor = find_sensor(root)
    if sensor is None:
        return None
    return EnergyMeter(lambda: find_sensor(root), sensor.source, sensor.least_s)


def idle_watts(meter: EnergyMeter, seconds: float = IDLE_S) -> float | None:
    """Wait for `seconds` and return the mean power meanwhile [W]; before a group is measured, when all is quiet."""
    with meter.span() as span:
        time.sleep(seconds)
    return span.joules / span.seconds if span.joules is not None and span.seconds > 0 else None


def energy(
    meter: EnergyMeter, span: Span, part_ns: tuple[int, int], queries: int, idle_w: float | None
) -> Energy | None:
    """Return the energy of the queries of a part of a span, above idle.

    None where there is no honest number: the part is shorter than the sensor can tell, the sensor fell out, or idle
    power is not known.

    Args:
        meter: Whose span it is.
        span: Ended.
        part_ns: Begin and end of the timed loop, as in `Span.between`.
        queries: Answered in the part.
        idle_w: Mean power at rest.
    """
    seconds = (part_ns[1] - part_ns[0]) / 1e9
    joules = span.between(*part_ns)
    if joules is None or idle_w is None or seconds < meter.least_s or queries < 1:
        return None
    above = joules - idle_w * seconds
    return Energy(
        source=meter.source,
        seconds=seconds,
        queries=queries,
        mean_w=joules / seconds,
        idle_w=idle_w,
        joules=above,
        joules_per_query=above / queries,
    )
