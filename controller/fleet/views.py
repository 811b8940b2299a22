"""What the controller shows of a fleet: plain values, detached from the database.

Decides: what a caller sees of a device, a trial and a rollout. Leaves out: classes (`controller/config` matches them).
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy.orm import Session

from controller.store import desired, devices, tables, trials
from wire.base import decode
from wire.device_state import State
from wire.presence import Inventory
from wire.telemetry import Metrics
from wire.trial import TrialRecord
from wire.update import Desired, Reported

LARGEST_RECORD_BYTES = 64 * 1024 * 1024
"""A record unpacked: 10 processes of 100,000 samples in four series take 40 MB as text."""


@dataclass(frozen=True)
class WorkloadView:
    """One workload on one device: what it should be and what it is."""

    workload: str
    reported: Reported | None = None
    desired: Desired | None = None
    gen: int = 0
    published: bool = False

    @property
    def active(self) -> str | None:
        """Digest of the bundle that the device attests to run."""
        return self.reported.active if self.reported else None

    @property
    def state(self) -> State:
        return self.reported.state if self.reported else State.IDLE


@dataclass(frozen=True)
class DeviceView:
    """A device as it was last seen. Times are seconds since the epoch, by the controller's clock."""

    fleet: str
    device: str
    online: bool
    first_seen_s: float
    last_seen_s: float
    boot_id: str = ""
    agent_version: str = ""
    protocol: int = 1
    enrolled_s: float | None = None
    inventory: Inventory | None = None
    metrics: Metrics | None = None
    metrics_s: float | None = None
    workloads: Mapping[str, WorkloadView] = field(default_factory=dict)

    @property
    def emulated(self) -> bool:
        """Whether this device's limits are imposed by configuration: every output that shows it says so."""
        return self.inventory is not None and self.inventory.emulated

    @property
    def simulated(self) -> bool:
        """Whether there is no device at all: what it tells was drawn from a model, and no report may forget it."""
        return self.inventory is not None and self.inventory.simulated

    def workload(self, name: str) -> WorkloadView:
        """Return one workload, empty where the device never had it."""
        return self.workloads.get(name, WorkloadView(name))


@dataclass(frozen=True)
class TrialView:
    """A trial and, once `stage` is `received`, its record. Stages: asked, received, canceled."""

    trial: str
    deployment: str
    fleet: str
    device: str
    device_class: str
    workload: str
    variant: str
    bundle: str
    control: bool
    stage: str
    outcome: str | None
    asked_s: float
    received_s: float | None
    record: TrialRecord | None = field(repr=False, default=None)


def device_views(session: Session, fleet: str) -> list[DeviceView]:
    """Return the fleet's devices by name, with their workloads."""
    workloads: dict[str, dict[str, WorkloadView]] = {}
    said = {(row.device, row.workload): row for row in devices.reports(session, fleet)}
    asked = {(row.device, row.workload): row for row in desired.in_fleet(session, fleet)}
    for device, workload in sorted(said.keys() | asked.keys()):
        view = _workload(workload, said.get((device, workload)), asked.get((device, workload)))
        workloads.setdefault(device, {})[workload] = view
    return [_device(row, workloads.get(row.device, {})) for row in devices.in_fleet(session, fleet)]


def trial_views(session: Session, deployment: str, *, with_records: bool = True) -> list[TrialView]:
    """Return a deployment's trials; without records it is cheap enough for a progress display."""
    return [trial_view(row, with_records=with_records) for row in trials.of_deployment(session, deployment)]


def trial_view(row: tables.Trial, *, with_records: bool = True) -> TrialView:
    """Return one trial."""
    return TrialView(
        trial=row.trial,
        deployment=row.deployment,
        fleet=row.fleet,
        device=row.device,
        device_class=row.device_class,
        workload=row.workload,
        variant=row.variant,
        bundle=row.bundle,
        control=row.control,
        stage=row.stage,
        outcome=row.outcome,
        asked_s=row.asked_s,
        received_s=row.received_s,
        record=_record(row) if with_records else None,
    )


def _record(row: tables.Trial) -> TrialRecord | None:
    if row.record is None:
        return None
    return decode(TrialRecord, zlib.decompress(row.record), LARGEST_RECORD_BYTES)


def _workload(name: str, said: tables.Reported | None, asked: tables.Desired | None) -> WorkloadView:
    return WorkloadView(
        workload=name,
        reported=Reported.model_validate(said.document) if said else None,
        desired=Desired.model_validate(asked.document) if asked and asked.document else None,
        gen=asked.gen if asked else 0,
        published=asked is not None and asked.published_s is not None,
    )


def _device(row: tables.Device, workloads: Mapping[str, WorkloadView]) -> DeviceView:
    return DeviceView(
        fleet=row.fleet,
        device=row.device,
        online=row.online,
        first_seen_s=row.first_seen_s,
        last_seen_s=row.last_seen_s,
        boot_id=row.boot_id,
        agent_version=row.agent_version,
        protocol=row.protocol,
        enrolled_s=row.enrolled_s,
        inventory=Inventory.model_validate(row.inventory) if row.inventory else None,
        metrics=Metrics.model_validate(row.metrics) if row.metrics else None,
        metrics_s=row.metrics_s,
        workloads=workloads,
    )
