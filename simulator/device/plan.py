"""The measuring plan of a simulated device: the agent's agenda, real downloads, trials that only take time.

Decides: when a group is begun and how long it takes. Leaves out: which trials are open (`agent/plan/agenda.py`) and
what a record holds (`records.py`).
"""

from collections.abc import Callable

from agent.loop import Timer
from agent.plan.agenda import Agenda, adopt, artifacts_of, refusal, unmeasured
from agent.update.vocabulary import Tell
from simulator.device.records import parts_of, record_of
from simulator.device.workload import Parts
from wire.artifact import ArtifactRef
from wire.manifest import BundleManifest, DatasetManifest
from wire.trial import Plan, TrialPart, TrialRecord, TrialRequest
from wire.update import ReportedError

LOOK_AGAIN_S = 1.0
SEND_AGAIN_S = 30.0


class VirtualPlan:
    """One device's plan. Methods belong to the loop's thread."""

    def __init__(self, parts: Parts, changing: Callable[[], bool]) -> None:
        self._parts = parts
        self._changing = changing
        self._agenda = Agenda()
        self._unsent: dict[str, list[TrialPart]] = {}
        self._fetching: set[str] = set()
        self._timer: Timer | None = None
        self._again: Timer | None = None

    def artifacts(self) -> set[str]:
        """Return the digests of everything that the plan names."""
        return self._agenda.artifacts()

    def arrived(self, plan: Plan) -> None:
        """Take a plan whose signature held."""
        refused = refusal(self._agenda, plan, self._parts.facts())
        if refused is not None:
            self._parts.voice.tell(None, Tell("refused", plan.plan_gen, reason=refused.code, detail=refused.detail))
            return
        newer = plan.plan_gen > self._agenda.plan_gen
        self._agenda = adopt(self._agenda, plan, list(self._unsent))
        if newer:
            self._leave()
        self.advance()

    def advance(self) -> None:
        """Go on with the plan, if nothing of it is under way."""
        group = self._agenda.next_group()
        if not group or self._fetching or self._busy:
            return
        refs = {ref.digest: ref for request in group for ref in artifacts_of(request)}
        self._fetching = set(refs)
        for ref in refs.values():
            self._fetch(ref, group)

    def acknowledged(self, trials: tuple[str, ...]) -> None:
        """Forget records that the controller has stored."""
        for trial in trials:
            self._unsent.pop(trial, None)

    def connected(self) -> None:
        """The broker is back: what waits is sent again."""
        for parts in list(self._unsent.values()):
            if not all(self._parts.voice.send_part(part) for part in parts):
                break
        self._send_later()

    def power_cut(self) -> None:
        """End what is under way; it is begun again once there is power."""
        self._leave()

    # --- one group ------------------------------------------------------------------------------------------------

    @property
    def _busy(self) -> bool:
        return self._timer is not None and self._timer.waiting

    def _fetch(self, ref: ArtifactRef, group: tuple[TrialRequest, ...]) -> None:
        def done(error: ReportedError | None) -> None:
            fault = error if error is not None else self._parts.downloads.verify(ref)
            if isinstance(fault, ReportedError):
                self._give_up(ref, group, fault)
            self._fetching.discard(ref.digest)
            if not self._fetching:
                self._fetched(group)

        self._parts.downloads.fetch(f"plan {ref.digest}", ref, done, lambda _: None)

    def _give_up(self, ref: ArtifactRef, group: tuple[TrialRequest, ...], fault: ReportedError) -> None:
        for request in group:
            if ref in artifacts_of(request):
                self._keep_unmeasured(request, "failed", f"{fault.code}: {fault.detail}")

    def _fetched(self, group: tuple[TrialRequest, ...]) -> None:
        left = tuple(request for request in group if request.trial not in self._agenda.done)
        if left and self._agenda.plan is not None:
            self._begin(self._agenda.plan, left)
        else:
            self._parts.site.loop.post(self.advance)

    def _begin(self, plan: Plan, group: tuple[TrialRequest, ...]) -> None:
        if self._changing():
            self._timer = self._parts.site.loop.after(LOOK_AGAIN_S, lambda: self._begin(plan, group))
            return
        names = ", ".join(request.variant for request in group)[:500]
        self._parts.voice.tell(None, Tell("trial", plan.plan_gen, reason="measuring", detail=names))
        self._parts.when_not_measuring.measuring = True
        spent_s = self._parts.cls.trial_s * self._parts.traits.pace * len(group)
        spent_s = min(spent_s, plan.policy.longest_pause_s)
        self._timer = self._parts.site.loop.after(self._parts.site.seconds(spent_s), lambda: self._end(plan, group))

    def _end(self, plan: Plan, group: tuple[TrialRequest, ...]) -> None:
        for request in group:
            if request.engine not in self._parts.cls.engines:
                known = ", ".join(sorted(self._parts.cls.engines))
                self._keep_unmeasured(request, "incompatible", f"engine_missing: {request.engine}; here: {known}")
            else:
                self._keep(self._measured(plan, request))
        self._parts.when_not_measuring.ended()
        self._parts.site.loop.post(self.advance)

    def _measured(self, plan: Plan, request: TrialRequest) -> TrialRecord:
        bundle = self._parts.site.library.named(request.bundle.digest)
        digest = request.evaluation.digest if request.evaluation is not None else None
        evaluation = self._parts.site.library.named(digest) if digest is not None else None
        if not isinstance(bundle, BundleManifest):
            return unmeasured(request, plan, "failed", "bad_bundle: what is to be measured is no bundle")
        found = (bundle, evaluation if isinstance(evaluation, DatasetManifest) else None)
        return record_of(self._parts.site, self._parts.cls, self._parts.traits, plan, request, found=found)

    def _keep_unmeasured(self, request: TrialRequest, outcome: str, error: str) -> None:
        if self._agenda.plan is not None:
            record = unmeasured(request, self._agenda.plan, outcome, error)
            self._keep(record.model_copy(update={"emulated": True}))

    def _keep(self, record: TrialRecord) -> None:
        """Count a trial as done, and send its record until it is acknowledged."""
        self._agenda = self._agenda.with_done([record.trial])
        self._unsent[record.trial] = parts_of(record)
        self._parts.site.counts.trials += 1
        detail = f"{record.trial} {record.variant} {record.error}"[:500]
        self._parts.voice.tell(None, Tell("trial", record.plan_gen, reason=record.outcome, detail=detail))
        for part in self._unsent[record.trial]:
            self._parts.voice.send_part(part)
        self._send_later()

    def _send_later(self) -> None:
        if self._unsent and not (self._again is not None and self._again.waiting):
            self._again = self._parts.site.loop.after(SEND_AGAIN_S, self.connected)

    def _leave(self) -> None:
        for digest in self._fetching:
            self._parts.downloads.leave(f"plan {digest}")
        self._fetching = set()
        if self._timer is not None:
            self._timer.cancel()
        if self._parts.when_not_measuring.measuring:
            self._parts.when_not_measuring.ended()
