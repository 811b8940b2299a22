"""Sensors' readings from the broker: a query a window, or a query a reading.

Decides: what a query says of its readings (`origin`), and that what cannot be read is counted and left. Leaves out: the
session (`gateway/mqtt.py`), what a reading is (`readings.py`), when a window is full (`windows.py`).
"""

import asyncio
from array import array
from functools import partial

from agent.gateway.base import Intake, Query, Surroundings
from agent.gateway.sources.readings import BadReading, Reading, Rules, read_reading
from agent.gateway.sources.windows import Shape, Window, Windows
from agent.serve.settings import MqttSource


class Sensors:
    """A source of what is published to a topic."""

    period_s: float | None = None

    def __init__(self, settings: MqttSource, surroundings: Surroundings) -> None:
        self._settings = settings
        self._surroundings = surroundings
        self._rules = Rules(settings.fields, settings.time_field, settings.largest_bytes, settings.most_ahead_s)

    async def run(self, intake: Intake) -> None:
        """Offer queries until cancelled. The broker may be away for as long as it likes."""
        heard = partial(self._heard, intake, self._windows(intake))
        end = self._surroundings.link.subscribe(self._settings.topic, self._settings.qos, heard)
        try:
            await asyncio.Event().wait()
        finally:
            end()

    def _windows(self, intake: Intake) -> Windows:
        # Without a window each reading is one of its own: order and the bound on topics hold for both.
        window = self._settings.window
        shape = Shape(1) if window is None else Shape(window.length, window.hop, window.gap_s)
        shape = Shape(shape.length, shape.hop, shape.gap_s, self._settings.most_topics)
        return Windows(shape, ordered=self._settings.time_field is not None, notes=intake)

    def _heard(self, intake: Intake, windows: Windows, topic: str, payload: bytes) -> None:
        try:
            reading = read_reading(payload, self._rules, self._surroundings.clock.now_s())
            window = windows.add(topic, reading)
        except BadReading as exc:
            intake.refuse(exc.reason, f"{topic[:200]}: {exc.detail}")
            return
        if window is not None:
            intake.offer(self._query(topic, window, reading))

    def _query(self, topic: str, window: Window, reading: Reading) -> Query:
        single = self._settings.window is None
        origin = {
            "source": "mqtt",
            "topic": topic,
            "key": topic.rsplit("/", 1)[-1],
            "first_at_s": window.first_at_s,
            "last_at_s": window.last_at_s,
            "readings": window.shape[1],
        }
        payload = array("d", reading.values).tobytes() if single else window.values
        shape = (len(reading.values),) if single else window.shape
        return Query(payload, "raw", "float64", shape, origin=origin)
