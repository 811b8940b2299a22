"""An application that asks at a fixed rate, whatever becomes of its queries.

    python -m benchmarks.load.client ORDER.json

Decides: when a query is due (a fixed grid), and that its latency counts from there: a query that had to wait because
all connections were busy has waited. Leaves out: what the numbers mean. A `rate_hz` of 0 asks one query after the
other. It ends after `seconds`, or at the end of its stdin, and writes one JSON document to `result_path`.
"""

import itertools
import json
import os
import re
import socket
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

PATIENCE_S = 30.0
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)
_BUNDLE = re.compile(rb'"bundle":"([0-9a-f]+)"')
_REASON = re.compile(rb'"reason":"([a-z_]+)"')


@dataclass(frozen=True)
class Order:
    """What is asked, how often, over how many connections."""

    socket: str
    target: str
    content_type: str
    body_path: str
    result_path: str
    rate_hz: float
    seconds: float
    connections: int = 1


@dataclass(frozen=True)
class Asked:
    """One query: when it was due (the monotonic clock), how late it was sent, when it was answered, and how."""

    due_s: float
    late_s: float
    latency_s: float
    status: int
    """Of the answer; 0: the connection broke."""
    said: str
    """Digest of the bundle that answered, else the problem's reason."""


class Application:
    """Asks over several connections, each on a thread of its own."""

    def __init__(self, order: Order) -> None:
        self._order = order
        body = Path(order.body_path).read_bytes()
        head = (
            f"POST {order.target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {order.content_type}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        self._request = head.encode() + body
        self._numbers = itertools.count()
        self._stopped = threading.Event()
        self._start_s = 0.0
        self.asked: list[Asked] = []

    def run(self) -> None:
        """Ask until the time is over or `stop` is called."""
        self._start_s = time.monotonic() + 0.1
        threads = [threading.Thread(target=self._ask) for _ in range(self._order.connections)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def stop(self) -> None:
        """Ask nothing more."""
        self._stopped.set()

    def _ask(self) -> None:
        connection = None
        while (due_s := self._next_due()) is not None:
            time.sleep(max(0.0, due_s - time.monotonic()))
            sent_s = time.monotonic()
            try:
                connection = connection or self._connected()
                connection.sendall(self._request)
                status, said = answer(connection)
            except OSError as exc:
                status, said = 0, type(exc).__name__
                connection = None
            self.asked.append(Asked(due_s, sent_s - due_s, time.monotonic() - due_s, status, said))
        if connection is not None:
            connection.close()

    def _next_due(self) -> float | None:
        number = next(self._numbers)
        rate_hz = self._order.rate_hz
        due_s = self._start_s + number / rate_hz if rate_hz else max(self._start_s, time.monotonic())
        return None if self._stopped.is_set() or due_s > self._start_s + self._order.seconds else due_s

    def _connected(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(PATIENCE_S)
        connection.connect(self._order.socket)
        return connection


def answer(connection: socket.socket) -> tuple[int, str]:
    """Return status and bundle (or reason) of the answer that comes next.

    Raises:
        OSError: The connection broke, or nothing came in time.
    """
    got = b""
    while (end := got.find(b"\r\n\r\n")) < 0:
        got += _more(connection)
    found = _LENGTH.search(got, 0, end)
    wanted = end + 4 + (int(found[1]) if found else 0)
    while len(got) < wanted:
        got += _more(connection)
    said = _BUNDLE.search(got, end) or _REASON.search(got, end)
    return int(got[9:12]), said[1].decode() if said else ""


def _more(connection: socket.socket) -> bytes:
    chunk = connection.recv(65536)
    if not chunk:
        raise ConnectionResetError("the agent closed the connection")
    return chunk


def main(arguments: list[str]) -> int:
    """Carry out the order in the file that `arguments` names; return the exit code."""
    order = Order(**json.loads(Path(arguments[0]).read_text()))
    application = Application(order)
    threading.Thread(target=_stop_at_the_end_of_stdin, args=(application,), daemon=True).start()
    application.run()
    Path(order.result_path).write_text(json.dumps([asdict(each) for each in application.asked]))
    return 0


def _stop_at_the_end_of_stdin(application: Application) -> None:
    while os.read(0, 4096):  # sys.stdin would do, but the interpreter aborts if it ends while a thread reads it
        pass
    application.stop()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
