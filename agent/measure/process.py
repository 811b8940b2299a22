"""A worker that carries out one order: a fresh process, one result out, whatever becomes of the process.

Decides: what a crash, a hang and a cancellation look like to the one who asked. Leaves out: what the order is for, and
how a child process is started and capped (`agent/child.py`).
"""

import contextlib
import json
import os
import select
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from typing import IO, Any

from pydantic import ValidationError

from agent.child import Cap, Child, Command, make_cap, spawn
from agent.measure.orders import BaseOrder, Result, ResultError

MODULE = "agent.measure.worker"
CANCEL_POLL_S = 0.25
STDERR_TAIL_CHARACTERS = 600

Progress = Callable[[Mapping[str, Any]], None]


class Canceled(Exception):
    """The cancel event was set; the worker has been ended."""


def run_worker(order: BaseOrder, timeout_s: float, cancel: threading.Event, progress: Progress | None = None) -> Result:
    """Carry out `order` in a fresh process and return its result; a crash or hang is a result as well.

    Args:
        order: Its `result_path` lies in a folder of its own. What holds its memory cap is decided here.
        timeout_s: After it the process is killed: outcome `failed`, code `worker_timed_out`.
        cancel: Ends the process.
        progress: Gets each progress line, on a thread of its own.
    Raises:
        Canceled: `cancel` was set.
        OSError: The process could not be made.
    """
    cap = make_cap(order.memory_cap_bytes)
    capped = order.model_copy(update={"memory_cap_by": cap.by or "rlimit"})
    order_path = order.result_path.with_name("order.json")
    order_path.write_text(capped.model_dump_json(exclude_none=True))
    order.result_path.unlink(missing_ok=True)
    with tempfile.TemporaryFile() as errors:
        child = spawn(Command(MODULE, (str(order_path),), order.threads, cap), errors.fileno())
        reader = threading.Thread(target=_read_progress, args=(child, progress), daemon=True)
        reader.start()
        try:
            ended = _wait(child, timeout_s, cancel)
            return _result(order, child, cap, errors) if ended else _timed_out(timeout_s)
        finally:
            _end(child)
            reader.join()
            child.release()


def _wait(child: Child, timeout_s: float, cancel: threading.Event) -> bool:
    """Return whether the child ended by itself in time. Woken by its end: polling would disturb what it measures."""
    deadline = time.monotonic() + timeout_s
    descriptor = os.pidfd_open(child.pid)
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        while not poll.poll(CANCEL_POLL_S * 1000):
            if cancel.is_set():
                raise Canceled
            if time.monotonic() > deadline:
                return False
    finally:
        os.close(descriptor)
    return True


def _end(child: Child) -> None:
    if child.running:
        child.kill()
    child.wait()


def _result(order: BaseOrder, child: Child, cap: Cap, errors: IO[bytes]) -> Result:
    code = child.wait()
    if code is None or code != 0:
        reason = "out_of_memory" if child.was_out_of_memory() else "worker_crashed"
        limit = f" under a cap of {cap.limit_bytes} bytes ({cap.by})" if cap.limit_bytes else ""
        return _failed(reason, f"{_ending(code or 0)}{limit}; last output: {_tail(errors)}")
    try:
        return Result.model_validate_json(order.result_path.read_bytes())
    except (OSError, ValidationError) as exc:
        return _failed("worker_crashed", f"the worker ended well and left no readable result: {exc}")


def _timed_out(timeout_s: float) -> Result:
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


def _read_progress(child: Child, progress: Progress | None) -> None:
    for line in child.process.stdout or ():
        with contextlib.suppress(ValueError):
            fields = json.loads(line)
            if progress is not None:
                progress(fields)
