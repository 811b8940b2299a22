"""Tell systemd how the service is: ready, stopping, still alive (sd_notify(3), in a datagram).

Decides: when there is somebody to tell ($NOTIFY_SOCKET), and how often a life must be shown ($WATCHDOG_USEC). Without
these every call does nothing. Leaves out: when the caller is ready or alive. The agent has the same in
`agent/device/notify.py`: neither side imports the other, and `wire`, which both may import, knows no sockets.

    notifier = Notifier()
    notifier.ready()
"""

import logging
import os
import socket
from collections.abc import Mapping

log = logging.getLogger(__name__)


class Notifier:
    """The service manager that started this process, if one did."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        self.interval_s = _interval_s(environment) if self._address else None
        """How often `alive` should be called [s]: half of what the watchdog allows; null where there is none."""

    def ready(self) -> None:
        """The service does its work from now on."""
        self._send("READY=1")

    def stopping(self) -> None:
        """The service was asked to end, and does."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """Show one line in `systemctl status`."""
        self._send(f"STATUS={text.splitlines()[0] if text else ''}")

    def alive(self) -> None:
        """Show that the service is not stuck. Call it from the thread whose being stuck would matter."""
        if self.interval_s is not None:
            self._send("WATCHDOG=1")

    def _send(self, line: str) -> None:
        if not self._address:
            return
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.settimeout(1.0)
                sender.connect(address)
                sender.send(line.encode())
        except OSError as exc:
            log.warning("the service manager could not be told %s: %s", line.partition("=")[0], exc)


def _interval_s(environment: Mapping[str, str]) -> float | None:
    """Return half of the watchdog's time, where it is meant for this process."""
    try:
        allowed_s = int(environment.get("WATCHDOG_USEC", "0")) / 1e6
        meant_for = int(environment.get("WATCHDOG_PID", os.getpid()))
    except ValueError:
        return None
    return allowed_s / 2 if allowed_s > 0 and meant_for == os.getpid() else None
