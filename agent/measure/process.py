"""A worker that carries out one order: a fresh process, one result out, whatever becomes of the process.

Decides: what a crash, a hang and a cancellation look like to the one who asked. Leaves out: what the order is for, and
how a child process is started and capped (`agent/child.py`).
"""

import os
import select
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

from pydantic import ValidationError

from agent.child import CapBy, Child, Command, spawn
from agent.config import WorkersConfig
from agent.errors import WorkerNotStarted
from agent.inference.engines.providers.compiled import model_cache
from agent.inference.limits import kernel_folder
from agent.inference.order import COMPILING, LONGEST_COMPILE_S
from agent.measure.orders import BaseOrder, MemoryOrder, Result, ResultError

MODULE = "agent.measure.worker"
ORDER_REFUSED = 3
"""The worker's exit code where it cannot read its order."""

CANCEL_POLL_S = 0.25
READ_ON_S = 5.0
"""What an ended worker has said is read to its end, unless a child of its own holds the pipe open."""

STDERR_TAIL_CHARACTERS = 600

COMPILE_LIMIT_S = LONGEST_COMPILE_S
"""Compiling does not count against an order's time, as long as the worker's heartbeat says so, and up to this."""

Progress = Callable[[Mapping[str, Any]], None]


class Canceled(Exception):
    """The cancel event was set; the worker has been ended."""


class Answer(NamedTuple):
    """What came of an order, and what held the worker's memory cap; null where it had none."""

    result: Result
    memory_cap_by: CapBy | None = None


def run_worker(
    order: BaseOrder,
    timeout_s: float,
    cancel: threading.Event,
    progress: Progress | None = None,
    workers: WorkersConfig | None = None,
) -> Answer:
    """Carry out `order` in a fresh process and return its result; a crash or hang is a result as well.

    Args:
        order: Its `result_path` lies in a folder of its own. Its memory cap is imposed as the process is launched.
        timeout_s: After it the process is killed: outcome `failed`, code `worker_timed_out`.
        cancel: Ends the process.
        progress: Gets each progress line, on a thread of its own.
        workers: What holds the process besides; null: the defaults.
    Raises:
        Canceled: `cancel` was set.
        WorkerNotStarted: The process ended before its work began: no fault of the bundle, worth another try.
        OSError: The process could not be made: worth another try as well.
    """
    deadline = Deadline(timeout_s)

    def hear(line: Mapping[str, Any]) -> None:
        deadline.heard(line)
        if progress is not None:
            progress(line)

    with started_worker(order, hear, workers) as running:
        return running.answer(timeout_s, running.ends(deadline, cancel))


@dataclass(frozen=True)
class Running:
    """A worker that was started; `reader` reads what it says."""

    order: BaseOrder
    child: Child
    reader: threading.Thread
    errors: IO[bytes]

    def ends(self, deadline: "Deadline", cancel: threading.Event) -> bool:
        """Return whether the worker ended by itself in time.

        Raises:
            Canceled: `cancel` was set.
        """
        return _wait(self.child, deadline, cancel)

    def answer(self, timeout_s: float, ended: bool = True) -> Answer:
        """Return what came of the order: of a worker that has ended, or of one that had its time, `timeout_s`.

        Raises:
            WorkerNotStarted: Its work had not begun.
        """
        self.reader.join(READ_ON_S if ended else 0.0)
        result = _result(self.order, self.child, self.errors) if ended else _timed_out(self.child, timeout_s)
        return Answer(result, self.child.cap_by)


@contextmanager
def started_worker(order: BaseOrder, hear: Progress, workers: WorkersConfig | None = None) -> Iterator[Running]:
    """Start a worker, and end it in the end, whatever it does by then.

    Args:
        order: As `run_worker` has it.
        hear: Gets each line that the worker says, on a thread of its own.
        workers: What holds the process besides; null: the defaults.
    Raises:
        OSError: The process could not be made.
    """
    capped = order.model_copy(update={"memory_cap_by": "parent"})
    order_path = order.result_path.with_name("order.json")
    order_path.write_text(capped.model_dump_json(exclude_none=True))
    order.result_path.unlink(missing_ok=True)
    with tempfile.TemporaryFile() as errors:
        child = spawn(_command(order, order_path, workers or WorkersConfig()), errors.fileno())
        reader = threading.Thread(target=_read_progress, args=(child, hear), daemon=True)
        reader.start()
        try:
            yield Running(order, child, reader, errors)
        finally:
            _end(child)
            reader.join()
            child.release()


