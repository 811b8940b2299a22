"""What is served and where its queries come from: the `serve` part of the agent's configuration.

Decides: keys, defaults and limits of sources, sinks, queues, the store and the capture. Leaves out: doing any of it
(`agent/gateway`). Light: the control process reads it, the gateway is sent it.
"""

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from wire.base import Name

KIB, MIB = 1024, 1024 * 1024


class Strict(BaseModel):
    """Base of every section: an unknown key is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


TopicText = Annotated[str, StringConstraints(min_length=1, max_length=1024, pattern=r"^[^\x00$][^\x00]*$")]
FieldPath = Annotated[str, StringConstraints(min_length=1, max_length=200)]
_PLACEHOLDERS = {"device", "workload", "topic", "key"}
RESERVED_TOPICS = "thresher/"
"""Topics of the fleet itself start so: they are no readings."""


class BrokerConfig(Strict):
    """Where a broker is, and how long it keeps the session and holds the will back [s]."""

    host: str = Field(default="127.0.0.1", min_length=1)
    port: int = Field(default=1883, ge=1, le=65535)
    username: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    keepalive_s: int = Field(default=30, ge=5, le=3600)
    session_expiry_s: int = Field(default=86400, ge=0, le=4_294_967_294)
    will_delay_s: int = Field(default=5, ge=0, le=3600)


# --- sources -----------------------------------------------------------------------------------------------------


class ReplaySource(Strict):
    """Recorded queries again and again: the bundle's golden inputs, or those in a file."""

    kind: Literal["replay"] = "replay"
    rate_hz: float = Field(default=2.0, gt=0, le=10_000)
    """Queries a second."""
    path: Path | None = None
    """A .npy file with queries stacked along its first axis; null: the bundle's golden inputs."""
    repeat: bool = True
    """Begin again at the end."""


class NoSource(Strict):
    """The worker is loaded and gets no queries but those that applications on the device ask."""

    kind: Literal["none"] = "none"


class WindowSettings(Strict):
    """Readings -> one query (channels, length), every `hop` readings."""

    length: int = Field(ge=1, le=1_000_000)
    """Readings of a window."""
    hop: int | None = Field(default=None, ge=1)
    """Readings between the starts of two windows; null: `length`, so that windows do not overlap."""
    gap_s: float | None = Field(default=None, gt=0)
    """A longer silence between two readings begins the window anew [s]; null: gaps are not looked for."""


class MqttSource(Strict):
    """Readings that sensors publish; JSON: a number, a list of numbers, or an object."""

    kind: Literal["mqtt"]
    topic: TopicText
    """Topic; with `+` or `#` each topic that matches has a window of its own."""
    qos: Literal[0, 1] = 1
    """Quality of service of the subscription."""
    fields: tuple[FieldPath, ...] = Field(default=(), max_length=4096)
    """Members of an object that make a reading, in the order of the model's features; `a.b` looks inside."""
    time_field: FieldPath | None = None
    """Member that holds the reading's time: seconds since 1970, or ISO 8601; null: the time of arrival."""
    window: WindowSettings | None = None
    """Null: every reading is a query (features,)."""
    most_topics: int = Field(default=64, ge=1, le=10_000)
    """Topics that may have a window at the same time; the one that was silent for longest makes room."""
    largest_bytes: int = Field(default=64 * KIB, ge=1, le=16 * MIB)
    """A larger payload is refused unread [bytes]."""
    most_ahead_s: float = Field(default=5.0, ge=0)
    """A reading whose time lies further in the future is refused [s]."""

    @model_validator(mode="after")
    def _is_a_filter(self) -> Self:
        fault = filter_fault(self.topic)
        if fault is None and f"{self.topic}/".startswith(RESERVED_TOPICS):
            fault = f"what starts with {RESERVED_TOPICS!r} is the fleet's own; name the topics of the sensors"
        if fault is not None:
            raise ValueError(f"topic {self.topic!r}: {fault}")
        return self


class FolderSource(Strict):
    """Files that appear in a folder, one query each: .npy, .json (nested lists) or .csv (a row a channel)."""

    kind: Literal["folder"]
    path: Path
    """The folder."""
    pattern: str = Field(default="*", min_length=1)
    """Which names are taken, as the shell matches them."""
    poll_s: float = Field(default=1.0, ge=0.1, le=3600)
    """How often the folder is looked at [s]."""
    after: Literal["delete", "move"] = "move"
    """What becomes of an answered file: deleted, or moved to `done/` beside it; bad ones go to `rejected/`."""
    keep: int = Field(default=1000, ge=1)
    """Files that `done/` and `rejected/` hold at most; the oldest go first."""
    largest_bytes: int = Field(default=64 * MIB, ge=1, le=256 * MIB)
    """A larger file is rejected unread [bytes]."""


