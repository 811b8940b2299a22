"""Sensors' readings from the broker: a query a window, or a query a reading.

Decides: what a query says of its readings (`origin`), and that what cannot be read is counted and left. Leaves out: the
session (`gateway/mqtt.py`), what a reading is (`readings.py`), when a window is full (`windows.py`), and when a message
is read (`backlog.py`).
"""

from array import array
from functools import partial

from agent.gateway.base import Intake, Query, Surroundings
from agent.gateway.sources.backlog import Backlog
from agent.gateway.sources.inbox import Message
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
        backlog = Backlog(partial(self._read, intake, self._windows(intake)), intake, self._surroundings.clock)
        end = self._surroundings.link.subscribe(self._settings.topic, self._settings.qos, backlog.hear)
        try:
            await backlog.run()
        finally:
            end()

    def _windows(self, intake: Intake) -> Windows:
        # Without a window each reading is one of its own: order and the bound on topics hold for both.
        window = self._settings.window
        shape = Shape(1) if window is None else Shape(window.length, window.hop, window.gap_s)
        shape = Shape(shape.length, shape.hop, shape.gap_s, self._settings.most_topics)
        return Windows(shape, ordered=self._settings.time_field is not None, notes=intake)

    def _read(self, intake: Intake, windows: Windows, message: Message) -> Query | None:
        """Return the query that a message completes. Times are those of its arrival: it may have waited since."""
        try:
            reading = read_reading(message.payload, self._rules, message.at_s)
            window = windows.add(message.topic, reading, message.at_s)
        except BadReading as exc:
            intake.refuse(exc.reason, f"{message.topic[:200]}: {exc.detail}")
            return None
        return self._query(message.topic, window, reading) if window is not None else None

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
