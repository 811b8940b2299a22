"""Listening sockets: a Unix socket that is there once, and a port of the loopback interface.

Decides: who may connect (mode 0660; loopback only), and when a file that lies in the way may go. Leaves out: serving.
"""

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

from agent.errors import AgentError

LONGEST_PATH_BYTES = 107
"""Of a Unix socket's path. Source: unix(7), `sun_path` without its end."""
BACKLOG = 128
OTHERS_MAY_NOT = 0o117
"""Leaves read and write for owner and group: whoever may connect."""


class HttpUnavailable(AgentError):
    """The HTTP interface for applications cannot be opened: a package, the path or the port. The rest is served."""

    reason = "http_unavailable"


def unix_socket(path: Path) -> socket.socket:
    """Return a socket that listens at `path`; its folder is made, a socket that nobody serves any more removed.

    Raises:
        HttpUnavailable: The path is too long, is something else, is served by another process, or cannot be written.
    """
    if (length := len(os.fsencode(path))) > LONGEST_PATH_BYTES:
        raise HttpUnavailable(f"socket {path}: a path may have {LONGEST_PATH_BYTES} bytes and this one has {length}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise HttpUnavailable(f"folder {path.parent} of the socket: {exc.strerror or exc}") from exc
    try:
        _remove_stale(path)
        return _listening_at(path)
    except OSError as exc:
        raise HttpUnavailable(f"socket {path}: {exc.strerror or exc}") from exc


def loopback_sockets(port: int) -> list[socket.socket]:
    """Return sockets that listen on `port` of 127.0.0.1, and of ::1 where there is IPv6.

    Raises:
        HttpUnavailable: The port is taken, or not allowed.
    """
    with contextlib.ExitStack() as opened:
        found = []
        for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            try:
                found.append(opened.enter_context(_listening_on(family, address, port)))
            except OSError as exc:
                if family is socket.AF_INET6 and exc.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    continue
                raise HttpUnavailable(f"port {port} of {address}: {exc.strerror or exc}") from exc
        opened.pop_all()
    return found


def remove_own(path: Path, inode: int) -> None:
    """Remove the socket's file, unless another process has put its own there meanwhile.

    Call it while the socket is open: a file system gives the number of a socket that is closed and gone to the next.
    """
    with contextlib.suppress(OSError):
        if path.lstat().st_ino == inode:
            path.unlink()


def _remove_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise HttpUnavailable(f"socket {path}: a file that is no socket lies there; move it away, or set another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise HttpUnavailable(f"socket {path}: another process listens there")


def _listening_at(path: Path) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _umask(OTHERS_MAY_NOT):
            listening.bind(str(path))
        listening.listen(BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening


def _listening_on(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((address, port))
        listening.listen(BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening


@contextlib.contextmanager
def _umask(mask: int) -> Iterator[None]:
    """Have the file made with its final mode: there is no moment at which others may connect."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)
