"""Three pages over HTTP for other programs: `/metrics`, `/healthz`, `/readyz`. They read, and change nothing.

Decides: where it listens (loopback, unless told otherwise), and that web pages under other names get nothing from a
loopback port. Leaves out: what is on the pages.
"""

import json
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address

from controller.errors import Busy, ConfigurationError

log = logging.getLogger(__name__)

DEFAULT_PORT = 9469
DEFAULT = f"127.0.0.1:{DEFAULT_PORT}"
OFF = "off"
TIMEOUT_S = 10.0
POLL_S = 0.1
"""How soon a stop is noticed."""
LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
CLOSED = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


@dataclass(frozen=True)
class Address:
    """Where to listen."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def shown(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Page:
    """What is answered."""

    status: int
    kind: str
    body: bytes


def read_address(text: str) -> Address | None:
    """Return the address in `HOST:PORT`, or None for `off`.

    >>> read_address("127.0.0.1:9469")
    Address(host='127.0.0.1', port=9469)

    Raises:
        ConfigurationError: Neither.
    """
    if text == OFF:
        return None
    host, colon, port = text.rpartition(":")
    if not (colon and host and port.isdecimal() and int(port) < 65536):
        raise ConfigurationError(f"--http {text!r}: write HOST:PORT, like {DEFAULT}, or {OFF}")
    return Address(host.removeprefix("[").removesuffix("]"), int(port))


def json_page(document: Mapping[str, object], status: int = 200) -> Page:
    """Return a document as a page."""
    return Page(status, "application/json", json.dumps(document, indent=2).encode() + b"\n")


class PageServer:
    """Answers GET on a few paths, each on a thread of its own. Use it as a context."""

    def __init__(self, address: Address, pages: Mapping[str, Callable[[], Page]]) -> None:
        """Take the port.

        Raises:
            Busy: It is taken, or may not be.
        """
        self._address, self._pages = address, pages
        try:
            self._server = _server(address, self._answer)
        except OSError as exc:
            raise Busy(
                f"--http {address.shown} cannot be listened on ({exc.strerror}): choose another, or off"
            ) from exc
        self._thread = threading.Thread(target=self._server.serve_forever, args=(POLL_S,), name="http", daemon=True)

    @property
    def address(self) -> Address:
        """Where it listens; port 0 has become the one that was free."""
        return Address(self._address.host, self._server.server_address[1])

    def __enter__(self) -> "PageServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, path: str, host: str) -> Page:
        if self._address.is_loopback and _without_port(host) not in LOOPBACK:
            return json_page({"reason": "foreign_host", "detail": "use localhost, 127.0.0.1 or [::1]"}, 403)
        page = self._pages.get(path.partition("?")[0])
        if page is None:
            return json_page({"reason": "not_found", "detail": f"there are {', '.join(self._pages)}"}, 404)
        try:
            return page()
        except Exception as exc:
            log.exception("the page %s could not be made", path)
            return json_page({"reason": "page_failed", "detail": type(exc).__name__}, 500)


def _server(address: Address, answer: Callable[[str, str], Page]) -> ThreadingHTTPServer:
    class Answering(BaseHTTPRequestHandler):
        """One connection."""

        protocol_version = "HTTP/1.1"
        server_version = "thresher"
        sys_version = ""
        timeout = TIMEOUT_S

        def do_GET(self) -> None:
            page = answer(self.path, self.headers.get("Host", ""))
            self.send_response(page.status)
            for name, value in {"Content-Type": page.kind, "Content-Length": str(len(page.body)), **CLOSED}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(page.body)

        def log_message(self, format: str, *arguments: object) -> None:
            log.debug(format, *arguments)

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        address_family = _family(address)

    return Server((address.host, address.port), Answering)


def _family(address: Address) -> int:
    import socket

    return socket.AF_INET6 if ":" in address.host else socket.AF_INET


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdecimal() and not host.endswith("]") else host).lower()
