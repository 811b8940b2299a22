"""The self-test of a bundle in a process of its own: golden outputs, under the memory cap and the document's limits.

Decides: which end of that process is which reason. Leaves out: what follows (`machine.py`), and the comparison of the
outputs (`agent/measure/golden.py`, in the worker).
"""

import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from agent.config import AgentConfig, WorkersConfig
from agent.errors import WorkerNotStarted
from agent.measure.orders import Result, SelftestOrder
from agent.measure.process import Canceled, run_worker
from wire.update import Limits, ReportedError

Answer = Callable[[ReportedError | None], None]


class SelfTestRun:
    """One self-test under way, in a thread that lives as long as its process. `answer` is called on that thread."""

    def __init__(
        self, order: SelftestOrder, limits: Limits, answer: Answer, workers: WorkersConfig | None = None
    ) -> None:
        self._order = order
        self._workers = workers
        self._limits = limits
        self._answer = answer
        self._cancel = threading.Event()
        self._thread = threading.Thread(target=self._run, name="selftest", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def cancel(self) -> None:
        """End the process; nobody is told."""
        self._cancel.set()

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)

    def _run(self) -> None:
        folder = self._order.result_path.parent
        try:
            result = run_worker(self._order, self._limits.selftest_s, self._cancel, workers=self._workers).result
        except Canceled:
            return
        except (OSError, WorkerNotStarted) as exc:
            detail = f"the self-test's process could not be started: {exc}"[:2000]
            self._answer(ReportedError(code="selftest_not_started", error_class="retryable", detail=detail))
            return
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        self._answer(verdict(result, self._limits))


def make_order(bundle_dir: Path, config: AgentConfig) -> SelftestOrder:
    """Return the order, with a folder of its own for the result.

    Raises:
        OSError: The folder cannot be made.
    """
    folder = Path(tempfile.mkdtemp(prefix="selftest-", dir=config.state_dir / "run"))
    return SelftestOrder(
        bundle_dir=bundle_dir,
        result_path=folder / "result.json",
        threads=config.threads,
        memory_cap_bytes=config.memory_cap_bytes,
        cache_dir=config.kernel_cache,
    )


def verdict(result: Result, limits: Limits) -> ReportedError | None:
    """Return why the bundle is not fit for this device, or None.

    `incompatible` means that the engine cannot run such a bundle at all; everything else counts against it.
    """
    if result.outcome == "incompatible":
        return _because("incompatible", result, "engine_missing")
    if result.outcome == "failed":
        return _because("terminal", result, "worker_crashed")
    if result.outcome == "unfit" or result.golden is None or not result.golden.passed:
        detail = result.golden.detail if result.golden is not None else "the worker told nothing of its golden outputs"
        return _because("terminal", result, "golden_mismatch", detail)
    peak = result.memory.peak_bytes if result.memory is not None else 0
    if limits.memory_bytes is not None and peak > limits.memory_bytes:
        detail = f"peak memory {peak} bytes, the document allows {limits.memory_bytes}"
        return ReportedError(code="memory_limit", error_class="terminal", detail=detail)
    return None


def _because(error_class: str, result: Result, code: str, detail: str = "") -> ReportedError:
    if result.error is not None:
        code, detail = result.error.code, result.error.detail or detail
    return ReportedError.model_validate({"code": code, "error_class": error_class, "detail": detail[:2000]})
