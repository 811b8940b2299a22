"""A serving loop in a thread of the test's own process."""

import socket
import threading
from pathlib import Path
from typing import Any

from agent.serve import loop
from agent.serve.commands import CommandReader
from agent.serve.orders import ServeOrder
from tests.unit.agent.inference import bundle_kit as kit


class Running:
    """A loop in a thread of this process, and what it says."""

    def __init__(self, folder: Path, **order: Any) -> None:
        kit.write_bundle(folder / "b")
        self.said: list[dict[str, Any]] = []
        self.failure: BaseException | None = None
        self.commands, theirs = socket.socketpair()
        with theirs:
            reader = CommandReader(theirs.fileno())
        serving = loop.ServingLoop(ServeOrder(bundle_dir=folder / "b", **order), reader, self._hear)
        self.pipeline = serving._pipeline
        self._thread = threading.Thread(target=self._run, args=(serving,), daemon=True)
        self._thread.start()

    def _run(self, serving: loop.ServingLoop) -> None:
        try:
            serving.run()
        except BaseException as exc:
            # The outermost frame: a test asks what ended the loop.
            self.failure = exc

    def _hear(self, event: str, **fields: Any) -> None:
        self.said.append({"event": event, **fields})

    def attach(self, end: socket.socket) -> None:
        with end:
            socket.send_fds(self.commands, [b'{"do": "attach"}\n'], [end.fileno()])

    def end(self) -> None:
        self.commands.close()
        self.join()

    def join(self) -> None:
        self._thread.join(timeout=30)
        assert not self._thread.is_alive()

    def metrics(self) -> list[dict[str, Any]]:
        """Return what each line counted; those without queries left out."""
        told = [said["workload_metrics"] for said in self.said if said["event"] == "metrics"]
        return [counted for counted in told if counted["queries"]]
