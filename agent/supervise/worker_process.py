"""One serving worker: started, listened to, asked to end, reaped.

Decides: what its lines and its end are called. Leaves out: whether it is started again (`serving.py`).
A thread reads its lines and waits for its end; everything is handed to the consumer thread.
"""

import logging
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from agent.child import GRACE_S, Child, Command, spawn
from agent.loop import Loop

log = logging.getLogger(__name__)

Line = Mapping[str, Any]


@dataclass(frozen=True)
class Ending:
    """How a worker ended. `launched` false: before its own main had begun, so by no fault of its bundle."""

    how: str
    launched: bool
    out_of_memory: bool = False


class WorkerProcess:
    """A running serving worker. All methods belong to the consumer thread."""

    def __init__(
        self,
        loop: Loop,
        command: Command,
        *,
        on_line: Callable[[Line], None],
        on_end: Callable[[Ending], None],
    ) -> None:
        """Start it.

        Args:
            loop: The consumer thread's.
            command: What to start: the worker and what holds it.
            on_line: Gets each JSON line.
            on_end: Gets how it ended, once.
        Raises:
            OSError: The process could not be made.
        """
        self._loop = loop
        self._on_line = on_line
        self._on_end = on_end
        self._child: Child = spawn(command)
        self._cap_bytes = command.cap_bytes
        threading.Thread(target=self._listen, name=f"worker-{self._child.pid}", daemon=True).start()

    @property
    def pid(self) -> int:
        return self._child.pid

    def attach(self, channel: socket.socket) -> None:
        """Have the worker take its queries from `channel`."""
        self._send({"do": "attach"}, channel.fileno())

    def stop(self) -> None:
        """Ask it to end once its channel is empty; kill it where it does not."""
        self._send({"do": "stop"})
        self._loop.after(GRACE_S, self.kill)

    def _send(self, command: Line, *descriptors: int) -> None:
        try:
            self._child.send(command, *descriptors)
        except OSError as exc:
            log.error("worker %d does not read its commands (%s): it is ended", self.pid, exc)
            self.kill()

    def kill(self) -> None:
        """End it at once."""
        if self._child.running:
            self._child.kill()

    def _listen(self) -> None:
        """Runs on a thread of its own until the worker has ended."""
        for line in self._child.lines():
            self._loop.post(lambda line=line: self._on_line(line))  # type: ignore[misc]
        ending = self._ending(self._child.wait() or 0)
        self._child.release()
        self._loop.post(lambda: self._on_end(ending))

    def _ending(self, code: int) -> Ending:
        launched = self._child.launched
        if self._child.was_out_of_memory():
            return Ending(f"out of memory under its cap of {self._cap_bytes} bytes", launched, out_of_memory=True)
        if self._child.refusal:
            return Ending(self._child.refusal, launched)
        return Ending(f"exit code {code}" if code >= 0 else f"signal {-code}", launched)
