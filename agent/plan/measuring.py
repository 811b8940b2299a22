"""One group of trials being measured, in a thread that waits for the worker processes.

Decides: that the host's turn is waited for before serving pauses, so that waiting costs no serving. Leaves out: the
measuring itself (`agent/measure/queue.py`, loaded only here) and what becomes of the records (`runner.py`).
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from agent.config import AgentConfig
from agent.measure.conditions.heat import IDLE_NAME, IdleTemperature
from agent.measure.host.turns import host_lock
from agent.measure.process import Canceled
from agent.measure.queue import measure_group
from agent.measure.session import MeasureContext
from wire.trial import TrialRecord, TrialRequest

log = logging.getLogger(__name__)

PAUSE_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Heard:
    """Who hears of it; all are called on the measuring thread."""

    turn: Callable[[], None]
    record: Callable[[TrialRecord], None]
    end: Callable[[str], None]


def measure_context(config: AgentConfig, version: str, plan_gen: int) -> MeasureContext:
    """Return where and for whom is measured. The host's lock is held by `Measuring`, not by the queue."""
    return MeasureContext(
        fleet=config.fleet,
        device=config.device,
        agent_version=version,
        plan_gen=plan_gen,
        threads=config.threads,
        memory_cap_bytes=config.memory_cap_bytes,
        cache_dir=config.kernel_cache,
        engines_allowed=config.engines_allowed,
        emulated=config.emulated,
        work_dir=config.state_dir / "run",
        workers=config.workers,
        idle=IdleTemperature(config.state_dir / IDLE_NAME),
    )


class Measuring:
    """Measures one group. Call `go` once serving has paused."""

    def __init__(
        self,
        requests: Sequence[TrialRequest],
        folders: Mapping[str, Path],
        context: MeasureContext,
        lock_path: Path | None,
        heard: Heard,
    ) -> None:
        self.requests = tuple(requests)
        self._folders = folders
        self._context = context
        self._lock_path = lock_path
        self._heard = heard
        self._longest_s: float | None = None
        self._paused = threading.Event()
        self._cancel = threading.Event()
        self._thread = threading.Thread(target=self._run, name="measuring", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def go(self, longest_s: float | None = None) -> None:
        """Begin: serving has paused for at most `longest_s`, or nobody is served (null)."""
        self._longest_s = longest_s
        self._paused.set()

    def cancel(self) -> None:
        """End the process that measures; records that are complete stay."""
        self._cancel.set()
        self._paused.set()

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)

    @property
    def canceled(self) -> bool:
        return self._cancel.is_set()

    def _run(self) -> None:
        fault = ""
        try:
            with host_lock(self._lock_path, self._cancel):
                self._heard.turn()
                self._paused.wait(PAUSE_TIMEOUT_S)
                context = replace(self._context, longest_s=self._longest_s)
                arguments = (self.requests, self._folders, self._folders, context, self._cancel)
                for record in measure_group(*arguments):
                    self._heard.record(record)
        except Canceled:
            pass
        except Exception as exc:
            # The outermost loop of this thread: a fault here is a failed record, not a dead device.
            log.exception("measuring failed")
            fault = f"{type(exc).__name__}: {exc}"
        self._heard.end(fault)
