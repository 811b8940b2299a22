"""Commands to a worker or the gateway: JSON lines on stdin, with file descriptors where stdin is a Unix socket.

Decides: how lines and descriptors belong together (a line that needs one takes the next that came), and bounds. Leaves
out: what a command means.
"""

import json
import os
import socket
import stat
from collections import deque
from typing import Any

LONGEST_LINE_BYTES = 16 * 1024 * 1024
MOST_DESCRIPTORS = 16
READ_BYTES = 64 * 1024
BAD_COMMAND = {"do": "bad_command"}


class CommandReader:
    """Reads what has come, without waiting for more."""

    def __init__(self, descriptor: int = 0) -> None:
        """Read from `descriptor`: a Unix socket, or a pipe (which carries no file descriptors)."""
        self._descriptor = descriptor
        is_socket = stat.S_ISSOCK(os.fstat(descriptor).st_mode)
        self._socket = socket.socket(fileno=os.dup(descriptor)) if is_socket else None
        self._pending = b""
        self._descriptors: deque[int] = deque()

    def fileno(self) -> int:
        return self._socket.fileno() if self._socket is not None else self._descriptor

    def read(self) -> list[dict[str, Any]] | None:
        """Return the commands that came whole; None at the end. Call it when there is something to read."""
        chunk = self._chunk()
        if not chunk or len(self._pending) > LONGEST_LINE_BYTES:
            return None
        *whole, self._pending = (self._pending + chunk).split(b"\n")
        return [_parsed(line) for line in whole]

    def take_socket(self) -> socket.socket | None:
        """Return the socket that came with a command; None where none did."""
        return socket.socket(fileno=self._descriptors.popleft()) if self._descriptors else None

    def _chunk(self) -> bytes:
        if self._socket is None:
            return os.read(self._descriptor, READ_BYTES)
        try:
            chunk, descriptors, _, _ = socket.recv_fds(self._socket, READ_BYTES, MOST_DESCRIPTORS)
        except ConnectionResetError:
            return b""
        self._descriptors.extend(descriptors)
        return chunk


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        command = json.loads(line)
    except (ValueError, RecursionError):
        return dict(BAD_COMMAND)
    return command if isinstance(command, dict) else dict(BAD_COMMAND)