class CameraSource(Strict):
    """Frames of a camera (V4L2, through OpenCV), or of a recorded file where there is none."""

    kind: Literal["camera"]
    device: str = Field(default="/dev/video0", min_length=1)
    """A V4L2 device, or a video file."""
    rate_hz: float = Field(default=5.0, gt=0, le=240)
    """Frames a second that are asked about; the camera's others are dropped."""
    width: int = Field(ge=1, le=8192)
    """Frames are resized to so many columns [pixels]."""
    height: int = Field(ge=1, le=8192)
    """And so many rows [pixels]."""
    colour: Literal["rgb", "bgr", "grey"] = "rgb"
    """Order of the colours; `grey` has one channel."""
    layout: Literal["HWC", "CHW"] = "CHW"
    """Axes of a query."""
    dtype: Literal["uint8", "float32"] = "float32"
    """uint8 as the camera gives it, or float32 from 0 to 1."""
    repeat: bool = False
    """A file begins again at its end."""


Source = Annotated[
    ReplaySource | NoSource | MqttSource | FolderSource | CameraSource,
    Field(discriminator="kind"),
]


# --- sinks -------------------------------------------------------------------------------------------------------


class MqttSink(Strict):
    """Predictions to a topic; `{device}`, `{workload}`, `{topic}` (the reading's) and `{key}` (its end) are put in."""

    kind: Literal["mqtt"]
    """Which kind of sink: `mqtt`, `jsonl` or `webhook`."""
    topic: TopicText
    """Where predictions go."""
    qos: Literal[0, 1] = 1
    """1: a prediction leaves the store when the broker has acknowledged it."""
    retain: bool = False
    """Have the broker keep the last one for later subscribers."""

    @model_validator(mode="after")
    def _can_be_published_to(self) -> Self:
        if "+" in self.topic or "#" in self.topic:
            raise ValueError(f"topic {self.topic!r}: nothing can be published to a wildcard; use {{topic}} or {{key}}")
        if unknown := set(re.findall(r"{([^{}]*)}", self.topic)) - _PLACEHOLDERS:
            raise ValueError(f"topic {self.topic!r}: {{{min(unknown)}}} is not known; use {sorted(_PLACEHOLDERS)}")
        if f"{self.topic}/".startswith(RESERVED_TOPICS):
            raise ValueError(f"topic {self.topic!r}: what starts with {RESERVED_TOPICS!r} is the fleet's own")
        return self


class JsonlSink(Strict):
    """Predictions as lines of JSON in a file, rotated by size."""

    kind: Literal["jsonl"]
    """Which kind of sink: `mqtt`, `jsonl` or `webhook`."""
    path: Path
    """The file; its folder is made."""
    rotate_bytes: int = Field(default=4 * MIB, ge=KIB)
    """Size at which the file is set aside as `NAME.1` [bytes]."""
    keep: int = Field(default=4, ge=0, le=1000)
    """Rotated files that are kept."""
    flush_s: float = Field(default=30.0, ge=0, le=3600)
    """How long lines may wait in memory, so that a card is not written once a line [s]."""


class WebhookSink(Strict):
    """Predictions posted to a URL, in lists."""

    kind: Literal["webhook"]
    """Which kind of sink: `mqtt`, `jsonl` or `webhook`."""
    url: str = Field(pattern=r"^https?://")
    """Where lists of predictions are posted."""
    timeout_s: float = Field(default=5.0, gt=0, le=120)
    """How long a whole request may take [s]."""
    most_each: int = Field(default=100, ge=1, le=10_000)
    """Predictions a request carries at most."""
    authorization_file: Path | None = None
    """File whose text is sent as the header `Authorization`."""
    ca_file: Path | None = None
    """Certificate authority for TLS; null: those that the system trusts."""


Sink = Annotated[MqttSink | JsonlSink | WebhookSink, Field(discriminator="kind")]


# --- a workload --------------------------------------------------------------------------------------------------


