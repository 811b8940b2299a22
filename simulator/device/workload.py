"""The shell around the agent's update machine: event -> machine -> instructions carried out in virtual time.

Decides: nothing that the machine could decide; it only knows how each instruction is pretended. What the agent saves
on its disk first is in memory here. Downloads are real; self-tests, switches and serving take time and do nothing.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from agent.loop import Call, Timer
from agent.update.machine import step
from agent.update.vocabulary import (
    Abort,
    AwaitWindow,
    Check,
    Checked,
    CollectGarbage,
    Continue,
    Event,
    Facts,
    Fetch,
    Fetched,
    GoBack,
    Instruction,
    ProbationOver,
    Proceed,
    Report,
    Restarted,
    Saved,
    SelfTest,
    SelfTested,
    Serve,
    Switch,
    Switched,
    Tell,
    Ticket,
    Verified,
    Verify,
    Watch,
    WentBack,
    WindowOpen,
    WorkFailed,
)
from agent.update.workload import WINDOW_LOOK_S, is_open
from simulator.classes import SimulatedClass
from simulator.device.downloads import Downloads
from simulator.device.serving import VirtualServing
from simulator.device.site import Site
from simulator.device.voice import DISK_FREE_BYTES, Voice
from simulator.draw import Traits, failure_of
from wire.artifact import ArtifactRef
from wire.device_state import State
from wire.manifest import BundleManifest
from wire.update import Have, ReportedError, Window

SWITCH_S = 0.5
"""Starting a worker and ending another [virtual s]."""
PROGRESS_EVERY_S = 1.0


@dataclass(frozen=True)
class Parts:
    """What the workloads of one device share."""

    site: Site
    cls: SimulatedClass
    traits: Traits
    voice: Voice
    downloads: Downloads
    when_not_measuring: "WhenNotMeasuring"
    committed: Callable[[], None]
    """A workload has committed to a bundle: somebody waits to hear how it does."""
    collect_garbage: Callable[[], None]

    def facts(self, serving: bool = False) -> Facts:
        """Return what the device is and has now."""
        return Facts(
            fleet=self.site.settings.fleet,
            device=self.voice.device,
            engines=frozenset(self.cls.engines),
            disk_free_bytes=DISK_FREE_BYTES,
            now_s=self.site.clock(),
            serving=serving,
            complete=frozenset(self.downloads.here),
        )


class WhenNotMeasuring:
    """Makes a call once the device does not measure: the plan's, looked at when it is needed."""

    def __init__(self) -> None:
        self.measuring = False
        self._waiting: list[VirtualWorkload] = []

    def proceed(self, workload: "VirtualWorkload") -> None:
        """Have a workload go on, now or after the group that is being measured."""
        if self.measuring:
            self._waiting.append(workload)
        else:
            workload.post(Proceed())

    def ended(self) -> None:
        """The group has ended."""
        self.measuring, waiting, self._waiting = False, self._waiting, []
        for workload in waiting:
            workload.post(Proceed())


