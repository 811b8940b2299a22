"""Asking for a deploy: a new row, or the one of the same settings that a dead process left.

Decides: what is resumed, what is replaced, what is refused as busy. Leaves out: carrying it out (`pipeline`).
"""

import time
import uuid
from dataclasses import dataclass

from sqlalchemy.orm import Session

from controller.deploy.settings import DeploySettings, settings_of
from controller.errors import Busy, ConfigurationError
from controller.store import deployments, tables, trials
from controller.store.database import Store


@dataclass(frozen=True)
class Request:
    """The deployment that answers a request, and whether it goes on where an earlier process stopped."""

    deployment: str
    resumed: bool


def request_deploy(store: Store, settings: DeploySettings, now_s: float, *, retry: bool = False) -> Request:
    """Return the deployment for these settings, written as `requested` or left over to go on with.

    An unfinished deployment of other settings whose process is gone is canceled: its trials are withdrawn, and the new
    rollout supersedes its rollout. With `retry`, devices try a bundle again that they had quarantined.

    Raises:
        Busy: A living process deploys to this fleet and workload.
    """
    with store.begin() as session:
        left = deployments.active(session, settings.fleet, settings.workload_name)
        if left is not None:
            _refuse_if_alive(left, now_s)
            if left.settings.get("digest") == settings.digest and _readable(left):
                if retry:
                    left.settings = {**left.settings, "retry_nonce": left.id}
                return Request(left.id, resumed=True)
            _cancel(session, left, now_s)
        row = _new_row(settings, now_s, retry)
        deployments.create(session, row, now_s=now_s)
        return Request(row.id, resumed=False)


def new_id(now_s: float) -> str:
    """Return a deployment's id: sorts by time, safe in a topic and as a file name."""
    return time.strftime("%Y%m%d-%H%M%S", time.gmtime(now_s)) + "-" + uuid.uuid4().hex[:4]


def _new_row(settings: DeploySettings, now_s: float, retry: bool) -> tables.Deployment:
    name = new_id(now_s)
    return tables.Deployment(
        id=name,
        fleet=settings.fleet,
        workload=settings.workload_name,
        model=settings.model.name,
        model_version=settings.model.version,
        settings={**settings.document(), "digest": settings.digest, "retry_nonce": name if retry else ""},
    )


def _refuse_if_alive(row: tables.Deployment, now_s: float) -> None:
    if deployments.is_held(row, now_s):
        raise Busy(
            f"deployment {row.id} of {row.fleet}/{row.workload} runs already ({row.stage}, by {row.owner}): "
            "wait until it ends, or stop that process"
        )


def _readable(row: tables.Deployment) -> bool:
    try:
        settings_of(row.settings)
    except ConfigurationError:
        return False
    return True


def _cancel(session: Session, row: tables.Deployment, now_s: float) -> None:
    trials.cancel(session, row.id)
    deployments.set_stage(session, row.id, "canceled", now_s=now_s)