class QueueSettings(Strict):
    """What happens to queries that come faster than they are answered."""

    policy: Literal["newest", "queue"] | None = None
    """`newest`: one waits, a newer one takes its place. `queue`: `size` wait, more are refused. Null: `newest` for
    replay and camera, `queue` for readings and files. Applications' queries are always queued."""
    size: int = Field(default=256, ge=1, le=10_000)
    """Queries that may wait."""


class StoreSettings(Strict):
    """Predictions that a sink cannot take now are kept, in their order, until it can."""

    most_bytes: int = Field(default=16 * MIB, ge=0)
    """Kept on the disk at most, per sink [bytes]; 0: nothing is stored."""
    full: Literal["drop_oldest", "drop_newest"] = "drop_oldest"
    """Which ones go when there is no more room."""
    flush_s: float = Field(default=60.0, ge=0, le=600)
    """How long predictions may wait in memory before they are on the disk: what a power cut can cost [s]."""


class CaptureSettings(Strict):
    """Queries kept as samples, sent to the controller, then deleted. Off unless this section stands here."""

    below_confidence: float | None = Field(default=None, gt=0, le=1)
    """Classification: keep queries answered with less confidence."""
    ratio: float = Field(default=0.0, ge=0, le=1)
    """Keep this share at random."""
    most_bytes: int = Field(default=8 * MIB, ge=KIB)
    """Kept on the device at most [bytes]."""
    most_each_day: int = Field(default=200, ge=1, le=100_000)
    """Samples kept a day at most."""

    @model_validator(mode="after")
    def _keeps_something(self) -> Self:
        if self.below_confidence is None and self.ratio == 0:
            raise ValueError("nothing would be captured: set below_confidence, or a ratio above 0")
        return self


class WorkloadServe(Strict):
    """How one workload is served."""

    source: Source = NoSource()
    sinks: tuple[Sink, ...] = Field(default=(), max_length=8)
    queue: QueueSettings = QueueSettings()
    timeout_s: float = Field(default=10.0, gt=0, le=3600)
    """A query that was not answered in time is given up [s]."""
    deadline_ms: float | None = Field(default=None, gt=0)
    """A paced source's answer that comes later is a missed deadline; null: the source's period."""
    store: StoreSettings = StoreSettings()
    capture: CaptureSettings | None = None


class HttpSettings(Strict):
    """HTTP for applications on the device: loopback only."""

    port: int = Field(ge=1, le=65535)
    """Port on 127.0.0.1 and ::1."""


class ServeConfig(Strict):
    """What the device serves and for whom."""

    source: Source = ReplaySource()
    """Of workloads that `workloads` does not name."""
    workloads: dict[Name, WorkloadServe] = Field(default_factory=dict, max_length=32)
    broker: BrokerConfig | None = None
    """Broker of sensors and predictions; null: the agent's own."""
    socket: Path | None = None
    """Unix socket on which applications ask over HTTP; null: none."""
    http: HttpSettings | None = None
    """The same on a loopback port; null: none."""
    most_connections: int = Field(default=64, ge=1, le=10_000)
    """Connections of applications at the same time."""
    largest_bytes: int = Field(default=16 * MIB, ge=KIB, le=256 * MIB)
    """Largest body of a request [bytes]."""

    def workload(self, name: str) -> WorkloadServe:
        """Return how `name` is served."""
        return self.workloads.get(name) or WorkloadServe(source=self.source)


def drops_older(settings: WorkloadServe) -> bool:
    """Return whether a newer query of the source takes the place of one that waits."""
    if settings.queue.policy is not None:
        return settings.queue.policy == "newest"
    return isinstance(settings.source, ReplaySource | CameraSource)


def asks(source: Source) -> bool:
    """Return whether queries can be counted on: sensors, folders and applications may be silent for hours."""
    return isinstance(source, ReplaySource | CameraSource)


def speaks_mqtt(serve: ServeConfig) -> bool:
    """Return whether any source or sink needs the broker of sensors: without one, no session is opened."""
    parts = [part for each in serve.workloads.values() for part in (each.source, *each.sinks)]
    return any(isinstance(part, MqttSource | MqttSink) for part in (serve.source, *parts))


def filter_fault(topic: str) -> str | None:
    """Return why `topic` is no topic filter; None where it is one. Source: MQTT 5.0, 4.7.1."""
    levels = topic.split("/")
    if any("#" in level and level != "#" for level in levels) or "#" in levels[:-1]:
        return "`#` must be the whole last level"
    if any("+" in level and level != "+" for level in levels):
        return "`+` must be a whole level"
    return None
