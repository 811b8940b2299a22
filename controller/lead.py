"""What a leader does, turn by turn: keep the lead, publish what is written, decide, and look after what lies around.

Decides: the order of a turn and how often each care comes. Leaves out: the decisions.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence

from controller.distribute.documents import Documents
from controller.distribute.reconcile import RetainedState
from controller.leadership import BEAT_S, Leadership, LeadershipLost
from controller.rollout.engine import RolloutEngine
from controller.store import devices, telemetry
from controller.store.database import Store
from controller.telemetry import raw_rows

log = logging.getLogger(__name__)

TICK_S = 0.5
CARE_S = 20.0
PRUNE_S = 3600.0
GRACE_S = 90.0
"""So long after a connection, a device that has not said anything is not there, whatever was known of it before."""


class LeadLoop:
    """The engine thread. `wake` makes the next turn come at once."""

    def __init__(
        self,
        store: Store,
        leadership: Leadership,
        documents: Documents,
        engine: RolloutEngine,
        retained: RetainedState,
        *,
        fleets: Callable[[], Sequence[str]],
        changed: Callable[[], None],
        lost: Callable[[LeadershipLost], None],
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._leadership = leadership
        self._documents = documents
        self._engine = engine
        self._retained = retained
        self._fleets, self._changed, self._lost, self._clock = fleets, changed, lost, clock
        self.turns = 0
        """Turns that were taken: a number that no longer grows is a thread that is stuck."""
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._due_s: dict[str, float] = {}
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        """Start leading."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the turn and stop."""
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(15.0)

    def wake(self) -> None:
        """Let the next turn begin now."""
        self._wake.set()

    def turn(self) -> bool:
        """Do what is due; return whether anything was decided or published."""
        if self._is_due("beat", BEAT_S):
            self._leadership.beat()
        if self._retained.due:
            self._mark_missing()
        if self._is_due("care", CARE_S):
            self._care()
        if self._is_due("prune", PRUNE_S):
            with self._store.begin() as session:
                telemetry.prune(session, now_s=self._clock())
                raw_rows.prune(session, now_s=self._clock())
        fleets = self._fleets()
        published = self._documents.publish_due(fleets)  # first what a killed leader had only written
        # Without the broker nothing is known of the devices: a deadline must not pass for them before they were heard.
        decided = self._documents.connected and self._retained.settled and self._engine.tick(fleets)
        return bool(published + self._documents.publish_due(fleets)) or decided

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait(TICK_S)
            self._wake.clear()
            self.turns += 1
            try:
                if self.turn():
                    self._changed()
            except LeadershipLost as exc:
                log.error("%s", exc)
                self._lost(exc)
                return
            except Exception:
                log.exception("a turn failed; the next one tries again")

    def _mark_missing(self) -> None:
        with self._store.begin() as session:
            self._leadership.check(session)
            missing = self._retained.mark_missing(session, self._fleets())
        if missing:
            log.warning("the broker lacks %d retained documents: publishing them again", missing)

    def _care(self) -> None:
        since_s = self._retained.connected_at_s
        with self._store.begin() as session:
            self._leadership.check(session)
            self._documents.reissue_expiring(session, self._leadership.epoch)
            self._documents.repeat_unheard(session, since_s)
            if self._clock() - since_s > GRACE_S:
                devices.mark_absent(session, self._fleets(), before_s=since_s)
            self._documents.clear_done_plans(session, self._leadership.epoch)

    def _is_due(self, care: str, every_s: float) -> bool:
        now_s = time.monotonic()
        if now_s < self._due_s.get(care, 0.0):
            return False
        self._due_s[care] = now_s + every_s
        return True
