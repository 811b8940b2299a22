"""The words between sources, lanes and sinks: a query, its outcome, a prediction, and who takes which.

Decides: the interfaces. Leaves out: everything behind them.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from agent.errors import AgentError

Encoding = Literal["raw", "npy", "json"]
"""`raw`: C-ordered bytes of `dtype` and `shape`. `npy`: a .npy file. `json`: nested lists of numbers."""


class SourceLost(AgentError):
    """A source cannot go on: its device or file is gone. The lane tries it again, ever rarer."""

    reason = "source_lost"


class Undelivered(AgentError):
    """A sink cannot take predictions now: they are kept and tried again."""

    reason = "undelivered"


class Undeliverable(AgentError):
    """A sink refuses these predictions for good: they are counted and dropped."""

    reason = "undeliverable"


@dataclass(frozen=True)
class Clock:
    """Time and waiting, so that a test can lay a day into a second."""

    now_s: Callable[[], float] = time.time
    """Seconds since 1970."""
    monotonic_s: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Any] = asyncio.sleep
    """Awaited."""


@dataclass(frozen=True)
class Query:
    """What is asked, not yet decoded: the worker does that, behind its sandbox.

    `batch`: the first axis counts queries, and each is answered. `origin` goes into the prediction as it is
    (JSON values): topic, file, times.
    """

    payload: bytes
    encoding: Encoding
    dtype: str = "float64"
    shape: tuple[int, ...] = ()
    batch: bool = False
    waits: bool = False
    """An application waits for the answer: queued whatever the source's policy says, and no sink gets it."""
    origin: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What became of a query. Answered: `reason` is null. `answers` hold `classes`, `labels`, `values`, one a query.

    Those of a detection have `boxes` too, those of a segmentation a `mask` (`rows`, `columns`, `pixels` in base64).
    """

    reason: str | None = None
    detail: str = ""
    answers: tuple[Mapping[str, Any], ...] = ()
    bundle: str | None = None
    """Digest of the bundle that answered."""
    times_ns: tuple[int, int, int] = (0, 0, 0)
    """Pre-processing, inference, post-processing."""
    total_ns: int = 0
    """From arrival to answer, waiting included."""
    asked: bool = False
    """Whether a worker had the query: what became of any other says nothing about it."""


class Intake(Protocol):
    """A lane as its sources and askers see it."""

    def offer(self, query: Query) -> "asyncio.Future[Outcome]":
        """Hand over a query and go on; the queue's policy says what is dropped. The future never raises."""

    @property
    def room(self) -> int:
        """How many more queries may wait now."""

    def refuse(self, reason: str, detail: str = "") -> None:
        """Count an input that did not become a query. `reason` is a documented reason code."""


class Source(Protocol):
    """Where a lane's queries come from."""

    period_s: float | None
    """Time from one query to the next of a paced source [s]; null: they come as they come."""

    async def run(self, intake: Intake) -> None:
        """Offer queries until cancelled, or until there are no more.

        Raises:
            SourceLost: It cannot go on; it is run again later.
        """


@dataclass(frozen=True)
class Prediction:
    """An answered query of a source, as sinks take it: `document` is JSON, `key` tells redeliveries apart."""

    document: Mapping[str, Any]
    """device, workload, bundle, id, at_s, origin, and classes, labels, values, boxes, mask of the answer."""

    @property
    def origin(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.document.get("origin") or {}
        return found


class Sink(Protocol):
    """Where predictions go. A forwarder with a store stands before it (`sinks/forward.py`)."""

    name: str
    """Unique within the workload, safe as a folder's name."""
    most_each: int
    """Predictions that `deliver` takes at once."""

    async def deliver(self, predictions: Sequence[Prediction]) -> None:
        """Deliver all of them, in their order, or raise; some may then come twice.

        Raises:
            Undelivered: Not now.
            Undeliverable: Never.
        """

    async def close(self) -> None:
        """Let go of files and connections."""


@dataclass(frozen=True)
class Surroundings:
    """What sources and sinks of one workload are given to be made."""

    device: str
    workload: str
    state_dir: Path
    """Folder of this workload's gateway state: `STATE/gateway/WORKLOAD`."""
    clock: Clock
    link: "DataLink"
    golden_inputs: Callable[[], Path | None]
    """The .npy file of the present bundle's golden inputs; null before there is a bundle."""
    count: Callable[[str], None]
    """Count a reason that belongs to no query: dropped predictions, a webhook that hangs."""


class DataLink(Protocol):
    """The gateway's session with the broker of sensors and predictions. One for all workloads."""

    def subscribe(self, topic: str, qos: int, heard: Callable[[str, bytes], None]) -> Callable[[], None]:
        """Have `heard(topic, payload)` called on the event loop; return what ends it. Holds over reconnections."""

    async def publish(self, topic: str, payload: bytes, qos: int, retain: bool) -> None:
        """Publish; at QoS 1 return once the broker has acknowledged.

        Raises:
            Undelivered: The broker is away, or did not acknowledge in time.
        """
