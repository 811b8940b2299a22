"""The daemon's loop: every deploy that is asked for and not worked on gets a thread of this process.

Decides: when a deploy is taken up. Leaves out: the deploy (`pipeline`) and everything that the service does by itself.
"""

import logging
import threading
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NoReturn

from controller.deploy.pipeline import run_deploy
from controller.errors import ControllerError
from controller.export.serving import HttpSettings, pages
from controller.mqtt import BrokerSettings
from controller.notify import Notifier
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


def serve_forever(
    workspace: Workspace, broker: BrokerSettings, fleets: Sequence[str], http: HttpSettings | None = None
) -> None:
    """Lead the workspace until interrupted.

    Args:
        workspace: Its database and keys.
        broker: Of all fleets.
        fleets: To listen to.
        http: Where metrics and health are put up; null: nowhere.
    Raises:
        Busy: Another process leads it, or has taken over; or the port that was asked for is taken.
        BrokerUnreachable: At the start; later losses are waited out.
        KeyboardInterrupt: The end.
    """
    notifier = Notifier()
    try:
        with Service(workspace, broker, fleets) as service, _pages(service, http):
            notifier.ready()
            attend(service, notifier)
    finally:
        notifier.stopping()


def _pages(service: Service, http: HttpSettings | None) -> AbstractContextManager[object]:
    return pages(service, http) if http is not None else nullcontext()


def attend(service: Service, notifier: Notifier | None = None) -> NoReturn:
    """Carry every deploy that is asked of a service's fleets, until interrupted.

    `notifier` is shown life as long as the engine thread takes its turns.

    Raises:
        Busy: Another process leads now.
        KeyboardInterrupt: The end.
    """
    running: dict[str, threading.Thread] = {}
    pulse = _Pulse(notifier or Notifier({}))
    while True:
        pulse.felt(service.turns)
        running = {name: thread for name, thread in running.items() if thread.is_alive()}
        for deployment in _waiting(service):
            if deployment not in running:
                thread = threading.Thread(target=_carry, args=(service, deployment), name=deployment, daemon=True)
                running[deployment] = thread
                thread.start()
        service.wait_changed(LOOK_S)


class _Pulse:
    """Shows the watchdog life where the engine thread has moved on since it was shown last."""

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier
        self._due_s = 0.0
        self._turns = -1

    def felt(self, turns: int) -> None:
        now_s = time.monotonic()
        if self._notifier.interval_s is None or turns == self._turns or now_s < self._due_s:
            return
        self._turns, self._due_s = turns, now_s + self._notifier.interval_s / 2
        self._notifier.alive()


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
