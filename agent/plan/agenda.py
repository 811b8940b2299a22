"""What a measuring plan still asks of this device. Pure.

Decides: which plans are taken, which trials are open, in which groups, and which are given up because they ended the
agent twice. Leaves out: fetching, pausing, measuring (`runner.py`).
"""

from collections.abc import Collection

from pydantic import BaseModel, ConfigDict, Field

from agent.update.vocabulary import Facts
from wire.artifact import ArtifactRef
from wire.trial import Plan, TrialRecord, TrialRequest, Validity
from wire.update import ReportedError

MOST_STARTS = 2
"""A variant that browns out the board while it is measured must not loop."""


class Agenda(BaseModel):
    """The plan in hand and how far it has come; saved whole.

    `done`: trials that have a record. `starts`: how often measuring a trial was begun.
    """

    model_config = ConfigDict(frozen=True)

    plan: Plan | None = None
    done: tuple[str, ...] = ()
    starts: dict[str, int] = Field(default_factory=dict)

    @property
    def plan_gen(self) -> int:
        return self.plan.plan_gen if self.plan is not None else 0

    def open_requests(self) -> tuple[TrialRequest, ...]:
        """Return the trials without a record, in the plan's order."""
        trials = self.plan.trials if self.plan is not None else ()
        return tuple(request for request in trials if request.trial not in self.done)

    def next_group(self) -> tuple[TrialRequest, ...]:
        """Return the open trials that are measured against each other next; empty when all is done."""
        requests = self.open_requests()
        return tuple(request for request in requests if _group(request) == _group(requests[0]))

    def artifacts(self) -> set[str]:
        """Return the digests of everything that the plan names."""
        return {ref.digest for request in (self.plan.trials if self.plan else ()) for ref in artifacts_of(request)}

    def open_artifacts(self) -> set[str]:
        """Return the digests that open trials need."""
        return {ref.digest for request in self.open_requests() for ref in artifacts_of(request)}

    def with_done(self, trials: Collection[str]) -> "Agenda":
        """Return the agenda once `trials` have their records."""
        return self.model_copy(update={"done": tuple(dict.fromkeys((*self.done, *trials)))})

    def with_starts(self, trials: Collection[str]) -> "Agenda":
        """Return the agenda once measuring `trials` has begun."""
        return self.model_copy(
            update={"starts": {**self.starts, **{each: self.starts.get(each, 0) + 1 for each in trials}}}
        )

    def without_starts(self, trials: Collection[str]) -> "Agenda":
        """Return the agenda once measuring `trials` has ended, well or not, and the agent lives."""
        return self.model_copy(
            update={"starts": {trial: count for trial, count in self.starts.items() if trial not in trials}}
        )

    def spent(self, trial: str) -> bool:
        """Return whether the agent ended so often while this trial was measured that it is given up."""
        return self.starts.get(trial, 0) >= MOST_STARTS


def refusal(agenda: Agenda, plan: Plan, facts: Facts) -> ReportedError | None:
    """Return why `plan` is not taken, or None. The plan in hand, delivered again, is no refusal."""
    if (plan.fleet, plan.device) != (facts.fleet, facts.device):
        return _refused("not_for_us", f"the plan is for {plan.fleet}/{plan.device}")
    if plan.plan_gen < agenda.plan_gen:
        return _refused("old_generation", f"plan {plan.plan_gen} came after {agenda.plan_gen}")
    if agenda.plan is not None and plan.epoch < agenda.plan.epoch:
        return _refused("old_epoch", f"epoch {plan.epoch} came after {agenda.plan.epoch}: another controller commands")
    if plan.plan_gen > agenda.plan_gen and plan.expires_s < facts.now_s:
        return _refused("expired", f"the plan expired {facts.now_s - plan.expires_s:.0f} s ago")
    return None


def adopt(agenda: Agenda, plan: Plan, unsent: Collection[str]) -> Agenda:
    """Return the agenda with `plan` in hand.

    A newer plan replaces the older one whole. Only trials whose record still waits to be sent count as done: what was
    acknowledged and is asked for again has been lost by the controller.

    Args:
        agenda: As it is.
        plan: Not refused.
        unsent: Trials whose record is in the outbox.
    """
    if plan.plan_gen == agenda.plan_gen:
        return agenda.model_copy(update={"plan": plan})
    asked = {request.trial for request in plan.trials}
    starts = {trial: count for trial, count in agenda.starts.items() if trial in asked}
    return Agenda(plan=plan, done=tuple(trial for trial in unsent if trial in asked), starts=starts)


def artifacts_of(request: TrialRequest) -> tuple[ArtifactRef, ...]:
    """Return what must be on the disk before `request` is measured."""
    return (request.bundle, *([request.evaluation] if request.evaluation is not None else []))


def unmeasured(request: TrialRequest, plan: Plan, outcome: str, error: str) -> TrialRecord:
    """Return the record of a trial that was not measured: its outcome and why."""
    return TrialRecord.model_validate(
        {
            "fleet": plan.fleet,
            "device": plan.device,
            "trial": request.trial,
            "plan_gen": plan.plan_gen,
            "workload": request.workload,
            "bundle": request.bundle.digest,
            "variant": request.variant,
            "control": request.control,
            "engine": request.engine,
            "scenario": request.scenario,
            "settings": request.settings,
            "grade": request.grade,
            "outcome": outcome,
            "error": error[:2000],
            "validity": Validity(valid=False, reasons=(error.partition(":")[0] or outcome,)),
        }
    )


def _group(request: TrialRequest) -> tuple[str, str]:
    """Requests without a group are measured alone."""
    return (request.workload, request.group or f"alone {request.trial}")


def _refused(code: str, detail: str) -> ReportedError:
    return ReportedError(code=code, error_class="refused", detail=detail)
