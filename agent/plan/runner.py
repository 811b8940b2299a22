"""The shell around the measuring plan: a plan comes in, records go out, one group of trials after the other.

Decides: when a group may be measured (its artifacts here, no workload in the middle of a change, the window open), and
what becomes of trials that were not. Leaves out: which trials are open (`agenda.py`).
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from agent.artifacts.downloads import Downloads
from agent.config import AgentConfig
from agent.device.durable import WRITE_FAULTS, fault_reason, write_durably
from agent.errors import DiskFull
from agent.loop import Loop, Timer
from agent.plan.agenda import Agenda, adopt, artifacts_of, refusal, unmeasured
from agent.plan.outbox import Outbox
from agent.plan.provision import Provision
from agent.plan.sender import Sender
from agent.update.judge import DISK_MARGIN_BYTES
from agent.update.vocabulary import Facts, Tell
from agent.update.workload import is_open
from wire.trial import Plan, TrialPart, TrialRecord, TrialRequest
from wire.update import ReportedError

if TYPE_CHECKING:
    from agent.plan.measuring import Measuring

log = logging.getLogger(__name__)

LOOK_AGAIN_S = 1.0
WRITE_AGAIN_S = 10.0
PATIENCE_S = 5.0
"""How long a stop waits for the measuring thread to end its process."""

AGENDA_NAME = "plan.json"


@dataclass(frozen=True)
class Surroundings:
    """What the plan needs of the agent around it."""

    config: AgentConfig
    version: str
    loop: Loop
    downloads: Downloads
    facts: Callable[[], Facts]
    changing: Callable[[], bool]
    pause: Callable[[], bool]
    resume: Callable[[], None]
    hush: Callable[[float | None], None]
    """Publish next to nothing for so long [s], but for what keeps the connection; null: as usual again."""
    tell: Callable[[Tell], None]
    send: Callable[[TrialPart], bool]
    collect_garbage: Callable[[bool], None]


class PlanRunner:
    """The measuring plan of this device. All methods belong to the consumer thread."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._path = around.config.state_dir / AGENDA_NAME
        self._outbox = Outbox(around.config.state_dir / "outbox")
        self._sender = Sender(self._outbox, around.loop, around.send)
        self.agenda = _load(self._path)
        self._provision: Provision | None = None
        self._measuring: Measuring | None = None
        self._timer: Timer | None = None
        self._pause_timer: Timer | None = None
        self._paused_s: float | None = None
        self._is_pause_spent = False
        self._stopped = False
        self._unsaved: set[str] = set()
        self._waiting: list[Callable[[], None]] = []

    @property
    def unsent(self) -> list[str]:
        """Trials whose records wait for their acknowledgement."""
        return self._outbox.trials()

    @property
    def measuring(self) -> bool:
        """Whether a group is being measured, or waits for its host's turn."""
        return self._measuring is not None

    def arrived(self, plan: Plan) -> None:
        """Take a plan whose signature held."""
        refused = refusal(self.agenda, plan, self._around.facts())
        if refused is not None:
            self._around.tell(Tell("refused", plan.plan_gen, reason=refused.code, detail=refused.detail))
            return
        newer = plan.plan_gen > self.agenda.plan_gen
        if not self._save(adopt(self.agenda, plan, self._outbox.trials()), lambda: self.arrived(plan)):
            return
        if newer:
            log.info("plan %d: %d trials", plan.plan_gen, len(self.agenda.open_requests()))
            self._drop_what_is_gone(plan)
        self.advance()

    def acknowledged(self, trials: tuple[str, ...]) -> None:
        """Forget records that the controller has stored."""
        self._sender.acknowledged(trials)

    def connected(self) -> None:
        """The broker is back: what waits is sent again."""
        self._sender.send_all()

    def when_not_measuring(self, call: Callable[[], None]) -> None:
        """Make `call` now, or when the group that is being measured has ended."""
        if self._measuring is None:
            # Looked at again when its turn comes: what stands before it may begin to measure.
            self._around.loop.post(lambda: call() if self._measuring is None else self._waiting.append(call))
        else:
            self._waiting.append(call)

    def advance(self) -> None:
        """Go on with the plan, if nothing of it is under way."""
        if self._timer is not None:
            self._timer.cancel()
        group = self.agenda.next_group()
        if self._stopped or self._measuring is not None or self._provision is not None or self._unsaved or not group:
            return
        left = [request for request in group if not self._give_up(request)]
        if len(left) < len(group):
            self._around.loop.post(self.advance)
            return
        refs = [ref for request in left for ref in artifacts_of(request)]
        self._provision = Provision(
            self._around.downloads, self._around.loop, refs, lambda folders, bad: self._provisioned(left, folders, bad)
        )
        self._provision.start()

    def stop(self) -> None:
        """End what is under way; it is begun again at the next start. Records that are complete are still kept."""
        self._stopped = True
        if self._provision is not None:
            self._provision.stop()
        if self._measuring is not None:
            self._measuring.cancel()
            self._measuring.join(PATIENCE_S)
            self._save(self.agenda.without_starts([request.trial for request in self._measuring.requests]), _nothing)

    # --- one group ------------------------------------------------------------------------------------------------

    def _give_up(self, request: TrialRequest) -> bool:
        """Return whether `request` was answered unmeasured: no such engine, no room, or it ended the agent twice."""
        engines = self._around.facts().engines
        if request.engine not in engines:
            known = ", ".join(sorted(engines)) or "none"
            self._keep_unmeasured(request, "incompatible", f"engine_missing: {request.engine}; here: {known}")
            return True
        if self.agenda.spent(request.trial):
            self._keep_unmeasured(request, "failed", "measuring_killed: the agent ended twice while this was measured")
            return True
        short_bytes = self._short_of_bytes(request)
        if short_bytes > 0:
            detail = f"{short_bytes} bytes are lacking on the disk: free some space, then ask for the trial again"
            self._keep_unmeasured(request, "failed", f"{DiskFull.reason}: {detail}")
            return True
        return False

    def _short_of_bytes(self, request: TrialRequest) -> int:
        """Return what the disk lacks for what `request` needs; where it lacks any, garbage is collected first."""
        for collected in (False, True):
            facts = self._around.facts()
            missing = [ref for ref in artifacts_of(request) if ref.digest not in facts.complete]
            needed = sum(ref.size_bytes + ref.wire_bytes for ref in missing)
            lacking = needed + DISK_MARGIN_BYTES - facts.disk_free_bytes if missing else 0
            if lacking <= 0 or collected:
                break
            self._around.collect_garbage(True)
        return max(0, lacking)

    def _provisioned(
        self, group: list[TrialRequest], folders: dict[str, Path], failed: dict[str, ReportedError]
    ) -> None:
        self._provision = None
        for request in group:
            faults = [failed[ref.digest] for ref in artifacts_of(request) if ref.digest in failed]
            if faults:
                self._keep_unmeasured(request, "failed", f"{faults[0].code}: {faults[0].detail}")
        left = [request for request in group if request.trial not in {*self.agenda.done, *self._unsaved}]
        if left:
            self._measure_when_calm(left, folders)
        else:
            self.advance()

    def _measure_when_calm(self, group: list[TrialRequest], folders: dict[str, Path]) -> None:
        plan = self.agenda.plan
        if plan is None or any(request not in plan.trials for request in group):
            self.advance()
            return
        clock = time.localtime()
        window = plan.policy.window
        is_time = window is None or is_open(window, clock.tm_hour * 60 + clock.tm_min)
        if not is_time or self._around.changing():
            self._timer = self._around.loop.after(LOOK_AGAIN_S, lambda: self._measure_when_calm(group, folders))
            return
        if self._save(self.agenda.with_starts([request.trial for request in group]), self.advance):
            self._measure(plan, group, folders)

    def _measure(self, plan: Plan, group: list[TrialRequest], folders: dict[str, Path]) -> None:
        from agent.plan.measuring import Heard, Measuring, measure_context  # a device without a plan need not hold it

        loop = self._around.loop
        heard = Heard(
            turn=lambda: loop.post(lambda: self._turn(plan)),
            record=lambda record: loop.post(lambda: self._measured(record)),
            end=lambda fault: loop.post(lambda: self._ended(fault)),
        )
        context = measure_context(self._around.config, self._around.version, plan.plan_gen)
        self._is_pause_spent = False
        self._measuring = Measuring(group, folders, context, self._around.config.host_lock, heard)
        self._around.tell(Tell("trial", plan.plan_gen, reason="measuring", detail=_names(group)))
        self._measuring.start()

    def _turn(self, plan: Plan) -> None:
        """This host's turn has come: pause serving where the plan says so, then let the measuring begin."""
        if self._measuring is None:
            return
        self._around.hush(plan.policy.longest_pause_s)
        if plan.policy.serving == "pause":
            self._paused_s = time.monotonic() if self._around.pause() else None
            if self._paused_s is not None:  # where nobody asks, measuring may take as long as it takes
                self._pause_timer = self._around.loop.after(plan.policy.longest_pause_s, self._pause_spent)
        self._measuring.go(plan.policy.longest_pause_s if self._paused_s is not None else None)

    def _pause_spent(self) -> None:
        if self._measuring is not None:
            log.warning("the longest pause that the plan allows is over: measuring ends, serving goes on")
            self._is_pause_spent = True
            self._measuring.cancel()

    def _measured(self, record: TrialRecord) -> None:
        lost_s = 0.0
        if self._paused_s is not None:
            now_s = time.monotonic()
            lost_s, self._paused_s = now_s - self._paused_s, now_s
        policy = self.agenda.plan.policy.serving if self.agenda.plan is not None else "pause"
        conditions = {**record.conditions, "serving_policy": policy}
        self._keep(record.model_copy(update={"serving_lost_s": round(lost_s, 3), "conditions": conditions}))

    def _ended(self, fault: str) -> None:
        measuring, self._measuring = self._measuring, None
        if self._pause_timer is not None:
            self._pause_timer.cancel()
        self._paused_s = None
        self._around.resume()
        self._around.hush(None)
        if measuring is not None:
            self._save(self.agenda.without_starts([request.trial for request in measuring.requests]), _nothing)
            self._answer_for_the_rest(measuring, fault)
        waiting, self._waiting = self._waiting, []
        for call in waiting:
            self._around.loop.post(call)
        self.advance()

    def _answer_for_the_rest(self, measuring: "Measuring", fault: str) -> None:
        """Make records for trials that were begun and left none; those that the plan dropped need none."""
        if measuring.canceled and not self._is_pause_spent:
            return  # a newer plan ended it: what that one still asks for is measured again
        spent = "pause_spent: the longest pause that the plan allows was over"
        why = spent if self._is_pause_spent else fault or "no record was made"
        open_requests = self.agenda.open_requests()
        for request in measuring.requests:
            if request in open_requests and request.trial not in self._unsaved:
                self._keep_unmeasured(request, "failed", why)

    # --- records --------------------------------------------------------------------------------------------------

    def _keep_unmeasured(self, request: TrialRequest, outcome: str, error: str) -> None:
        if self.agenda.plan is not None:
            record = unmeasured(request, self.agenda.plan, outcome, error)
            config = self._around.config
            threads = request.threads or config.threads
            shared = {"threads": threads, "emulated": config.emulated, "agent_version": self._around.version}
            self._keep(record.model_copy(update=shared))

    def _keep(self, record: TrialRecord) -> None:
        """Keep a record on the disk, then count the trial as done, then send it."""
        asked = {request.trial for request in (self.agenda.plan.trials if self.agenda.plan else ())}
        if record.trial not in asked:
            self._unsaved.discard(record.trial)
            return
        again = partial(self._keep, record)
        self._unsaved.add(record.trial)
        try:
            self._outbox.put(record)
        except WRITE_FAULTS as exc:
            self._no_room(exc, again)
            return
        if not self._save(self.agenda.with_done([record.trial]), again):
            return
        self._unsaved.discard(record.trial)
        self._around.loop.post(self.advance)
        log.info("trial %s (%s): %s", record.trial, record.variant, record.outcome)
        detail = f"{record.trial} {record.variant} {record.error}"[:500]
        self._around.tell(Tell("trial", record.plan_gen, reason=record.outcome, detail=detail))
        self._sender.send(record.trial)

    def _drop_what_is_gone(self, plan: Plan) -> None:
        """A newer plan replaces the older one: end the group whose trials it does not name any more,
        and drop what only the older one named."""
        if self._provision is not None:
            self._provision.stop()
            self._provision = None
        if self._measuring is not None and not set(self._measuring.requests) <= set(plan.trials):
            self._measuring.cancel()
        if plan.trials:  # one without takes back the older one; what that one brought may be deployed next
            self._around.collect_garbage(False)

    def _save(self, agenda: Agenda, again: Callable[[], None]) -> bool:
        """Put `agenda` on the disk; where there is no room, say so, and call `again` a little later."""
        if agenda == self.agenda:
            return True
        try:
            write_durably(self._path, agenda.model_dump_json(exclude_none=True).encode())
        except WRITE_FAULTS as exc:
            self._no_room(exc, again)
            return False
        self.agenda = agenda
        return True

    def _no_room(self, exc: DiskFull | OSError, again: Callable[[], None]) -> None:
        log.error("%s", exc)
        self._around.tell(Tell("trial", self.agenda.plan_gen, reason=fault_reason(exc), detail=str(exc)))
        self._around.loop.after(WRITE_AGAIN_S, again)


def _nothing() -> None:
    """A start that stays counted is no harm: it is only one of two."""


def _load(path: Path) -> Agenda:
    try:
        return Agenda.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return Agenda()
    except ValidationError:
        log.exception("%s cannot be read: the controller's plan is taken anew", path)
        return Agenda()


def _names(group: list[TrialRequest]) -> str:
    return ", ".join(request.variant for request in group)[:500]
