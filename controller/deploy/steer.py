"""Carry an operator's wish out when nobody else does: lead the workspace until the rollout rests.

Decides: when there is nothing left to do. Leaves out: what a wish means (`controller/rollout/decide`) and writing it.
"""

import time

from controller.deploy.fleet_files import FoundFleet, broker_settings, find_fleet_file
from controller.deploy.progress import Progress
from controller.deploy.settings import settings_of
from controller.errors import NotFound
from controller.rollout.view import TERMINAL_PHASES, Phase
from controller.service import Service
from controller.store import deployments, rollouts
from controller.store.database import Store
from controller.workspace import Workspace

POLL_S = 0.5
_RESTS = TERMINAL_PHASES | {Phase.PAUSED, Phase.APPROVAL}


def carry_wish(workspace: Workspace, rollout: str, progress: Progress) -> str:
    """Lead until the rollout's wish is carried out and it rests; return its state.

    It rests when it has ended, is paused, or waits for an approval.

    Raises:
        Busy: Another process leads meanwhile: it carries the wish out.
        NotFound: No such rollout, or nothing says where its fleet's broker is.
        BrokerUnreachable: Nobody answers there.
    """
    store = Store.open(workspace)
    try:
        found = _fleet_of(store, workspace, rollout)
    finally:
        store.close()
    said = ""
    with Service(workspace, broker_settings(found), [found.fleet_file.fleet]) as service:
        while True:
            with service.store.read() as session:
                row = rollouts.get(session, rollout)
                wish, phase, because = row.wish, Phase(row.state), row.because
            if f"{phase.value}: {because}" != said:
                said = f"{phase.value}: {because}"
                progress.say(said)
            if wish is None and phase in _RESTS:
                return phase.value
            service.wait_changed(POLL_S)


def is_led(store: Store) -> bool:
    """Whether a process leads the workspace now."""
    from controller.leadership import current_leader

    return current_leader(store, time.time()) is not None


def _fleet_of(store: Store, workspace: Workspace, rollout: str) -> FoundFleet:
    """Return the fleet's file, else what the rollout's deployment kept of it."""
    with store.read() as session:
        row = rollouts.get(session, rollout)
        kept = deployments.get(session, row.deployment).settings if row.deployment else None
        fleet = row.fleet
    found = find_fleet_file(fleet, None, workspace, required=False)
    if found is not None:
        return found
    if kept is None:
        raise NotFound(f"no fleet file of {fleet!r} says where its broker is: run `controller serve` with --config")
    return FoundFleet(workspace.root / f"{fleet}.yaml", settings_of(kept).fleet_file)
