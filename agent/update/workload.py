"""The shell around one workload's machine: event -> machine -> state on the disk -> instructions carried out.

Decides: nothing that the machine could decide; it only knows how each instruction is done. The state is saved before
any instruction is carried out, and what work answers comes back as an event.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from agent.artifacts.assemble import Assembled
from agent.artifacts.downloads import Downloads
from agent.artifacts.store import ArtifactStore
from agent.config import AgentConfig
from agent.device.durable import WRITE_FAULTS, fault_reason
from agent.device.reporter import Reporter
from agent.loop import Loop, Timer
from agent.serve.settings import asks
from agent.supervise.attestation import Attestation
from agent.supervise.serving import Serving
from agent.update.machine import step
from agent.update.probation import Probation
from agent.update.selftest import SelfTestRun, make_order
from agent.update.slots import WorkloadFolder
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
from wire.artifact import ArtifactRef
from wire.device_state import State
from wire.manifest import BundleManifest
from wire.update import Have, ReportedError, Window

log = logging.getLogger(__name__)

WINDOW_LOOK_S = 30.0
SAVE_AGAIN_S = 10.0
PROGRESS_EVERY_S = 1.0


@dataclass(frozen=True)
class Device:
    """What all workloads of one agent share."""

    config: AgentConfig
    loop: Loop
    store: ArtifactStore
    downloads: Downloads
    reporter: Reporter
    facts: Callable[[bool], Facts]
    collect_garbage: Callable[[bool], None]
    when_not_measuring: Callable[[Callable[[], None]], None]
    committed: Callable[[], None] = lambda: None
    """Called when a workload has committed to a bundle: somebody waits to hear how it does."""


class Workload:
    """One workload on this device. All methods belong to the consumer thread."""

    def __init__(self, folder: WorkloadFolder, serving: Serving, device: Device) -> None:
        self.saved: Saved = folder.load()
        self.serving = serving
        self._folder = folder
        self._device = device
        self._have: Have | None = None
        self._progress_told_s = 0.0
        self._selftest: SelfTestRun | None = None
        self._probation: Probation | None = None
        self._timer: Timer | None = None
        self._stopped = False
        self._attestation = Attestation(device.loop, serving, self._serving_changed)
        self._who = f"workload {self.saved.workload}"

    @property
    def name(self) -> str:
        return self.saved.workload

    def handle(self, event: Event) -> None:
        """Take one step, and do what it asks for. After `stop` nothing is begun: the disk says where to go on."""
        if self._stopped:
            return
        after, instructions = step(self.saved, event)
        if after is not self.saved and not self._save(after, event):
            return
        for instruction in instructions:
            self._carry_out(instruction)

    def report(self) -> None:
        """Publish what the workload is: `active` lies on this disk, `serving` is ready, whatever the state claims."""
        active = self.saved.active
        found = active if active is not None and self._device.store.find(active) is not None else None
        have = self._have if self.saved.state in (State.DOWNLOAD, State.VERIFY) else None
        self._device.reporter.report(self.saved, found, self._attestation.take(), have)

    def _serving_changed(self) -> None:
        if not self._stopped:
            self.report()

    def wanted(self) -> set[str]:
        """Return the artifacts that must stay: active, previous, and what the documents in hand ask for."""
        documents = [self.saved.desired, self.saved.next_desired]
        asked = [document.bundle.digest for document in documents if document is not None and document.bundle]
        return {digest for digest in (self.saved.active, self.saved.previous, *asked) if digest is not None}

    def stop(self) -> None:
        """End every child process, at once."""
        self._stopped = True
        self._end_probation()
        self._abort()
        self.serving.kill()

    def _save(self, after: Saved, event: Event) -> bool:
        """Save, or try the whole event again later: nothing is done that is not on the disk first."""
        try:
            self._folder.save(after)
        except WRITE_FAULTS as exc:
            log.error("workload %s: %s", self.name, exc)
            tell = Tell("agent", self.saved.gen, reason=fault_reason(exc), detail=str(exc))
            self._device.reporter.tell(self.name, tell)
            self._device.collect_garbage(True)
            self._device.loop.after(SAVE_AGAIN_S, lambda: self.handle(event))
            return False
        if after.state is not self.saved.state:
            log.info("workload %s: %s -> %s (gen %d)", self.name, self.saved.state, after.state, after.gen)
        has_committed = after.state is State.COMMITTED and self.saved.state is not State.COMMITTED
        self.saved = after
        if has_committed:
            self._device.committed()
        return True

    def _carry_out(self, instruction: Instruction) -> None:
        match instruction:
            case Report():
                self.report()
            case Tell():
                self._device.reporter.tell(self.name, instruction)
            case Abort():
                self._abort()
            case Continue():
                self._continue()
            case CollectGarbage():
                self._device.collect_garbage(False)
            case Check(ticket):
                self._check(ticket)
            case AwaitWindow(ticket, window):
                self._await_window(ticket, window)
            case Fetch(ticket, ref, after_s):
                self._timer = self._device.loop.after(after_s, lambda: self._fetch(ticket, ref))
            case Verify(ticket, ref):
                self._device.downloads.assemble(ref, lambda answer: self._assembled(ticket, answer))
            case SelfTest():
                self._timer = self._device.loop.after(instruction.after_s, lambda: self._self_test(instruction))
            case _:
                self._carry_out_serving(instruction)

    def _carry_out_serving(self, instruction: Instruction) -> None:
        match instruction:
            case Switch(ticket, to, _):
                self.serving.switch(to, lambda error: self._answer(Switched(ticket), error, ticket))
            case Watch():
                self._watch(instruction)
            case GoBack(ticket, to):
                self._end_probation()
                self.serving.serve(to, lambda _: self.handle(WentBack(ticket)))
            case Serve(bundle):
                self.serving.serve(bundle)

    def _answer(self, good: Event, error: ReportedError | None, ticket: Ticket) -> None:
        self.handle(good if error is None else WorkFailed(ticket, error))

    def _post(self, event: Event) -> None:
        self._device.loop.post(lambda: self.handle(event))

    def _continue(self) -> None:
        if self.saved.state is State.STAGED:
            # The self-test would disturb what is being measured, and the measuring the self-test.
            self._device.when_not_measuring(lambda: self.handle(Proceed()))
        else:
            self._post(Proceed())

    def _check(self, ticket: Ticket) -> None:
        bundle = self.saved.desired.bundle if self.saved.desired is not None else None
        serving = self.serving.bundle is not None and self.serving.bundle == self.saved.active
        facts = self._device.facts(serving)
        if bundle is not None and bundle.size_bytes + bundle.wire_bytes > facts.disk_free_bytes // 2:
            self._device.collect_garbage(True)
            facts = self._device.facts(serving)
        self._post(Checked(ticket, facts))

    def _await_window(self, ticket: Ticket, window: Window | None) -> None:
        clock = time.localtime()
        if window is None or is_open(window, clock.tm_hour * 60 + clock.tm_min):
            self._post(WindowOpen(ticket))
        else:
            self._timer = self._device.loop.after(WINDOW_LOOK_S, lambda: self._await_window(ticket, window))

    def _fetch(self, ticket: Ticket, ref: ArtifactRef) -> None:
        def done(error: ReportedError | None) -> None:
            self._answer(Fetched(ticket), error, ticket)

        self._device.downloads.fetch(self._who, ref, done, self._progressed)

    def _progressed(self, have: Have) -> None:
        self._have = have
        now_s = time.monotonic()
        if have.chunks == have.of_chunks or now_s - self._progress_told_s >= PROGRESS_EVERY_S:
            self._progress_told_s = now_s
            self.report()

    def _assembled(self, ticket: Ticket, answer: Assembled | ReportedError) -> None:
        if isinstance(answer, ReportedError):
            self.handle(WorkFailed(ticket, answer))
        elif not isinstance(answer.manifest, BundleManifest):
            detail = "the document asks to run an evaluation set"
            self.handle(WorkFailed(ticket, ReportedError(code="bad_bundle", error_class="terminal", detail=detail)))
        else:
            self.handle(Verified(ticket, answer.manifest.engine, self._device.facts(False).engines))

    def _self_test(self, asked: SelfTest) -> None:
        folder = self._device.store.find(asked.bundle)
        if folder is None:
            detail = f"bundle {asked.bundle[:12]} is gone from the disk"
            error = ReportedError(code="bundle_missing", error_class="retryable", detail=detail)
            self._post(SelfTested(asked.ticket, error))
            return
        try:
            order = make_order(folder, self._device.config)
        except OSError as exc:
            error = ReportedError(code="selftest_not_started", error_class="retryable", detail=str(exc))
            self._post(SelfTested(asked.ticket, error))
            return
        workers = self._device.config.workers
        answer = partial(self._self_tested, asked.ticket)
        self._selftest = SelfTestRun(order, asked.limits, answer, workers)
        self._selftest.start()

    def _self_tested(self, ticket: Ticket, error: ReportedError | None) -> None:
        self._post(SelfTested(ticket, error))

    def _watch(self, asked: Watch) -> None:
        def ended(error: ReportedError | None) -> None:
            self._end_probation()
            self._answer(ProbationOver(asked.ticket), error, asked.ticket)

        limits = self.saved.desired.limits if self.saved.desired is not None else None
        source = self._device.config.serve.workload(self.name).source
        self._end_probation()
        self._probation = Probation(self._device.loop, self.serving, asked.probation_s, ended)
        self._probation.start(asked.bundle, asks_queries=asks(source), limits=limits)

    def _end_probation(self) -> None:
        if self._probation is not None:
            self._probation.end()
            self._probation = None

    def _abort(self) -> None:
        self._device.downloads.leave(self._who)
        if self._timer is not None:
            self._timer.cancel()
        if self._selftest is not None:
            self._selftest.cancel()
        self._selftest, self._have = None, None


def is_open(window: Window, minute: int) -> bool:
    """Return whether `minute` of the day lies in `window`, which may span midnight; its end is outside."""
    if window.from_minute <= window.to_minute:
        return window.from_minute <= minute < window.to_minute
    return minute >= window.from_minute or minute < window.to_minute
