"""Desired documents and plans: one row a device and workload, written before it is published.

Decides: the next generation, what is still to be published, and what is adopted because the fleet is ahead of this
database. Leaves out: signing and sending (`controller/publish.py`).
"""

from collections.abc import Collection, Sequence

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from controller.store import tables
from controller.store.devices import document
from wire.trial import Plan
from wire.update import Desired, Reported

LARGEST_GENERATION = 2**53
"""A report is not signed: a number beyond this, which this database has not reached itself, is not believed."""


def get(session: Session, fleet: str, device: str, workload: str) -> tables.Desired | None:
    """Return what a workload should be, as last written."""
    return session.get(tables.Desired, (fleet, device, workload))


def in_fleet(session: Session, fleet: str) -> Sequence[tables.Desired]:
    """Return all rows of a fleet."""
    return session.scalars(select(tables.Desired).where(tables.Desired.fleet == fleet)).all()


def next_gen(session: Session, fleet: str, device: str, workload: str) -> int:
    """Return the generation of the next document: one more than was ever written, retained or reported."""
    row = get(session, fleet, device, workload)
    said = session.get(tables.Reported, (fleet, device, workload))
    return max(row.gen if row else 0, said.gen if said else 0) + 1


def write(session: Session, desired: Desired, envelope: str, *, now_s: float) -> None:
    """Write a document that is to be published; `envelope` is its signed form."""
    row = get(session, desired.fleet, desired.device, desired.workload)
    if row is None:
        row = tables.Desired(fleet=desired.fleet, device=desired.device, workload=desired.workload)
        session.add(row)
    _fill(row, desired, envelope, now_s)
    row.published_s, row.adopted = None, False
    session.flush()


def adopt_document(session: Session, desired: Desired, envelope: str, *, now_s: float) -> bool:
    """Take over a retained document of ours that is newer than this database; return whether it was.

    The same generation for another bundle counts as newer: this database gave the number away a second time.
    """
    row = get(session, desired.fleet, desired.device, desired.workload)
    if desired.gen > LARGEST_GENERATION or (row is not None and not _is_newer(row, desired, _digest(desired))):
        return False
    if row is None:
        row = tables.Desired(fleet=desired.fleet, device=desired.device, workload=desired.workload)
        session.add(row)
    _fill(row, desired, envelope, now_s)
    row.published_s, row.adopted = now_s, True
    session.flush()
    return True


def adopt_report(session: Session, report: Reported, *, now_s: float) -> bool:
    """Take over a generation that only the device tells of; return whether it was newer than this database.

    There is no document to publish then: the row fences older ones, and names the bundle that the device was given.
    """
    row = get(session, report.fleet, report.device, report.workload)
    if report.gen == 0 or (row is not None and not _is_newer(row, report, report.desired)):
        return False
    if row is None:
        row = tables.Desired(fleet=report.fleet, device=report.device, workload=report.workload)
        session.add(row)
    row.gen, row.epoch, row.bundle = report.gen, report.epoch, report.desired or report.active
    row.rollout, row.document, row.envelope = None, {}, ""
    row.written_s, row.published_s, row.adopted = now_s, now_s, True
    session.flush()
    return True


def believable(session: Session, report: Reported) -> bool:
    """Return whether a report's generation and epoch are within what a fleet can have reached."""
    row = get(session, report.fleet, report.device, report.workload)
    gen, epoch = (row.gen, row.epoch) if row else (0, 0)
    return report.gen <= max(LARGEST_GENERATION, gen) and report.epoch <= max(LARGEST_GENERATION, epoch)


def unpublished(session: Session, fleets: Collection[str]) -> Sequence[tables.Desired]:
    """Return the rows of these fleets that no broker has acknowledged yet, oldest first."""
    table = tables.Desired
    waits = (table.published_s.is_(None), table.envelope != "", table.fleet.in_(fleets))
    return session.scalars(select(table).where(*waits).order_by(table.written_s)).all()


def unpublished_plans(session: Session, fleets: Collection[str]) -> Sequence[tables.Plan]:
    """Return the plans of these fleets that no broker has acknowledged yet, oldest first."""
    table = tables.Plan
    waits = (table.published_s.is_(None), table.fleet.in_(fleets))
    return session.scalars(select(table).where(*waits).order_by(table.written_s)).all()


def mark_published(session: Session, row: tables.Desired | tables.Plan, *, now_s: float) -> None:
    """Note that a broker holds exactly this envelope; a row that was written anew meanwhile stays unpublished."""
    table = type(row)
    match = [table.fleet == row.fleet, table.device == row.device, table.envelope == row.envelope]
    if isinstance(row, tables.Desired):
        match.append(tables.Desired.workload == row.workload)
    session.execute(update(table).where(*match).values(published_s=now_s))


def ask_again(session: Session, fleet: str, device: str, workload: str | None = None) -> None:
    """Mark a device's documents (and its plan, when no workload is named) to be published once more."""
    table = tables.Desired
    match = [table.fleet == fleet, table.device == device, table.envelope != ""]
    if workload is not None:
        match.append(table.workload == workload)
    else:
        plan = tables.Plan
        session.execute(update(plan).where(plan.fleet == fleet, plan.device == device).values(published_s=None))
    session.execute(update(table).where(*match).values(published_s=None))


def write_plan(session: Session, plan: Plan, envelope: str, *, now_s: float) -> None:
    """Write a plan that is to be published; it replaces the device's former one."""
    row = get_plan(session, plan.fleet, plan.device)
    if row is None:
        row = tables.Plan(fleet=plan.fleet, device=plan.device)
        session.add(row)
    row.plan_gen, row.document, row.envelope = plan.plan_gen, document(plan), envelope
    row.written_s, row.published_s = now_s, None
    session.flush()


def get_plan(session: Session, fleet: str, device: str) -> tables.Plan | None:
    """Return a device's plan as last written."""
    return session.get(tables.Plan, (fleet, device))


def plans(session: Session, fleet: str) -> Sequence[tables.Plan]:
    """Return the plans of a fleet's devices."""
    return session.scalars(select(tables.Plan).where(tables.Plan.fleet == fleet)).all()


def next_plan_gen(session: Session, fleet: str, device: str, *, now_s: float) -> int:
    """Return the next plan's number: risen over the last one, and over the clock.

    Devices do not report the plan's number. Seconds since the epoch keep it rising over a restored backup too.
    """
    row = get_plan(session, fleet, device)
    return max(row.plan_gen + 1 if row else 1, int(now_s))


def largest_epoch(session: Session) -> int:
    """Return the largest epoch that any document, written or adopted, or any report carries."""
    written = session.scalar(select(func.max(tables.Desired.epoch))) or 0
    said = max((int(found.get("epoch", 0)) for found in session.scalars(select(tables.Reported.document))), default=0)
    return max(written, said)


def _is_newer(row: tables.Desired, theirs: Desired | Reported, bundle: str | None) -> bool:
    if theirs.gen != row.gen:
        return theirs.gen > row.gen
    # A restored database may have given a number away that the fleet knows for another bundle: the device goes by its
    # own, and "committed" under that number is no answer to our document.
    return bundle is not None and row.bundle is not None and bundle != row.bundle


def _digest(desired: Desired) -> str | None:
    return desired.bundle.digest if desired.bundle else None


def _fill(row: tables.Desired, desired: Desired, envelope: str, now_s: float) -> None:
    row.gen, row.epoch, row.rollout = desired.gen, desired.epoch, desired.rollout
    row.bundle = _digest(desired)
    row.document, row.envelope, row.written_s = document(desired), envelope, now_s
