"""The daemon's loop: every deploy that is asked for and not worked on gets a thread of this process.

Decides: when a deploy is taken up. Leaves out: the deploy (`pipeline`) and everything that the service does by itself.
"""

import logging
import threading
from collections.abc import Sequence
from typing import NoReturn

from controller.deploy.pipeline import run_deploy
from controller.errors import ControllerError
from controller.mqtt import BrokerSettings
from controller.report.write import write_report
from controller.service import Service
from controller.store import deployments
from controller.workspace import Workspace

log = logging.getLogger(__name__)

LOOK_S = 1.0


class Told:
    """Progress as log lines."""

    def __init__(self, deployment: str) -> None:
        self._deployment = deployment

    def stage(self, name: str, total: int) -> None:
        log.info("%s: %s (%d)", self._deployment, name, total)

    def advance(self, note: str = "") -> None:
        log.info("%s: %s", self._deployment, note)

    def say(self, text: str) -> None:
        log.info("%s: %s", self._deployment, text)


def serve_forever(workspace: Workspace, broker: BrokerSettings, fleets: Sequence[str]) -> None:
    """Lead the workspace until interrupted.

    Raises:
        Busy: Another process leads it, or has taken over.
        BrokerUnreachable: At the start; later losses are waited out.
        KeyboardInterrupt: The end.
    """
    with Service(workspace, broker, fleets) as service:
        attend(service)


def attend(service: Service) -> NoReturn:
    """Carry every deploy that is asked of a service's fleets, until interrupted.

    Raises:
        Busy: Another process leads now.
        KeyboardInterrupt: The end.
    """
    running: dict[str, threading.Thread] = {}
    while True:
        running = {name: thread for name, thread in running.items() if thread.is_alive()}
        for deployment in _waiting(service):
            if deployment not in running:
                thread = threading.Thread(target=_carry, args=(service, deployment), name=deployment, daemon=True)
                running[deployment] = thread
                thread.start()
        service.wait_changed(LOOK_S)


def _waiting(service: Service) -> list[str]:
    with service.store.read() as session:
        rows = deployments.unowned(session, now_s=service.clock())
        return [row.id for row in rows if row.fleet in service.fleets]


def _carry(service: Service, deployment: str) -> None:
    try:
        stage = run_deploy(service, deployment, Told(deployment), wait_through_pauses=True)
        log.info("%s: %s", deployment, stage)
    except ControllerError as exc:
        log.error("%s: %s: %s", deployment, exc.reason, exc)
    except Exception:
        log.exception("%s stopped; it is taken up again", deployment)
    try:
        write_report(service.store, service.workspace, deployment)
    except ControllerError as exc:
        log.error("%s: the report could not be written: %s", deployment, exc)
