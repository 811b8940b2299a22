"""What a decision sees of a rollout, read from the database; and how its standing is stored.

Decides: nothing; it translates rows into `RolloutView`. Leaves out: queries' metrics (`metrics`).
"""

from dataclasses import asdict

from sqlalchemy.orm import Session

from controller.rollout.metrics import class_metrics
from controller.rollout.policy import RolloutPolicy
from controller.rollout.view import TERMINAL_PHASES, DeviceView, Phase, RolloutView, Standing, Wish
from controller.store import rollouts, tables
from wire.device_state import State
from wire.update import Reported


def observe(session: Session, row: tables.Rollout, policy: RolloutPolicy) -> RolloutView:
    """Return all that a decision on `row` may depend on."""
    members = rollouts.devices(session, row.id)
    return RolloutView(
        standing=standing_of(row),
        devices=tuple(_device(session, row, member) for member in members),
        wish=Wish(row.wish) if row.wish else None,
        metrics=class_metrics(session, row, members, policy),
        superseded_by=_newer(session, row),
    )


def standing_of(row: tables.Rollout) -> Standing:
    """Return a rollout's stored standing."""
    stored = dict(row.memory)
    paused_from = stored.get("paused_from")
    stored["phase"] = Phase(stored["phase"])
    stored["paused_from"] = Phase(paused_from) if paused_from else None
    return Standing(**stored)


def stored(standing: Standing) -> tables.Document:
    """Return a standing as it is stored: `standing_of` reads it back."""
    return asdict(standing)


def _device(session: Session, row: tables.Rollout, member: tables.RolloutDevice) -> DeviceView:
    device = session.get(tables.Device, (row.fleet, member.device))
    said = session.get(tables.Reported, (row.fleet, member.device, row.workload))
    report = Reported.model_validate(said.document) if said else None
    return DeviceView(
        device=member.device,
        device_class=member.device_class,
        wave=member.wave,
        bundle=member.bundle,
        previous=member.previous,
        offered_gen=member.offered_gen,
        restored_gen=member.restored_gen,
        reported_gen=report.gen if report else 0,
        state=State(report.state) if report else None,
        active=report.active if report else None,
        error=report.error.code if report and report.error else "",
        online=device is not None and device.online,
        last_seen_s=device.last_seen_s if device else 0.0,
    )


def _newer(session: Session, row: tables.Rollout) -> str | None:
    newest = next(iter(rollouts.listed(session, row.fleet, row.workload, limit=1)), None)
    if newest is None or newest.id == row.id or newest.created_s <= row.created_s:
        return None
    # One that never reached a device took nothing over.
    reached = any(each.offered_gen is not None for each in rollouts.devices(session, newest.id))
    return newest.id if reached or Phase(newest.state) not in TERMINAL_PHASES else None
