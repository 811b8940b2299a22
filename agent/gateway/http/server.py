"""Where applications reach the gateway: HTTP on a Unix socket, on a loopback port, on both, or not at all.

Decides: what is opened, that it is tried again when it could not be, and how it ends. Leaves out: sockets
(`sockets.py`), connections (`connections.py`), requests (`app.py`). uvicorn is imported where something is to be
opened, and not before: the gateway serves sensors without it.

    front = HttpFront(settings, lanes, tell)
    await front.start()
    await front.stop()
"""

import asyncio
import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from agent.gateway.http.app import PredictApp
from agent.gateway.http.base import Lanes
from agent.gateway.http.sockets import HttpUnavailable, loopback_sockets, remove_own, unix_socket
from agent.serve.settings import ServeConfig

if TYPE_CHECKING:
    from agent.gateway.http.connections import Server

FIRST_RETRY_S = 1.0
LONGEST_RETRY_S = 60.0
NO_PACKAGE = "uvicorn is not installed: pip install 'thresher[serve]', or take `socket` and `http` out of `serve`"

Tell = Callable[[str, str], None]
"""Says (reason, detail) to the control process."""


class HttpFront:
    """The open sockets and the server behind them."""

    def __init__(
        self, settings: ServeConfig, lanes: Lanes, tell: Tell, *, first_retry_s: float = FIRST_RETRY_S
    ) -> None:
        """Open nothing yet.

        Args:
            settings: `socket`, `http`, and the bounds of connections and bodies.
            lanes: Workload -> lane, looked at anew for every request.
            tell: Hears when the interface cannot be opened.
            first_retry_s: How long after a failure it is tried again, at first [s].
        """
        self._settings = settings
        self._app = PredictApp(lanes, settings.largest_bytes)
        self._tell = tell
        self._retry_s = first_retry_s
        self._told = ""
        self._server: Server | None = None
        self._sockets: list[socket.socket] = []
        self._inode: int | None = None
        self._running: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Open what the settings name. What cannot be opened is told and tried again; the gateway goes on."""
        if self._settings.socket is None and self._settings.http is None:
            return
        try:
            from agent.gateway.http.connections import make_server
        except ImportError:
            self._tell("http_unavailable", NO_PACKAGE)
            return
        self._server = make_server(self._app, self._settings.most_connections)
        self._running = asyncio.create_task(self._run(self._server, self._opened()), name="http")
        self._running.add_done_callback(self._over)

    async def stop(self) -> None:
        """Let requests that are under way end, for a short while, and close everything."""
        if self._running is None or self._server is None:
            return
        if self._sockets:
            self._remove_file()
            self._server.end()
        else:
            self._running.cancel()
        await asyncio.wait([self._running])
        self._running = None

    async def _run(self, server: "Server", opened: bool) -> None:
        """Serve, once everything could be opened."""
        while not opened:
            await asyncio.sleep(self._retry_s)
            self._retry_s = min(LONGEST_RETRY_S, self._retry_s * 2)
            opened = self._opened()
        try:
            await server.serve(self._sockets)
        finally:
            server.abort_rest()
            self._close()

    def _opened(self) -> bool:
        """Open all sockets, or none: then it is told why, once."""
        try:
            if self._settings.http is not None:
                self._sockets += loopback_sockets(self._settings.http.port)
            if self._settings.socket is not None:
                self._sockets.append(unix_socket(self._settings.socket))
                self._inode = os.lstat(self._settings.socket).st_ino
        except HttpUnavailable as exc:
            self._close()
            if str(exc) != self._told:
                self._told = str(exc)
                self._tell(exc.reason, str(exc))
            return False
        return True

    def _close(self) -> None:
        self._remove_file()
        for each in self._sockets:
            each.close()
        self._sockets = []

    def _remove_file(self) -> None:
        if self._settings.socket is not None and self._inode is not None:
            remove_own(self._settings.socket, self._inode)
            self._inode = None

    def _over(self, running: "asyncio.Task[None]") -> None:
        """Tell a fault that ended the server: nobody waits for it before `stop`."""
        if not running.cancelled() and (fault := running.exception()) is not None:
            self._tell("http_unavailable", f"the server ended: {type(fault).__name__}: {fault}")
