"""Readings of many topics -> windows (channels, length). Pure.

Decides: when a window is full, what it shares with the one before (hop), what begins it anew (a gap, another number of
channels twice in a row, a last time that lay in the future), which topic makes room for another, and that time goes
forward. Bounded in topics and bytes.
Leaves out: what a reading is (`readings.py`), clocks, what is asked about a window.

    windows = Windows(Shape(length=128, hop=64, gap_s=5.0), ordered=True, notes=lane)
    window = windows.add("farm/barn-1/climate", Reading((21.5, 0.6), at_s))      # null until one is full
"""

import math
from array import array
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Protocol

from agent.gateway.sources.readings import BadReading, Reading

LARGEST_WINDOW_BYTES = 16 * 1024 * 1024
MOST_BYTES = 32 * 1024 * 1024
"""What all topics of a source keep together."""
IN_ORDER_BEHIND = 3
"""So many readings in order show that the last one's time, which lies in the future, was wrong, and not theirs."""

MOST_REMEMBERED = 20
"""Times by which a redelivery is known: a broker has few messages under way at a time."""

_VALUE_BYTES = 8


class Notes(Protocol):
    """Who counts what was lost: a lane."""

    def refuse(self, reason: str, detail: str = "") -> None: ...


@dataclass(frozen=True)
class Shape:
    """Which readings make a window."""

    length: int
    hop: int | None = None
    """Readings between the starts of two windows; null: `length`."""
    gap_s: float | None = None
    """A longer silence begins the window anew [s]; null: gaps are not looked for."""
    most_topics: int = 64


@dataclass(frozen=True)
class Window:
    """A full window. `values`: float64 in C order, of `shape` (channels, length)."""

    values: bytes
    shape: tuple[int, int]
    first_at_s: float
    last_at_s: float


@dataclass
class _Topic:
    channels: int
    values: "array[float]" = field(default_factory=lambda: array("d"))
    """Readings one after the other, each with all its channels."""
    times_s: "array[float]" = field(default_factory=lambda: array("d"))
    skip: int = 0
    """Readings that lie between two windows, still to come."""
    last_s: float | None = None
    taken_s: "array[float]" = field(default_factory=lambda: array("d"))
    """Times of the readings taken last, where they are the sensor's own."""
    behind: int = 0
    """Readings in order that were refused since the last one was taken, and whose time was new."""
    behind_s: float = -math.inf
    odd_channels: int | None = None
    """Number of channels of the reading that was refused last; null: it fitted."""

    def begin_anew(self, channels: int) -> None:
        self.channels, self.skip, self.odd_channels = channels, 0, None
        del self.values[:], self.times_s[:]

    @property
    def n_bytes(self) -> int:
        return (len(self.values) + len(self.times_s)) * _VALUE_BYTES

    def is_behind(self, at_s: float) -> bool:
        return (self.last_s is not None and at_s <= self.last_s) or at_s in self.taken_s

    def shows_last_wrong(self, at_s: float, now_s: float) -> bool:
        """Return whether this reading, which is behind, and those before it show that the last time was wrong."""
        if self.last_s is None or self.last_s <= now_s or at_s in self.taken_s:
            return False
        self.behind = self.behind + 1 if at_s > self.behind_s else 1
        self.behind_s = at_s
        return self.behind >= IN_ORDER_BEHIND

    def note_taken(self, at_s: float, *, ordered: bool) -> None:
        self.last_s, self.behind, self.behind_s = at_s, 0, -math.inf
        if ordered:
            self.taken_s.append(at_s)
            del self.taken_s[:-MOST_REMEMBERED]


