"""Serving one workload: which bundle's worker runs, the change from one to the next, restarts after a crash.

Decides: two workers while they change over where memory allows it, else stop-then-start; a crash goes to whoever guards
(switch, probation), else the worker is started again, ever later. One that could not even be started is started again
in any case. Leaves out: what a crash means (`update/machine.py`).
"""

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from agent.device.vitals import read_vitals
from agent.loop import Timer
from agent.supervise.run import RunSetup, ServingRun
from agent.supervise.tally import Tally
from wire.telemetry import WorkloadMetrics
from wire.update import ReportedError

log = logging.getLogger(__name__)

FIRST_RESTART_S = 1.0
LONGEST_RESTART_S = 60.0
MOST_STARTS = 6
"""So often a switch or probation starts a worker whose work never began (31 s in all), before it gives up."""

CALM_AFTER_S = 60.0
"""A worker that lived so long may crash again without waiting longer than the first time."""

OVERLAP_MARGIN_BYTES = 64 * 1024 * 1024
UNKNOWN_WORKER_BYTES = 256 * 1024 * 1024
"""Assumed for a worker whose memory nobody has seen: 65 to 210 MB were measured with small models."""

Settled = Callable[[ReportedError | None], None]
TellServing = Callable[[str, str], None]


class Serving:
    """The workers of one workload. All methods belong to the consumer thread; answers never come at once."""

    def __init__(self, workload: str, setup: RunSetup, find: Callable[[str], Path | None], tell: TellServing) -> None:
        """Serve nothing yet.

        Args:
            workload: Its name.
            setup: What all runs share.
            find: Bundle digest -> its folder, null where it is not complete.
            tell: Publishes (reason, detail).
        """
        self.tally = Tally(workload)
        self._workload = workload
        self._setup = setup
        self._find = find
        self._tell = tell
        self._wanted: str | None = None
        self._run: ServingRun | None = None
        self._next: ServingRun | None = None
        self._settled: Settled | None = None
        self._guard: Callable[[ReportedError], None] | None = None
        self._restart: Timer | None = None
        self._starts = 1
        self._delay_s = FIRST_RESTART_S
        self._waited_s = 0.0
        self._changed: Callable[[], None] | None = None
        self._started_s = 0.0
        self._paused = False
        self._metrics_heard: Callable[[WorkloadMetrics], None] | None = None
        self._rss_bytes: int | None = None
        setup.gateway.listen(workload, self.tally.add_gateway)

    @property
    def bundle(self) -> str | None:
        """Digest of the bundle whose worker is ready."""
        return self._run.bundle if self._run is not None and self._run.ready else None

    @property
    def waited_s(self) -> float:
        """How long the last start had to wait because of a crash; 0 where none came before it."""
        return self._waited_s

    @property
    def pids(self) -> list[int]:
        return [run.pid for run in (self._run, self._next) if run is not None]

    @property
    def busy(self) -> bool:
        """Whether any worker still runs."""
        return self._run is not None or self._next is not None

    def serve(self, bundle: str | None, settled: Settled | None = None) -> None:
        """Serve `bundle` (null: nothing), restarted when it crashes; `settled` hears of its first ready or end."""
        self._begin(bundle, None, settled)

    def switch(self, bundle: str, settled: Settled) -> None:
        """Go over to `bundle`; `settled(error)` with null once it is ready and the old worker has ended."""
        if self._run is None or self._run.bundle == bundle or not self._room_for_two():
            self._tell("stop_then_start", "the old worker ends before the new one starts") if self.bundle else None
            self._begin(bundle, lambda _: None, settled)
            return
        self._tell("overlap", "the old worker serves until the new one is ready")
        self._plan(bundle, lambda _: None, settled)
        self._next = self._started(bundle)

    def watch(self, bundle: str, ready: Callable[[], None], failed: Callable[[ReportedError], None]) -> None:
        """Serve `bundle`, and have `failed` called at its first crash; `ready` once it serves."""

        def settled(error: ReportedError | None) -> None:
            if error is None:
                ready()

        self._begin(bundle, failed, settled)

    def calm(self) -> None:
        """End the guard: from now on a crash is met with a restart."""
        self._guard = None
        self._metrics_heard = None

    def hear_metrics(self, heard: Callable[[WorkloadMetrics], None] | None) -> None:
        """Have `heard` called for every metrics line, beside the tally."""
        self._metrics_heard = heard

    def hear_changes(self, changed: Callable[[], None]) -> None:
        """Have `changed` called whenever a worker has become ready or has ended: `bundle` may be another."""
        self._changed = changed

    def pause(self, paused: bool) -> None:
        """Expect no queries until it is called with False: the gateway holds them back while the device measures."""
        self._paused = paused
        for run in self._runs():
            run.pause(paused)

    def kill(self) -> None:
        """End everything at once: the agent stops."""
        self._wanted, self._settled, self._guard = None, None, None
        for run in self._runs():
            run.kill()

    def _runs(self) -> list[ServingRun]:
        return [run for run in (self._run, self._next) if run is not None]

    def _begin(
        self, bundle: str | None, guard: Callable[[ReportedError], None] | None, settled: Settled | None
    ) -> None:
        self._plan(bundle, guard, settled)
        if bundle is None:
            self._setup.gateway.idle(self._workload)
        else:
            self._setup.gateway.expect(self._workload)
        if self._next is not None:
            self._end(self._next)
        if self._run is None:
            self._start_wanted()
        elif self._run.bundle != bundle or self._run.stopping:
            self._end(self._run)
        elif self._run.ready:
            self._setup.loop.post(lambda: self._settle(None))

    def _plan(self, bundle: str | None, guard: Callable[[ReportedError], None] | None, settled: Settled | None) -> None:
        """Note what is wanted from now on; what was wanted before is forgotten."""
        if self._restart is not None:
            self._restart.cancel()
        self._wanted, self._guard, self._settled = bundle, guard, settled
        self._delay_s, self._waited_s, self._starts = FIRST_RESTART_S, 0.0, 1

    def _start_wanted(self) -> None:
        if self._run is not None:
            if self._next is None and self._wanted not in (None, self._run.bundle) and not self._run.stopping:
                self._next = self._started(self._wanted)
            return
        if self._wanted is None:
            self._setup.loop.post(lambda: self._settle(None))
            return
        self._run = self._started(self._wanted)

    def _started(self, bundle: str) -> ServingRun | None:
        self._started_s = time.monotonic()
        folder = self._find(bundle)
        if folder is None:
            detail = f"bundle {bundle[:12]} is not on this device: deploy it again"
            self._failed_later(ReportedError(code="bundle_missing", error_class="terminal", detail=detail))
            return None
        try:
            run = ServingRun(
                self._setup,
                self._workload,
                bundle,
                folder,
                on_ready=self._ready,
                on_metrics=self._metrics,
                on_end=self._ended,
            )
        except OSError as exc:
            detail = f"the serving worker could not be started: {exc}"
            self._failed_later(ReportedError(code="worker_not_started", error_class="retryable", detail=detail))
            return None
        if self._paused:
            run.pause(True)
        return run

    def _failed_later(self, error: ReportedError) -> None:
        self._setup.loop.post(lambda: self._failed(error))

    def _end(self, run: ServingRun) -> None:
        """Have a worker end once it has answered what it was asked."""
        self._setup.gateway.detach(self._workload, run.run)
        run.stop()

    def _ready(self, run: ServingRun) -> None:
        """Have the new worker asked before the old one is told to end: no query finds nobody."""
        self._setup.gateway.attach(self._workload, run)
        if run is self._next and self._run is not None:
            self._end(self._run)
        elif run is self._run:
            self._settle(None)
        self._say_changed()

    def _metrics(self, fields: Mapping[str, Any]) -> None:
        metrics = self.tally.add(fields)
        if metrics is not None:
            self._rss_bytes = metrics.worker_rss_bytes or self._rss_bytes
            if self._metrics_heard is not None:
                self._metrics_heard(metrics)

    def _ended(self, run: ServingRun, error: ReportedError | None) -> None:
        self._follow(run, error)
        self._say_changed()

    def _say_changed(self) -> None:
        if self._changed is not None:
            self._changed()

    def _follow(self, run: ServingRun, error: ReportedError | None) -> None:
        """Go on after a worker's end: with the next one, with what is wanted, or with what its failure asks for."""
        if run is self._next:
            self._next = None
            if error is not None:
                self._failed(error)
            return
        if run is not self._run:
            return
        self._run, self._next = self._next, None
        if self._run is not None:
            self._took_over(self._run)
        elif error is None or run.bundle != self._wanted:
            self._start_wanted()
        else:
            self._failed(error)

    def _took_over(self, run: ServingRun) -> None:
        """The old worker has ended while the new one runs or starts."""
        if run.bundle != self._wanted or run.stopping:
            self._end(run)
        elif run.ready:
            self._settle(None)

    def _failed(self, error: ReportedError) -> None:
        if self._guard is not None and self._is_worth_another_start(error):
            self._start_again(error)
            return
        settled, guard = self._settled, self._guard
        self._settled = self._guard = None
        if guard is None:
            self._start_again(error)
        else:
            self._wanted = self._run.bundle if self._run is not None else None
        if settled is not None:
            settled(error)
        if guard is not None:
            guard(error)

    def _is_worth_another_start(self, error: ReportedError) -> bool:
        """Return whether the fault lies in the start, not in the bundle, and starts are left."""
        if error.error_class != "retryable" or self._starts >= MOST_STARTS:
            return False
        self._starts += 1
        return True

    def _start_again(self, error: ReportedError) -> None:
        if time.monotonic() - self._started_s > CALM_AFTER_S:
            self._delay_s = FIRST_RESTART_S
        self._tell(error.code, f"{error.detail}; started again in {self._delay_s:.0f} s")
        self.tally.restarted()
        self._restart = self._setup.loop.after(self._delay_s, self._start_wanted)
        self._waited_s = self._delay_s
        self._delay_s = min(LONGEST_RESTART_S, self._delay_s * 2)

    def _settle(self, error: ReportedError | None) -> None:
        settled, self._settled = self._settled, None
        if settled is not None:
            settled(error)

    def _room_for_two(self) -> bool:
        """Return whether a second worker fits: twice the cap, or what the present one takes, plus a margin."""
        available = read_vitals().memory_available_bytes
        needed = self._setup.config.memory_cap_bytes or self._rss_bytes or UNKNOWN_WORKER_BYTES
        return available is not None and available >= needed + OVERLAP_MARGIN_BYTES
