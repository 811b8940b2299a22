"""One serving worker: started, listened to, asked to end, reaped.

Decides: what its lines and its end are called. Leaves out: whether it is started again (`serving.py`).
A thread reads its lines and waits for its end; everything is handed to the consumer thread.
"""

import contextlib
import json
import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from agent.child import GRACE_S, Cap, Child, Command, spawn
from agent.loop import Loop

log = logging.getLogger(__name__)

MODULE = "agent.serve.worker"
LONGEST_LINE_BYTES = 1024 * 1024

Line = Mapping[str, Any]


class WorkerProcess:
    """A running serving worker. All methods belong to the consumer thread."""

    def __init__(
        self,
        loop: Loop,
        order_path: Path,
        threads: int,
        cap: Cap,
        *,
        on_line: Callable[[Line], None],
        on_end: Callable[[str], None],
    ) -> None:
        """Start it.

        Args:
            loop: The consumer thread's.
            order_path: What to serve.
            threads: Engine threads.
            cap: Memory cap, made for this worker.
            on_line: Gets each JSON line.
            on_end: Gets how it ended, in words, once.
        Raises:
            OSError: The process could not be made.
        """
        self._loop = loop
        self._on_line = on_line
        self._on_end = on_end
        self._child: Child = spawn(Command(MODULE, (str(order_path),), threads, cap))
        self._limit_bytes = cap.limit_bytes
        threading.Thread(target=self._listen, name=f"worker-{self._child.pid}", daemon=True).start()

    @property
    def pid(self) -> int:
        return self._child.pid

    def say(self, **command: Any) -> None:
        """Send the worker a command line; one that has ended does not hear it."""
        pipe = self._child.process.stdin
        with contextlib.suppress(OSError, ValueError):
            if pipe is not None:
                pipe.write(json.dumps(command).encode() + b"\n")
                pipe.flush()

    def stop(self) -> None:
        """Ask it to end; kill it where it does not."""
        self.say(do="stop")
        pipe = self._child.process.stdin
        with contextlib.suppress(OSError, ValueError):
            if pipe is not None:
                pipe.close()
        self._loop.after(GRACE_S, self.kill)

    def kill(self) -> None:
        """End it at once."""
        if self._child.running:
            self._child.kill()

    def _listen(self) -> None:
        """Runs on a thread of its own until the worker has ended."""
        pipe = self._child.process.stdout
        while pipe is not None and (raw := pipe.readline(LONGEST_LINE_BYTES)):
            line = _parsed(raw)
            if line is not None:
                self._loop.post(lambda line=line: self._on_line(line))  # type: ignore[misc]
        code = self._child.wait()
        how = self._ending(code or 0)
        self._child.release()
        self._loop.post(lambda: self._on_end(how))

    def _ending(self, code: int) -> str:
        if self._child.was_out_of_memory():
            return f"out of memory under its cap of {self._limit_bytes} bytes"
        return f"exit code {code}" if code >= 0 else f"signal {-code}"


def _parsed(raw: bytes) -> Line | None:
    try:
        line = json.loads(raw)
    except ValueError:
        log.info("worker says: %s", raw[:300].decode(errors="replace").rstrip())
        return None
    return line if isinstance(line, dict) else None
