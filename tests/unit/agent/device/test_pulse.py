"""Metrics are told at a steady pace, and sooner after a change."""

from agent.device.pulse import SOON_S, MetricsPulse
from agent.loop import Loop


class Stage:
    def __init__(self, interval_s: float = 60.0) -> None:
        self.now_s = 0.0
        self.said: list[tuple[float, float, float]] = []
        self.loop = Loop(lambda: self.now_s)
        self.pulse = MetricsPulse(self.loop, interval_s, self._say, lambda: self.now_s)

    def _say(self, interval_s: float, next_s: float) -> None:
        self.said.append((self.now_s, interval_s, next_s))

    def until(self, now_s: float) -> None:
        while self.now_s < now_s:
            self.now_s += 1.0
            self.loop.post(self.loop.stop)
            self.loop.run()  # a timer that is due comes first, then the stop


def test_the_pace_is_steady() -> None:
    stage = Stage()
    stage.pulse.start()
    stage.until(185.0)
    assert stage.said == [(60.0, 60.0, 60.0), (120.0, 60.0, 60.0), (180.0, 60.0, 60.0)]


def test_a_change_is_told_at_once_and_followed_up() -> None:
    stage = Stage()
    stage.pulse.start()
    stage.until(70.0)
    stage.pulse.quicken()
    stage.until(150.0)
    at_s = 70.0
    assert stage.said == [
        (60.0, 60.0, 60.0),
        (at_s, 10.0, SOON_S),
        (at_s + SOON_S, SOON_S, 60.0),
        (at_s + SOON_S + 60.0, 60.0, 60.0),
    ]


def test_a_fast_pace_is_not_slowed_by_a_change() -> None:
    stage = Stage(interval_s=2.0)
    stage.pulse.start()
    stage.until(3.0)
    stage.pulse.quicken()
    stage.until(6.0)
    assert [(at_s, next_s) for at_s, _, next_s in stage.said] == [(2.0, 2.0), (3.0, 2.0), (5.0, 2.0)]


def test_while_the_device_measures_metrics_are_rare_and_say_so() -> None:
    stage = Stage()
    stage.pulse.start()
    stage.until(70.0)
    stage.pulse.hush(300.0)
    stage.until(400.0)
    stage.pulse.hush(None)
    stage.until(470.0)
    assert stage.said == [
        (60.0, 60.0, 60.0),
        (70.0, 10.0, 300.0),
        (370.0, 300.0, 300.0),
        (400.0, 30.0, 60.0),
        (460.0, 60.0, 60.0),
    ]


def test_a_hush_is_never_faster_than_usual() -> None:
    stage = Stage()
    stage.pulse.start()
    stage.pulse.hush(1.0)
    stage.until(61.0)
    assert stage.said == [(60.0, 60.0, 60.0)]
