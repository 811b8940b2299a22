"""A fleet that is ahead of this database: an older backup was restored, or the disk lost what was written last.

Decides: that rollouts and deployments of the past are not carried on over what the fleet has seen since: going on with
one could downgrade devices. Leaves out: the generations themselves (`controller/store/desired.py` adopts them).
"""

import logging

from sqlalchemy.orm import Session

from controller.store import audit, deployments, rollouts, trials
from wire.update import Desired, Reported

log = logging.getLogger(__name__)


def fleet_is_ahead(session: Session, newer: Desired | Reported, *, before_s: float, now_s: float) -> None:
    """End what this database still thinks is going on for the workload, and put it on record.

    Args:
        session: Of a writing transaction.
        newer: What was adopted.
        before_s: Only what was begun before is ended: when a document was issued, or, since a report does not tell
            when, the last that was heard of the former leader [s since the epoch].
        now_s: Time [s since the epoch].
    """
    subject = f"{newer.fleet}/{newer.device}/{newer.workload}"
    log.warning("%s is at generation %d, ahead of this database: adopted", subject, newer.gen)
    detail = {"gen": newer.gen, "epoch": newer.epoch, "from": type(newer).__name__.lower()}
    audit.append(session, "controller", "desired.adopted", subject, detail, now_s=now_s)
    because = f"the fleet is ahead of this database: {newer.device} is at generation {newer.gen}"
    for row in rollouts.active(session, newer.fleet, newer.workload):
        if row.created_s < before_s:
            rollouts.supersede(session, row, because, now_s=now_s)
    running = deployments.active(session, newer.fleet, newer.workload)
    if running is not None and running.created_s < before_s:
        end_deployment(session, running.id, because, now_s=now_s)


def end_all(session: Session, because: str, *, now_s: float) -> int:
    """End every rollout and deployment that is going on, as after a restore; return how many.

    For `controller restore`: it need not wait until a device shows that the fleet went on without this database.
    """
    going = rollouts.active(session)
    for row in going:
        rollouts.supersede(session, row, because, now_s=now_s)
    running = deployments.running(session)
    for each in running:
        end_deployment(session, each.id, because, now_s=now_s)
    return len(going) + len(running)


def end_deployment(session: Session, deployment: str, because: str, *, now_s: float) -> None:
    """Fail a deployment that was overtaken, and cancel its open trials."""
    deployments.fail(session, deployment, "superseded", f"{because}; run `controller deploy` again", now_s=now_s)
    trials.cancel(session, deployment)
