"""What the update machine speaks: what it saves, the events it takes, the instructions it gives.

Leaves out: which follows from which (`machine.py`). Pure: pydantic and the wire.
"""

from dataclasses import dataclass, field
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from wire.artifact import ArtifactRef
from wire.canonical import Digest
from wire.device_state import BEFORE_SWITCH, State
from wire.presence import Traffic
from wire.update import Desired, Limits, ReportedError, Window

SAVED_SCHEMA = 1
STORY_LENGTH = 20
MOST_QUARANTINED = 64

_NEEDS_BUNDLE = BEFORE_SWITCH | {State.SWITCH, State.PROBATION}


class Saved(BaseModel):
    """Everything that one workload must not forget over a power cut.

    `desired` is the document being worked on or last ended, `next_desired` one that came after SWITCH and waits.
    `active` is what serves or should serve, `previous` what a rollback goes to.
    """

    model_config = ConfigDict(frozen=True)

    schema_version: int = Field(default=SAVED_SCHEMA, ge=1, le=SAVED_SCHEMA)
    workload: str
    state: State = State.IDLE
    gen: int = 0
    epoch: int = 0
    attempt: int = 1
    desired: Desired | None = None
    next_desired: Desired | None = None
    active: Digest | None = None
    previous: Digest | None = None
    selftest_tries: int = 0
    switch_tries: int = 0
    retries: int = 0
    quarantined: tuple[Digest, ...] = ()
    retry_nonce: str = ""
    error: ReportedError | None = None
    story: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _work_has_a_bundle(self) -> Self:
        if self.state in _NEEDS_BUNDLE and self.candidate is None:
            raise ValueError(f"the state {self.state.value} needs a document with a bundle")
        return self

    @property
    def candidate(self) -> Digest | None:
        """Digest of the bundle that the document in hand asks for."""
        return self.desired.bundle.digest if self.desired is not None and self.desired.bundle is not None else None

    @property
    def ticket(self) -> "Ticket":
        return Ticket(self.gen, self.attempt)


@dataclass(frozen=True)
class Ticket:
    """Which work an answer belongs to: what comes late from an aborted one is not listened to."""

    gen: int
    attempt: int


@dataclass(frozen=True)
class Facts:
    """What the device is and has when a document is judged. `now_s` is trusted time, never before the last signed."""

    fleet: str
    device: str
    engines: frozenset[str]
    disk_free_bytes: int
    now_s: float
    serving: bool = False
    complete: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True)
class DesiredArrived:
    """A desired document whose signature held."""

    desired: Desired
    facts: Facts


@dataclass(frozen=True)
class Restarted:
    """The process came up again and found this state on disk."""


@dataclass(frozen=True)
class Proceed:
    """Nothing stands in the way of the next state."""


@dataclass(frozen=True)
class Checked:
    ticket: Ticket
    facts: Facts


@dataclass(frozen=True)
class WindowOpen:
    ticket: Ticket


@dataclass(frozen=True)
class Fetched:
    ticket: Ticket


@dataclass(frozen=True)
class Verified:
    """All digests hold; `engine` is what the bundle's own manifest asks for."""

    ticket: Ticket
    engine: str
    engines: frozenset[str]


@dataclass(frozen=True)
class SelfTested:
    """`error` is null where the bundle passed; `incompatible` in it means that the engine cannot run such a bundle."""

    ticket: Ticket
    error: ReportedError | None = None


@dataclass(frozen=True)
class Switched:
    """The new bundle's worker is ready and the old one's has ended."""

    ticket: Ticket


@dataclass(frozen=True)
class ProbationOver:
    ticket: Ticket


@dataclass(frozen=True)
class WentBack:
    ticket: Ticket


@dataclass(frozen=True)
class WorkFailed:
    """What was asked for could not be done; the error's class says whether it is worth another try."""

    ticket: Ticket
    error: ReportedError


Answer = Checked | WindowOpen | Fetched | Verified | SelfTested | Switched | ProbationOver | WentBack | WorkFailed
Event = DesiredArrived | Restarted | Proceed | Answer


@dataclass(frozen=True)
class Report:
    """Publish what the workload is."""


@dataclass(frozen=True)
class Tell:
    """Publish that something happened: a state change with its cause, or a refusal."""

    kind: str
    gen: int
    old: State | None = None
    new: State | None = None
    reason: str | None = None
    detail: str = ""
    traffic: Traffic | None = None


@dataclass(frozen=True)
class Abort:
    """End the fetch, self-test and timers of the work in hand."""


@dataclass(frozen=True)
class Check:
    ticket: Ticket


@dataclass(frozen=True)
class AwaitWindow:
    ticket: Ticket
    window: Window | None


@dataclass(frozen=True)
class Fetch:
    ticket: Ticket
    ref: ArtifactRef
    after_s: float = 0.0


@dataclass(frozen=True)
class Verify:
    ticket: Ticket
    ref: ArtifactRef


@dataclass(frozen=True)
class Continue:
    """Send `Proceed` back: the state was saved and reported."""


@dataclass(frozen=True)
class SelfTest:
    ticket: Ticket
    bundle: Digest
    limits: Limits
    after_s: float = 0.0


@dataclass(frozen=True)
class Switch:
    """Start a worker of `to`, wait until it is ready, end the one of `old`."""

    ticket: Ticket
    to: Digest
    old: Digest | None


@dataclass(frozen=True)
class Watch:
    """Serve `bundle` and see whether it holds for `probation_s`."""

    ticket: Ticket
    bundle: Digest
    probation_s: float


@dataclass(frozen=True)
class GoBack:
    """End whatever serves and serve `to` again; null where nothing ran before."""

    ticket: Ticket
    to: Digest | None


@dataclass(frozen=True)
class Serve:
    """Serve this bundle, restarted when it crashes; null ends serving."""

    bundle: Digest | None


@dataclass(frozen=True)
class CollectGarbage:
    """Drop the artifacts that nothing names any more."""


Instruction = (
    Report
    | Tell
    | Abort
    | Check
    | AwaitWindow
    | Fetch
    | Verify
    | Continue
    | SelfTest
    | Switch
    | Watch
    | GoBack
    | Serve
    | CollectGarbage
)