class Windows:
    """The windows of one source."""

    def __init__(self, shape: Shape, *, ordered: bool, notes: Notes, most_bytes: int = MOST_BYTES) -> None:
        """Begin without any topic.

        Args:
            shape: Which readings make a window.
            ordered: Refuse readings that are not younger than the topic's last: their times are the sensor's own.
            notes: Counts gaps, times that were wrong, and topics that made room.
            most_bytes: What all topics may keep together [bytes].
        """
        self._shape = shape
        self._hop = shape.hop or shape.length
        self._ordered = ordered
        self._notes = notes
        self._most_bytes = most_bytes
        self._bytes = 0
        self._topics: OrderedDict[str, _Topic] = OrderedDict()

    def add(self, topic: str, reading: Reading, now_s: float = math.inf) -> Window | None:
        """Take a reading in; return the window that it completes.

        Args:
            topic: Whose reading it is.
            reading: The next one.
            now_s: When it came, by the device's clock [s since 1970]; infinite: no time lies in the future.
        Raises:
            BadReading: It is older than the topic's last, or has another number of channels.
        """
        state = self._of(topic, len(reading.values))
        before = state.n_bytes
        try:
            self._put_in_order(state, reading, now_s)
            self._fit(state, reading)
            return self._take(state, reading)
        finally:
            self._bytes += state.n_bytes - before
            self._make_room(topic)

    def _of(self, topic: str, channels: int) -> _Topic:
        if channels * self._shape.length * _VALUE_BYTES > LARGEST_WINDOW_BYTES:
            most = f"at most {LARGEST_WINDOW_BYTES} bytes are kept for one"
            raise BadReading("reading_wrong_length", f"a window of {channels} x {self._shape.length} values: {most}")
        if topic not in self._topics:
            self._topics[topic] = _Topic(channels)
        self._topics.move_to_end(topic)
        return self._topics[topic]

    def _put_in_order(self, state: _Topic, reading: Reading, now_s: float) -> None:
        """Refuse what comes late or twice. One time in the future must not refuse all readings until then."""
        if not self._ordered or not state.is_behind(reading.at_s):
            return
        late_s = (state.last_s or reading.at_s) - reading.at_s
        if not state.shows_last_wrong(reading.at_s, now_s):
            raise BadReading("reading_out_of_order", f"{late_s:.3f} s before the topic's last reading, or one again")
        self._notes.refuse("reading_time_reset", f"{IN_ORDER_BEHIND} readings came {late_s:.3f} s behind the last time")
        state.begin_anew(state.channels)
        state.last_s = None

    def _fit(self, state: _Topic, reading: Reading) -> None:
        """Bring the topic to where `reading` can be its next one."""
        channels = len(reading.values)
        if channels != state.channels and channels != state.odd_channels:
            state.odd_channels = channels
            raise BadReading("reading_wrong_length", f"{channels} values, {state.channels} before")
        if channels != state.channels:
            state.begin_anew(channels)
        state.odd_channels = None
        gap_s = reading.at_s - state.last_s if state.last_s is not None else 0.0
        if self._shape.gap_s is not None and gap_s > self._shape.gap_s:
            if state.values:
                self._notes.refuse("window_gap", f"{gap_s:.1f} s without a reading")
            state.begin_anew(channels)

    def _take(self, state: _Topic, reading: Reading) -> Window | None:
        state.note_taken(reading.at_s, ordered=self._ordered)
        if state.skip:
            state.skip -= 1
            return None
        state.values.extend(reading.values)
        state.times_s.append(reading.at_s)
        return self._cut(state) if len(state.times_s) == self._shape.length else None

    def _cut(self, state: _Topic) -> Window:
        """Return the full window, and keep what the next one shares with it."""
        by_channel = array("d")
        for channel in range(state.channels):
            by_channel.extend(state.values[channel :: state.channels])
        shape = (state.channels, self._shape.length)
        window = Window(by_channel.tobytes(), shape, state.times_s[0], state.times_s[-1])
        state.skip = max(0, self._hop - self._shape.length)
        del state.values[: self._hop * state.channels], state.times_s[: self._hop]
        return window

    def _make_room(self, newest: str) -> None:
        while len(self._topics) > self._shape.most_topics or (self._bytes > self._most_bytes and len(self._topics) > 1):
            topic, state = self._topics.popitem(last=False)
            self._bytes -= state.n_bytes
            if state.values:
                self._notes.refuse("window_evicted", f"{topic[:200]!r} made room for {newest[:200]!r}")
