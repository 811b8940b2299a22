"""The controller's tables: what was asked of the fleet, what the fleet answered, and why anything was decided.

Decides: columns, keys, uniqueness. Leaves out: queries (`controller/store/*.py`) and migrations. Times are seconds
since the epoch, documents are JSON as they crossed the wire. One row of `desired` a device and workload: the row is
written before it is published, and `published_s` says whether it was.
"""

from typing import Annotated, Any, ClassVar

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, LargeBinary, MetaData, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

Document = dict[str, Any]
Generation = Annotated[int, mapped_column(BigInteger)]
"""A number that only rises: `gen`, `plan_gen`, `epoch`, `seq`."""


class Base(DeclarativeBase):
    """Base of all tables; constraints are named, so that migrations can change them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar = {Document: JSON(none_as_null=True)}


class Leader(Base):
    """The one process that decides. `epoch` rises with every change of leader and fences the former one."""

    __tablename__ = "leader"
    id: Mapped[int] = mapped_column(primary_key=True)
    epoch: Mapped[Generation]
    owner: Mapped[str]
    heartbeat_s: Mapped[float]


class Device(Base):
    """A device as it was last seen; `enrolled_s`, `public_key` and `claim` once it has claimed its name."""

    __tablename__ = "devices"
    fleet: Mapped[str] = mapped_column(primary_key=True)
    device: Mapped[str] = mapped_column(primary_key=True)
    online: Mapped[bool] = mapped_column(default=False)
    first_seen_s: Mapped[float]
    last_seen_s: Mapped[float]
    boot_id: Mapped[str] = mapped_column(default="")
    agent_version: Mapped[str] = mapped_column(default="")
    protocol: Mapped[int] = mapped_column(default=1)
    inventory: Mapped[Document | None]
    metrics: Mapped[Document | None]
    metrics_s: Mapped[float | None]
    enrolled_s: Mapped[float | None]
    public_key: Mapped[str | None]
    claim: Mapped[str | None]


class Claim(Base):
    """A claim token that was handed out.

    The secret itself is kept, not a hash: the device proves that it has it by an HMAC, and whoever reads this database
    has the signing key beside it.
    """

    __tablename__ = "claims"
    id: Mapped[str] = mapped_column(primary_key=True)
    fleet: Mapped[str]
    device: Mapped[str | None]
    secret: Mapped[str]
    uses: Mapped[int]
    uses_left: Mapped[int]
    created_s: Mapped[float]
    expires_s: Mapped[float]
    revoked_s: Mapped[float | None]


class Reported(Base):
    """What a workload last said of itself. `former_boots` are boots whose late reports no longer count."""

    __tablename__ = "reported"
    fleet: Mapped[str] = mapped_column(primary_key=True)
    device: Mapped[str] = mapped_column(primary_key=True)
    workload: Mapped[str] = mapped_column(primary_key=True)
    gen: Mapped[Generation]
    state: Mapped[str]
    active: Mapped[str | None]
    boot_id: Mapped[str]
    seq: Mapped[Generation]
    received_s: Mapped[float]
    document: Mapped[Document]
    former_boots: Mapped[Document | None]


class Desired(Base):
    """What a workload should be. `adopted`: found on the broker, newer than this database knew (a restored backup).

    An empty `envelope` marks a generation that only a device's report told of: there is no document to publish.
    """

    __tablename__ = "desired"
    fleet: Mapped[str] = mapped_column(primary_key=True)
    device: Mapped[str] = mapped_column(primary_key=True)
    workload: Mapped[str] = mapped_column(primary_key=True)
    gen: Mapped[Generation]
    epoch: Mapped[Generation]
    bundle: Mapped[str | None]
    rollout: Mapped[str | None]
    document: Mapped[Document]
    envelope: Mapped[str]
    written_s: Mapped[float]
    published_s: Mapped[float | None]
    adopted: Mapped[bool] = mapped_column(default=False)


class Plan(Base):
    """The trials asked of a device, as last published."""

    __tablename__ = "plans"
    fleet: Mapped[str] = mapped_column(primary_key=True)
    device: Mapped[str] = mapped_column(primary_key=True)
    plan_gen: Mapped[Generation]
    document: Mapped[Document]
    envelope: Mapped[str]
    written_s: Mapped[float]
    published_s: Mapped[float | None]


class Deployment(Base):
    """One `controller deploy`. `active_key` is fleet/workload while it runs, null afterwards: one at a time."""

    __tablename__ = "deployments"
    id: Mapped[str] = mapped_column(primary_key=True)
    fleet: Mapped[str]
    workload: Mapped[str]
    model: Mapped[str]
    model_version: Mapped[str]
    stage: Mapped[str]
    active_key: Mapped[str | None] = mapped_column(unique=True)
    owner: Mapped[str | None]
    lease_s: Mapped[float | None]
    settings: Mapped[Document]
    progress: Mapped[Document | None]
    error: Mapped[Document | None]
    result: Mapped[Document | None]
    created_s: Mapped[float]
    updated_s: Mapped[float]
    finished_s: Mapped[float | None]


class Variant(Base):
    """A variant made for a deployment, with what was seen of it before it went to a device."""

    __tablename__ = "variants"
    deployment: Mapped[str] = mapped_column(ForeignKey("deployments.id"), primary_key=True)
    variant: Mapped[str] = mapped_column(primary_key=True)
    bundle: Mapped[str | None]
    format: Mapped[str]
    engine: Mapped[str]
    control: Mapped[bool] = mapped_column(default=False)
    recipe: Mapped[Document]
    offline: Mapped[Document | None]
    screen: Mapped[Document | None]
    error: Mapped[str | None]


class Trial(Base):
    """One variant asked to be measured on one device; `record` is the zlib-compressed canonical JSON that came back."""

    __tablename__ = "trials"
    trial: Mapped[str] = mapped_column(primary_key=True)
    deployment: Mapped[str] = mapped_column(ForeignKey("deployments.id"), index=True)
    fleet: Mapped[str]
    device: Mapped[str] = mapped_column(index=True)
    device_class: Mapped[str]
    workload: Mapped[str]
    variant: Mapped[str]
    bundle: Mapped[str]
    control: Mapped[bool] = mapped_column(default=False)
    request: Mapped[Document]
    stage: Mapped[str]
    outcome: Mapped[str | None]
    record: Mapped[bytes | None] = mapped_column(LargeBinary)
    asked_s: Mapped[float]
    received_s: Mapped[float | None]


class TrialPart(Base):
    """A part of a record that is still arriving."""

    __tablename__ = "trial_parts"
    fleet: Mapped[str] = mapped_column(primary_key=True)
    device: Mapped[str] = mapped_column(primary_key=True)
    trial: Mapped[str] = mapped_column(primary_key=True)
    sha256: Mapped[str] = mapped_column(primary_key=True)
    part: Mapped[int] = mapped_column(primary_key=True)
    parts: Mapped[int]
    content: Mapped[bytes] = mapped_column(LargeBinary)
    received_s: Mapped[float]


class Choice(Base):
    """The variant chosen for a class, with the reasons for it and against each other."""

    __tablename__ = "choices"
    deployment: Mapped[str] = mapped_column(ForeignKey("deployments.id"), primary_key=True)
    device_class: Mapped[str] = mapped_column(primary_key=True)
    variant: Mapped[str | None]
    bundle: Mapped[str | None]
    document: Mapped[Document]


class Rollout(Base):
    """A rollout's state. `wish` is what an operator asked for and the engine has not yet carried out."""

    __tablename__ = "rollouts"
    id: Mapped[str] = mapped_column(primary_key=True)
    deployment: Mapped[str | None] = mapped_column(ForeignKey("deployments.id"))
    fleet: Mapped[str]
    workload: Mapped[str]
    policy: Mapped[Document]
    retry_nonce: Mapped[str] = mapped_column(default="")
    state: Mapped[str]
    wave: Mapped[int] = mapped_column(default=0)
    because: Mapped[str] = mapped_column(default="")
    wish: Mapped[str | None]
    wish_actor: Mapped[str | None]
    memory: Mapped[Document]
    created_s: Mapped[float]
    updated_s: Mapped[float]
    finished_s: Mapped[float | None]


