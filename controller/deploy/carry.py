"""Who carries a deploy: this process, or the one that leads the workspace already.

Decides: when to lead and when to watch. Leaves out: the deploy (`pipeline`) and leadership (`controller/leadership`).
"""

import time
from collections.abc import Callable

from controller.deploy.pipeline import run_deploy
from controller.deploy.progress import Progress
from controller.errors import Busy, ControllerError
from controller.leadership import current_leader
from controller.mqtt import BrokerSettings
from controller.service import Service
from controller.store import deployments, tables
from controller.store.database import Store
from controller.workspace import Workspace

WATCH_S = 1.0


class Carried(ControllerError):
    """A deploy that another process carried ended badly: its reason and exit code, as that process wrote them."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.exit_code = _exit_code(reason)


def carry(
    workspace: Workspace,
    broker: BrokerSettings,
    deployment: str,
    progress: Progress,
    *,
    watch: bool = False,
    clock: Callable[[], float] = time.time,
) -> str:
    """Bring a deployment to its end and return its last stage.

    A running `controller serve` does the work and is watched; when nobody leads, this process leads until the end.

    Raises:
        ControllerError: As `run_deploy`, whoever did the work.
    """
    store = Store.open(workspace)
    try:
        while True:
            if current_leader(store, clock()) is None:
                try:
                    return _lead(workspace, broker, store, deployment, progress, watch=watch)
                except _ElsewhereFirst:
                    continue
            if (ended := _watch(store, deployment, progress, clock)) is not None:
                return ended
    finally:
        store.close()


class _ElsewhereFirst(Exception):
    """Another process became the leader between our look and our try."""


def _lead(
    workspace: Workspace, broker: BrokerSettings, store: Store, deployment: str, progress: Progress, *, watch: bool
) -> str:
    with store.read() as session:
        fleet = deployments.get(session, deployment).fleet
    service = Service(workspace, broker, [fleet])
    try:
        service.start()
    except Busy as exc:
        service.stop()
        raise _ElsewhereFirst from exc
    except BaseException:
        service.stop()
        raise
    try:
        return run_deploy(service, deployment, progress, wait_through_pauses=watch)
    finally:
        service.stop()


def _watch(store: Store, deployment: str, progress: Progress, clock: Callable[[], float]) -> str | None:
    """Follow another process's work; None when that process is gone and the deploy has not ended."""
    leader, stage = current_leader(store, clock()), ""
    progress.say(f"process {leader} leads this workspace and carries the deploy")
    while current_leader(store, clock()) is not None:
        with store.read() as session:
            row = deployments.get(session, deployment)
        if row.stage in deployments.ENDED:
            return _outcome(row)
        if row.stage != stage:
            stage = row.stage
            progress.stage(stage, 0)
        time.sleep(WATCH_S)
    return None


def _outcome(row: tables.Deployment) -> str:
    if row.stage in ("completed", "up_to_date"):
        return row.stage
    error = row.error or {"reason": row.stage, "detail": f"deployment {row.id} was {row.stage}"}
    raise Carried(str(error["reason"]), str(error["detail"]))


def _exit_code(reason: str) -> int:
    import controller.errors as errors

    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ControllerError)]
    return next((kind.exit_code for kind in kinds if kind.reason == reason), 1)
