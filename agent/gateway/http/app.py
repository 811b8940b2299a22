"""The ASGI application behind the socket: which path does what, and how answers look.

Decides: paths, methods, documents. Leaves out: forms of a body (`bodies.py`), its bounds (`request.py`), problems
(`problems.py`), the description (`openapi.py`), sockets and connections (`server.py`).
"""

import asyncio
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

from agent.gateway.base import Outcome
from agent.gateway.http.base import Asked, Lanes, Receive, Scope, Send
from agent.gateway.http.bodies import check_parameters, form_of
from agent.gateway.http.openapi import openapi
from agent.gateway.http.problems import Refused
from agent.gateway.http.request import ClientGone, Request, Room

_JSON = json.JSONEncoder(separators=(",", ":"), allow_nan=False)
log = logging.getLogger(__name__)

BODIES_AT_ONCE = 2
"""So many of the largest bodies may be in memory at the same time."""
GREETING = """\
Thresher agent: predictions for applications on this device.

GET  /v1/health                     is every workload served?
GET  /v1/workloads                  what is served
GET  /v1/workloads/NAME             one workload
POST /v1/workloads/NAME/predict     ask
GET  /openapi.json                  all of it, as OpenAPI 3.1
"""


@dataclass(frozen=True)
class Reply:
    """What goes back."""

    content: bytes
    status: int = 200
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


class PredictApp:
    """Answers requests about `lanes`."""

    def __init__(self, lanes: Lanes, largest_bytes: int) -> None:
        """Answer from `lanes`; bodies hold `largest_bytes` at most."""
        self._lanes = lanes
        self._largest_bytes = largest_bytes
        self._room = Room(BODIES_AT_ONCE * largest_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        try:
            reply = await self._reply(request)
        except Refused as exc:
            reply = _problem(exc)
        except ClientGone:
            return
        except Exception:  # the outermost frame of a request: the client is told, the gateway lives on
            log.exception("%s %s failed", request.method, request.path[:200])
            reply = _problem(Refused("internal_error", "this is a fault of the agent: its log says more"))
        await _send(reply, request, send)

    async def _reply(self, request: Request) -> Reply:
        request.check_host()
        match request.path.split("/")[1:]:
            case ["v1", "workloads", name, "predict"]:
                _check_method(request, "POST")
                return await self._predict(name, request)
            case path:
                reply = self._look(path)
                _check_method(request, "GET", "HEAD")
                return reply

    def _look(self, path: list[str]) -> Reply:
        match path:
            case [""]:
                return Reply(GREETING.encode(), content_type="text/plain; charset=utf-8")
            case ["openapi.json"]:
                return _told(openapi())
            case ["v1", "health"]:
                return self._health()
            case ["v1", "workloads"]:
                return _told({"workloads": [lane.describe().document() for lane in self._lanes.values()]})
            case ["v1", "workloads", name]:
                return _told(self._lane(name).describe().document())
        raise Refused("not_found", "there is no such path: GET / lists those that there are")

    def _health(self) -> Reply:
        ready = {name: lane.describe().ready for name, lane in self._lanes.items()}
        well = bool(ready) and all(ready.values())
        return _told({"ready": well, "workloads": ready}, 200 if well else 503)

    def _lane(self, name: str) -> Asked:
        lane = self._lanes.get(name)
        if lane is None:
            known = ", ".join(sorted(self._lanes)) or "none"
            raise Refused("not_found", f"there is no workload {name[:64]!r}; there are: {known}")
        return lane

    async def _predict(self, name: str, request: Request) -> Reply:
        lane = self._lane(name)
        form, given = form_of(request.header("content-type")), request.parameters()
        check_parameters(form, given)
        with self._room.held() as held:
            query = form.make(await request.body(self._largest_bytes, held), given)
            outcome = await _answered(lane.offer(query), request)
        if outcome.reason is not None:
            raise Refused(outcome.reason, outcome.detail)
        return _told(_prediction(name, outcome))


class OneTooMany:
    """Answers on a connection beyond the last allowed one, and ends it."""

    def __init__(self, most: int) -> None:
        """Say that `most` connections are open."""
        detail = f"{most} connections are open, and no more are allowed: close some, or ask again"
        self._reply = _problem(Refused("too_busy", detail, {"connection": "close"}))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await _send(self._reply, Request(scope, receive), send)


async def _answered(answer: "asyncio.Future[Outcome]", request: Request) -> Outcome:
    """Wait for the answer; a query that nobody waits for any more is cancelled.

    Raises:
        ClientGone: The connection ended first.
    """
    gone = asyncio.ensure_future(request.gone())
    try:
        await asyncio.wait((answer, gone), return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise ClientGone
        return answer.result()
    finally:
        gone.cancel()
        answer.cancel()  # does nothing to an answer that is there


def _prediction(name: str, outcome: Outcome) -> dict[str, Any]:
    times_ns = dict(zip(("pre", "infer", "post"), outcome.times_ns, strict=True)) | {"total": outcome.total_ns}
    return {
        "workload": name,
        "bundle": outcome.bundle,
        "answers": [dict(answer) for answer in outcome.answers],
        "times_ms": {part: round(spent_ns / 1e6, 3) for part, spent_ns in times_ns.items()},
    }


def _told(document: Any, status: int = 200) -> Reply:
    return Reply(_JSON.encode(document).encode(), status)


def _problem(refused: Refused) -> Reply:
    content = _JSON.encode(refused.document()).encode()
    return Reply(content, refused.kind.status, "application/problem+json", refused.headers)


def _check_method(request: Request, *allowed: str) -> None:
    if request.method not in allowed:
        listed = ", ".join(allowed)
        detail = f"{request.method[:20]} is not for this path: use {listed}"
        raise Refused("method_not_allowed", detail, {"allow": listed})


async def _send(reply: Reply, request: Request, send: Send) -> None:
    """Send a reply; where the body was refused unread, close the connection once the client could read why."""
    headers = {
        "content-type": reply.content_type,
        "content-length": str(len(reply.content)),
        "date": formatdate(usegmt=True),
        **reply.headers,
        **({"connection": "close"} if request.unread else {}),
    }
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": reply.status, "headers": encoded})
    await send({"type": "http.response.body", "body": reply.content, "more_body": request.unread})
    if request.unread:
        await request.drop_rest()
        await send({"type": "http.response.body", "body": b"", "more_body": False})
