"""One run of a serving worker: from its start over its first "ready" to its end, watched for silence.

Decides: when a worker is ready, when it is taken for hung, and what its end is called. Leaves out: whether another one
follows (`serving.py`).
"""

import logging
import socket
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.child import Command
from agent.config import AgentConfig
from agent.errors import WorkerNotStarted
from agent.loop import Loop, Timer
from agent.serve.orders import ServeOrder
from agent.supervise.gateway import GatewayProcess
from agent.supervise.worker_process import Ending, WorkerProcess
from wire.update import ReportedError

log = logging.getLogger(__name__)

MODULE = "agent.serve.worker"

READY_TIMEOUT_S = 120.0
"""Import, load and, on a first start, kernels from the cache: seconds on a Pi; a worker that takes longer hangs."""

LONGEST_SILENCE_S = 60.0
"""A worker that serves says something every few seconds; boards that swap get some patience."""

METRICS_EVERY_S = 1.0
"""The worker's lines come often, so that a short probation sees queries; the agent merges them to its own interval."""


@dataclass(frozen=True)
class RunSetup:
    """What all runs of this agent share."""

    loop: Loop
    config: AgentConfig
    gateway: GatewayProcess

    def command(self, order_path: Path, bundle_dir: Path) -> Command:
        """Return how a worker is started: what it may see, and what holds it."""
        config = self.config
        return Command(
            MODULE,
            (str(order_path),),
            config.threads,
            config.memory_cap_bytes,
            stdin_socket=True,
            readable=(order_path, bundle_dir, config.kernel_cache),
            **config.workers.held(),
        )

    def order(self, workload: str, bundle_dir: Path) -> ServeOrder:
        """Return what the worker of `bundle_dir` is told."""
        return ServeOrder.model_validate(
            {
                "workload": workload,
                "bundle_dir": bundle_dir,
                "threads": self.config.threads,
                "memory_cap_bytes": self.config.memory_cap_bytes,
                "memory_cap_by": "parent",
                "cache_dir": self.config.kernel_cache,
                "metrics_interval_s": METRICS_EVERY_S,
            }
        )


class ServingRun:
    """A worker that serves one bundle. `on_end(error)` is called once, however it ends; null error: it was asked to."""

    def __init__(
        self,
        setup: RunSetup,
        workload: str,
        bundle: str,
        bundle_dir: Path,
        *,
        on_ready: Callable[["ServingRun"], None],
        on_metrics: Callable[[Mapping[str, Any]], None],
        on_end: Callable[["ServingRun", ReportedError | None], None],
    ) -> None:
        """Start the worker.

        Raises:
            OSError: The process could not be made, or its order not written.
        """
        self.bundle = bundle
        self.bundle_dir = str(bundle_dir)
        self.run = f"{bundle[:12]}-{uuid.uuid4().hex[:8]}"
        self.ready = False
        self._setup = setup
        self._on_ready = on_ready
        self._on_metrics = on_metrics
        self._on_end = on_end
        self._stopping = False
        self._paused = False
        self._fault: ReportedError | None = None
        self._last_error = ""
        self._watchdog: Timer | None = None
        self._order_path = setup.config.state_dir / "run" / f"serve-{workload}-{self.run}.json"
        self._process = self._start(workload, bundle_dir)
        self._expect_a_word(READY_TIMEOUT_S)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def stopping(self) -> bool:
        """Whether it was asked to end."""
        return self._stopping

    def stop(self) -> None:
        """Ask the worker to end."""
        self._stopping = True
        self._process.stop()

    def kill(self) -> None:
        """End the worker at once."""
        self._stopping = True
        self._process.kill()

    def give(self, channel: socket.socket) -> None:
        """Have the worker take its queries from `channel`."""
        self._process.attach(channel)

    def pause(self, paused: bool) -> None:
        """Do not take silence amiss while the device measures."""
        self._paused = paused
        self._expect_a_word(LONGEST_SILENCE_S if self.ready else READY_TIMEOUT_S)

    def _start(self, workload: str, bundle_dir: Path) -> WorkerProcess:
        order = self._setup.order(workload, bundle_dir)
        self._order_path.write_text(order.model_dump_json(exclude_none=True), encoding="utf-8")
        command = self._setup.command(self._order_path, bundle_dir)
        return WorkerProcess(self._setup.loop, command, on_line=self._heard, on_end=self._ended)

    def _heard(self, line: Mapping[str, Any]) -> None:
        self._expect_a_word(LONGEST_SILENCE_S if self.ready else READY_TIMEOUT_S)
        match line.get("event"):
            case "ready" if not self.ready and not self._stopping:
                self.ready = True
                self._on_ready(self)
            case "metrics":
                self._on_metrics(line.get("workload_metrics") or {})
            case "error":
                self._last_error = str(line.get("detail") or line.get("error") or line)[:500]
                log.warning("worker %d of %s: %s", self.pid, self.bundle[:12], self._last_error)

    def _expect_a_word(self, within_s: float) -> None:
        if self._watchdog is not None:
            self._watchdog.cancel()
        self._watchdog = self._setup.loop.after(within_s, self._fell_silent)

    def _fell_silent(self) -> None:
        if self._paused and self.ready:
            return
        code = "worker_silent" if self.ready else "worker_start_timeout"
        self._fault = ReportedError(code=code, error_class="terminal", detail="the worker said nothing and was killed")
        self._process.kill()

    def _ended(self, ending: Ending) -> None:
        if self._watchdog is not None:
            self._watchdog.cancel()
        self._order_path.unlink(missing_ok=True)
        self.ready = False
        error = None if self._stopping else self._fault or self._crash(ending)
        if error is not None:
            log.warning("worker %d of %s: %s", self.pid, self.bundle[:12], error.detail)
        self._on_end(self, error)

    def _crash(self, ending: Ending) -> ReportedError:
        if not ending.launched and not ending.out_of_memory:
            detail = f"the serving worker ended before its work began: {ending.how}"
            return ReportedError(code=WorkerNotStarted.reason, error_class="retryable", detail=detail)
        code = "out_of_memory" if ending.out_of_memory else "worker_crashed"
        last = f"; its last error: {self._last_error}" if self._last_error else ""
        return ReportedError(code=code, error_class="terminal", detail=f"the serving worker ended: {ending.how}{last}")