class RolloutDevice(Base):
    """A device's part in a rollout.

    `previous_document` is the desired document that named the previous bundle: a rollback needs its chunk index.
    """

    __tablename__ = "rollout_devices"
    rollout: Mapped[str] = mapped_column(ForeignKey("rollouts.id"), primary_key=True)
    device: Mapped[str] = mapped_column(primary_key=True)
    device_class: Mapped[str]
    wave: Mapped[int]
    bundle: Mapped[str]
    previous: Mapped[str | None]
    previous_document: Mapped[Document | None]
    limits: Mapped[Document | None]
    offered_gen: Mapped[int | None] = mapped_column(BigInteger)
    restored_gen: Mapped[int | None] = mapped_column(BigInteger)
    outcome: Mapped[str | None]
    reason: Mapped[str | None]
    offered_s: Mapped[float | None]
    ended_s: Mapped[float | None]


class Wave(Base):
    """A wave of a rollout: when it was offered, when its gate ruled, and on which numbers."""

    __tablename__ = "waves"
    rollout: Mapped[str] = mapped_column(ForeignKey("rollouts.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    phase: Mapped[str]
    offered_s: Mapped[float | None]
    soak_from_s: Mapped[float | None]
    ended_s: Mapped[float | None]
    ruling: Mapped[Document | None]


class Event(Base):
    """What a device said happened; kept once by (device, boot, number)."""

    __tablename__ = "events"
    __table_args__ = (UniqueConstraint("fleet", "device", "boot_id", "seq"), Index(None, "fleet", "device", "at_s"))
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    fleet: Mapped[str]
    device: Mapped[str]
    boot_id: Mapped[str]
    seq: Mapped[Generation]
    kind: Mapped[str]
    at_s: Mapped[float]
    received_s: Mapped[float]
    document: Mapped[Document]


class MetricsInterval(Base):
    """Metrics of one device over one interval, as they came."""

    __tablename__ = "metrics"
    __table_args__ = (UniqueConstraint("fleet", "device", "boot_id", "seq"), Index(None, "fleet", "device", "at_s"))
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    fleet: Mapped[str]
    device: Mapped[str]
    boot_id: Mapped[str]
    seq: Mapped[Generation]
    at_s: Mapped[float]
    received_s: Mapped[float]
    document: Mapped[Document]


class RawRequest(Base):
    """Single queries that an operator asked of a device; `reason` says why it ended."""

    __tablename__ = "raw_requests"
    id: Mapped[str] = mapped_column(primary_key=True)
    fleet: Mapped[str]
    device: Mapped[str]
    workload: Mapped[str]
    seconds: Mapped[float]
    most_records: Mapped[int]
    asked_s: Mapped[float]
    published_s: Mapped[float | None]
    ended_s: Mapped[float | None]
    reason: Mapped[str | None]
    detail: Mapped[str] = mapped_column(default="")


class RawPart(Base):
    """A part of the answer, as it came."""

    __tablename__ = "raw_parts"
    request: Mapped[str] = mapped_column(ForeignKey("raw_requests.id"), primary_key=True)
    part: Mapped[int] = mapped_column(primary_key=True)
    document: Mapped[Document]


class Audit(Base):
    """Every decision and every operator's action, chained by hash: a row cannot be changed unseen."""

    __tablename__ = "audit"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    at_s: Mapped[float]
    actor: Mapped[str]
    action: Mapped[str]
    subject: Mapped[str]
    detail: Mapped[Document]
    previous_hash: Mapped[str]
    hash: Mapped[str]