class Deadline:
    """When a worker has had its time. Heartbeats of a compiler put it off."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._began_s = time.monotonic()
        self._ends_s = self._began_s + timeout_s

    def heard(self, line: Mapping[str, Any]) -> None:
        """Take in a progress line."""
        now_s = time.monotonic()
        if line.get("event") == COMPILING and now_s - self._began_s < COMPILE_LIMIT_S:
            self._ends_s = now_s + self._timeout_s

    @property
    def is_over(self) -> bool:
        return time.monotonic() > self._ends_s


def _command(order: BaseOrder, order_path: Path, workers: WorkersConfig) -> Command:
    """Return how the process is started: it sees what the order names, and writes where its result belongs."""
    inputs = (order.bundle_dir, order.root, *(getattr(order, name, None) for name in ("evaluation_dir", "inputs_path")))
    return Command(
        MODULE,
        (str(order_path),),
        order.threads,
        order.memory_cap_bytes,
        readable=(kernel_folder(order.cache_dir), *(path for path in inputs if path is not None)),
        writable=(order.result_path.parent, *model_cache(order)),
        own_leaf=isinstance(order, MemoryOrder),
        **workers.held(),
    )


def _wait(child: Child, deadline: Deadline, cancel: threading.Event) -> bool:
    """Return whether the child ended by itself in time. Woken by its end: polling would disturb what it measures."""
    descriptor = os.pidfd_open(child.pid)
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        while not poll.poll(CANCEL_POLL_S * 1000):
            if cancel.is_set():
                raise Canceled
            if deadline.is_over:
                return False
    finally:
        os.close(descriptor)
    return True


def _end(child: Child) -> None:
    if child.running:
        child.kill()
    child.wait()


def _result(order: BaseOrder, child: Child, errors: IO[bytes]) -> Result:
    code = child.wait()
    is_out_of_memory = child.was_out_of_memory()
    if code == ORDER_REFUSED or not (child.launched or is_out_of_memory):
        raise WorkerNotStarted(f"{_ending(code or 0)} before its work began; last output: {_tail(errors)}")
    if code is None or code != 0:
        reason = "out_of_memory" if is_out_of_memory else "worker_crashed"
        limit = f" under a cap of {order.memory_cap_bytes} bytes ({child.cap_by})" if child.cap_by else ""
        return _failed(reason, f"{_ending(code or 0)}{limit}; last output: {_tail(errors)}")
    try:
        return Result.model_validate_json(order.result_path.read_bytes())
    except (OSError, ValidationError) as exc:
        return _failed("worker_crashed", f"the worker ended well and left no readable result: {exc}")


def _timed_out(child: Child, timeout_s: float) -> Result:
    if not child.launched:
        raise WorkerNotStarted(f"the worker's work had not begun after {timeout_s:.0f} s")
    return _failed("worker_timed_out", f"the worker was killed after {timeout_s:.0f} s")


def _failed(code: str, detail: str) -> Result:
    return Result(outcome="failed", error=ResultError(code=code, detail=detail[:2000]))


def _ending(code: int) -> str:
    if code >= 0:
        return f"the worker ended with exit code {code}"
    try:
        return f"the worker was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"the worker was ended by signal {-code}"


def _tail(stream: IO[bytes]) -> str:
    stream.seek(0)
    text = stream.read().decode(errors="replace").strip()
    return text[-STDERR_TAIL_CHARACTERS:] or "none"


def _read_progress(child: Child, hear: Progress) -> None:
    for line in child.lines():
        hear(line)