class VirtualWorkload:
    """One workload of one device."""

    def __init__(self, name: str, parts: Parts) -> None:
        self.saved = Saved(workload=name)
        self._parts = parts
        self.serving = VirtualServing(parts.site, parts.voice.device, parts.cls, parts.traits)
        self._timer: Timer | None = None
        self._have: Have | None = None
        self._told_s = 0.0
        self._off = False
        parts.site.counts.moved(None, self.saved.state.value)

    def handle(self, event: Event) -> None:
        """Take one step, and do what it asks for; nothing while the device is off."""
        if self._off:
            return
        after, instructions = step(self.saved, event)
        moved, before, self.saved = after.state is not self.saved.state, self.saved.state, after
        if moved:
            self._parts.site.counts.moved(before.value, after.state.value)
        if moved and after.state is State.COMMITTED:
            self._parts.committed()
        for instruction in instructions:
            self._carry_out(instruction)

    def post(self, event: Event) -> None:
        """Have an event handled in its turn."""
        self._parts.site.loop.post(lambda: self.handle(event))

    def report(self) -> None:
        """Publish what the workload is."""
        active = self.saved.active if self.saved.active in self._parts.downloads.here else None
        have = self._have if self.saved.state in (State.DOWNLOAD, State.VERIFY) else None
        self._parts.voice.report(self.saved, active, self.serving.bundle, have)

    def wanted(self) -> set[str]:
        """Return the artifacts that must stay."""
        documents = [self.saved.desired, self.saved.next_desired]
        asked = [document.bundle.digest for document in documents if document is not None and document.bundle]
        return {digest for digest in (self.saved.active, self.saved.previous, *asked) if digest is not None}

    def power_cut(self) -> None:
        """End all work at once; what was saved stays."""
        self._abort()
        self._off, self.serving.bundle = True, None

    def power_back(self) -> None:
        """Go on where the saved state says."""
        self._off = False
        self.handle(Restarted())

    def _carry_out(self, instruction: Instruction) -> None:
        match instruction:
            case Report():
                self.report()
            case Tell():
                self._parts.voice.tell(self.saved.workload, instruction)
            case Abort():
                self._abort()
            case Continue() if self.saved.state is State.STAGED:
                self._parts.when_not_measuring.proceed(self)
            case Continue():
                self.post(Proceed())
            case CollectGarbage():
                self._parts.collect_garbage()
            case Check(ticket):
                serves = self.serving.bundle is not None and self.serving.bundle == self.saved.active
                self.post(Checked(ticket, self._parts.facts(serves)))
            case AwaitWindow(ticket, window):
                self._await_window(ticket, window)
            case Fetch(ticket, ref, after_s):
                self._timer = self._parts.site.loop.after(after_s, lambda: self._fetch(ticket, ref))
            case Verify(ticket, ref):
                self._verify(ticket, ref)
            case SelfTest():
                self._self_test(instruction)
            case _:
                self._carry_out_serving(instruction)

    def _carry_out_serving(self, instruction: Instruction) -> None:
        match instruction:
            case Switch(ticket, to, _):
                self._later(SWITCH_S, lambda: self._serve(to, Switched(ticket)))
            case Watch():
                self._watch(instruction)
            case GoBack(ticket, to):
                self._later(SWITCH_S, lambda: self._serve(to, WentBack(ticket)))
            case Serve(bundle):
                self._serve(bundle, None)

    def _later(self, virtual_s: float, call: Call) -> None:
        seconds = self._parts.site.seconds(virtual_s * self._parts.traits.pace)
        self._timer = self._parts.site.loop.after(seconds, call)

    def _serve(self, bundle: str | None, answer: Event | None) -> None:
        changed, self.serving.bundle = self.serving.bundle != bundle, bundle
        if answer is not None:
            self.handle(answer)
        elif changed:
            self.report()

    def _await_window(self, ticket: Ticket, window: Window | None) -> None:
        clock = time.localtime(self._parts.site.clock())
        if window is None or is_open(window, clock.tm_hour * 60 + clock.tm_min):
            self.post(WindowOpen(ticket))
        else:
            self._timer = self._parts.site.loop.after(WINDOW_LOOK_S, lambda: self._await_window(ticket, window))

    def _fetch(self, ticket: Ticket, ref: ArtifactRef) -> None:
        def done(error: ReportedError | None) -> None:
            self.handle(Fetched(ticket) if error is None else WorkFailed(ticket, error))

        self._parts.site.counts.downloads += 1
        self._parts.downloads.fetch(self._who, ref, done, self._progressed)

    def _progressed(self, have: Have) -> None:
        self._have = have
        now_s = self._parts.site.loop.now()
        if have.chunks == have.of_chunks or now_s - self._told_s >= PROGRESS_EVERY_S:
            self._told_s = now_s
            self.report()

    def _verify(self, ticket: Ticket, ref: ArtifactRef) -> None:
        found = self._parts.downloads.verify(ref)
        if isinstance(found, ReportedError):
            self.post(WorkFailed(ticket, found))
        elif isinstance(found, BundleManifest):
            self.post(Verified(ticket, found.engine, frozenset(self._parts.cls.engines)))
        else:
            detail = "the document asks to run an evaluation set"
            self.post(WorkFailed(ticket, ReportedError(code="bad_bundle", error_class="terminal", detail=detail)))

    def _self_test(self, asked: SelfTest) -> None:
        error = None
        if self._fails("selftest", asked.bundle):
            error = ReportedError(code="golden_mismatch", error_class="terminal", detail="drawn by the simulator")
        answer = SelfTested(asked.ticket, error)
        # What a retry waits is the agent's own back-off, in seconds of the clock.
        self._timer = self._parts.site.loop.after(
            asked.after_s, lambda: self._later(self._parts.cls.selftest_s, lambda: self.handle(answer))
        )

    def _watch(self, asked: Watch) -> None:
        self._serve(asked.bundle, None)
        answer: Event = ProbationOver(asked.ticket)
        if self._fails("probation", asked.bundle):
            error = ReportedError(code="worker_crashed", error_class="terminal", detail="drawn by the simulator")
            answer = WorkFailed(asked.ticket, error)
        self._timer = self._parts.site.loop.after(asked.probation_s, lambda: self.handle(answer))

    def _fails(self, how: str, bundle: str) -> bool:
        fails = self._parts.traits.failing
        return fails and failure_of(self._parts.site.settings.seed, self._parts.voice.device, bundle) == how

    def _abort(self) -> None:
        self._parts.downloads.leave(self._who)
        if self._timer is not None:
            self._timer.cancel()
        self._have = None

    @property
    def _who(self) -> str:
        return f"workload {self.saved.workload}"
