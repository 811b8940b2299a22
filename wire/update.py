"""Desired and reported: what a workload on a device should be, and what it is."""

from typing import Literal, Self

from pydantic import Field, model_validator

from wire.artifact import ArtifactRef
from wire.base import Message, Name, ShortText
from wire.canonical import Digest
from wire.device_state import State

Action = Literal["run", "hold", "remove"]


class Window(Message):
    """When a device may install, in its own local minutes of the day; `from_minute` > `to_minute` spans midnight."""

    from_minute: int = Field(ge=0, lt=1440)
    to_minute: int = Field(ge=0, lt=1440)


class Limits(Message):
    """What a variant may cost on this device; the self-test and the probation hold it to them."""

    memory_bytes: int | None = Field(default=None, gt=0)
    p95_ms: float | None = Field(default=None, gt=0)
    selftest_s: float = Field(default=120.0, gt=0, le=3600)


class Desired(Message):
    """The document that moves a device; retained, signed. Older `gen` or `epoch` than seen: ignored."""

    fleet: Name
    device: Name
    workload: Name
    gen: int = Field(ge=1)
    epoch: int = Field(ge=1)
    action: Action
    rollout: Name | None = None
    wave: int | None = Field(default=None, ge=0)
    bundle: ArtifactRef | None = None
    previous: Digest | None = None
    format: str | None = Field(default=None, max_length=32)
    engine: str | None = Field(default=None, max_length=32)
    window: Window | None = None
    deadline_s: float | None = Field(default=None, gt=0)
    limits: Limits = Limits()
    probation_s: float = Field(default=30.0, ge=0, le=7 * 86400)
    retry_nonce: str = Field(default="", max_length=64)
    issued_s: float = Field(ge=0)
    expires_s: float = Field(gt=0)

    @model_validator(mode="after")
    def _run_names_a_bundle(self) -> Self:
        if self.action == "run" and (self.bundle is None or self.engine is None):
            raise ValueError("action run needs a bundle and an engine")
        return self


class Have(Message):
    """Progress of a download.

    `wire_bytes` are those of the chunks that are here. `received_bytes` came over the network for this artifact: index
    pieces, and what came twice, damaged or because others asked, included. `reused_bytes` need not come, since the
    device had the chunks. Both null in reports of agents that do not know them.
    """

    chunks: int = Field(ge=0)
    of_chunks: int = Field(ge=0)
    wire_bytes: int = Field(ge=0)
    received_bytes: int | None = Field(default=None, ge=0)
    reused_bytes: int | None = Field(default=None, ge=0)


ErrorClass = Literal["incompatible", "retryable", "terminal", "refused"]


class ReportedError(Message):
    """Why a state was reached. `code` is a documented reason code, `detail` is for people."""

    code: str = Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")
    error_class: ErrorClass
    detail: ShortText = ""


class Reported(Message):
    """What a workload is; retained. `active` is what lies on the disk to be run, whatever `state` claims.

    `serving` is the bundle whose worker is ready at `at_s`: null while none is (it starts, crashed, or nothing is to
    serve), and in reports of agents that do not know the field.

    Reports are deduplicated by (boot_id, seq). A workload that never had a desired document reports gen 0.
    """

    fleet: Name
    device: Name
    workload: Name
    gen: int = Field(ge=0)
    epoch: int = Field(default=0, ge=0)
    state: State
    attempt: int = Field(default=1, ge=1)
    desired: Digest | None = None
    active: Digest | None = None
    serving: Digest | None = None
    previous: Digest | None = None
    quarantined: tuple[Digest, ...] = Field(default=(), max_length=64)
    boot_id: str = Field(max_length=64)
    seq: int = Field(ge=0)
    at_s: float = Field(ge=0)
    error: ReportedError | None = None
    have: Have | None = None
