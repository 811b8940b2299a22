"""The gateway: the process between the world and the workers.

    python -m agent.gateway.main        its stdin is a Unix socket

stdin, JSON lines: `start` with the order first, then `expect`, `attach` with a channel's file descriptor, `detach`,
`idle`, `pause`, `resume`, `raw`, `stop`. stdout: `ready`, `alive` and `metrics` each second, `raw`, `trouble`.
Ends with 0 on `stop` and at the end of stdin; what was not delivered is stored first. It loads neither numpy nor an
engine, and it is the only process here that sensors and applications can reach.
"""

import asyncio
import json
import logging
import signal
import socket
import sys
from collections.abc import Mapping
from functools import partial
from typing import Any

from agent.gateway.base import Clock
from agent.gateway.http.server import HttpFront
from agent.gateway.lane import Lane
from agent.gateway.mqtt import MqttLink, client_id, largest_payload
from agent.gateway.orders import GatewayOrder
from agent.gateway.serving import Place, Served
from agent.serve.commands import CommandReader
from agent.serve.settings import speaks_mqtt

log = logging.getLogger(__name__)

STOP_S = 2.0
"""How long closing may take: the control process waits little longer."""


class Gateway:
    """All workloads of one device."""

    def __init__(self, order: GatewayOrder, commands: CommandReader) -> None:
        self._order = order
        self._commands = commands
        self._served: dict[str, Served] = {}
        self.lanes: dict[str, Lane] = {}
        self._place = Place(order.device, order.boot_id, order.state_dir, Clock())
        name, largest = client_id(order.fleet, order.device), largest_payload(order.serve)
        self._link = MqttLink(order.broker, order.password, name, self._count, largest_bytes=largest)
        self._stopped = asyncio.Event()
        self._paused = False
        self._line: asyncio.Queue[tuple[Mapping[str, Any], socket.socket | None]] = asyncio.Queue()

    async def run(self) -> None:
        """Serve until told to stop."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stopped.set)
        loop.add_signal_handler(signal.SIGINT, lambda: None)  # Ctrl-C reaches the whole group: the agent says stop
        if speaks_mqtt(self._order.serve):
            await self._link.start()
        for workload in self._order.serve.workloads:
            self._serve(workload)
        front = await self._open_front()
        loop.add_reader(self._commands.fileno(), self._read_commands)
        working = [asyncio.create_task(self._tell_metrics()), asyncio.create_task(self._obey_all())]
        say("ready")
        await self._stopped.wait()
        for each in working:
            each.cancel()
        await self._close(front)

    async def _open_front(self) -> HttpFront | None:
        """Open the interface for applications; without it sensors are served all the same."""
        serve = self._order.serve
        if serve.socket is None and serve.http is None:
            return None
        front = HttpFront(serve, self.lanes, partial(trouble, None))
        await front.start()
        return front

    async def _close(self, front: HttpFront | None) -> None:
        """Close everything at the same time: what is undelivered must be on the disk before the time is over."""
        parts = [served.close() for served in self._served.values()]
        closing = asyncio.gather(*parts, *([front.stop()] if front is not None else []), return_exceptions=True)
        try:
            for fault in await asyncio.wait_for(closing, STOP_S):
                if isinstance(fault, BaseException):
                    log.error("closing: %s", fault)
        except TimeoutError:
            log.warning("closing took longer than %g s", STOP_S)
        await self._link.close()

    # --- commands -------------------------------------------------------------------------------------------------

    def _read_commands(self) -> None:
        """Take commands in; they are carried out one after the other (`_obey_all`)."""
        commands = self._commands.read()
        if commands is None:
            asyncio.get_running_loop().remove_reader(self._commands.fileno())
            self._stopped.set()
        for command in commands or ():
            self.take(command)

    def take(self, command: Mapping[str, Any]) -> None:
        """Put a command in line, with the socket that came with it."""
        end = self._commands.take_socket() if command.get("do") == "attach" else None
        self._line.put_nowait((command, end))

    async def _obey_all(self) -> None:
        while True:
            command, end = await self._line.get()
            try:
                await self._obey(command, end)
            except Exception as exc:  # outermost frame of a command: the other workloads go on
                log.exception("command %s", str(command.get("do"))[:50])
                trouble(_workload(command), "bad_command", f"{type(exc).__name__}: {exc}")

    async def _obey(self, command: Mapping[str, Any], end: socket.socket | None) -> None:
        workload = str(command.get("workload"))
        served = self._served.get(workload)
        match command.get("do"):
            case "attach":
                await self._attach(workload, command, end)
            case "expect":
                self._serve(workload).lane.expect()
            case "detach" if served is not None:
                served.lane.detach(str(command.get("run")))
            case "idle" if served is not None:
                served.idle()
            case "pause" | "resume" as what:
                self._pause(what == "pause")
            case "raw" if served is not None:
                served.lane.raw.begin(float(command.get("seconds") or 0), int(command.get("most") or 0))
            case "stop":
                self._stopped.set()

    async def _attach(self, workload: str, command: Mapping[str, Any], end: socket.socket | None) -> None:
        if end is None:
            trouble(workload, "bad_command", "attach came without a channel")
            return
        run, bundle, bundle_dir = (str(command.get(name)) for name in ("run", "bundle", "bundle_dir"))
        await self._serve(workload).attach(run, bundle, bundle_dir, end)

    def _serve(self, workload: str) -> Served:
        """Return what serves `workload`, made on demand."""
        if workload not in self._served:
            settings = self._order.serve.workload(workload)
            served = Served(workload, settings, self._link, self._place, partial(trouble, workload))
            self._served[workload] = served
            self.lanes[workload] = served.lane
            if self._paused:
                served.lane.pause()
        return self._served[workload]

    def _count(self, reason: str) -> None:
        """Count what the session with the broker lost, for each workload that listens to it."""
        for served in self._served.values():
            if served.listens:
                served.lane.refuse(reason)

    def _pause(self, paused: bool) -> None:
        self._paused = paused
        for lane in self.lanes.values():
            lane.pause() if paused else lane.resume()

    async def _tell_metrics(self) -> None:
        while True:
            await asyncio.sleep(self._order.metrics_interval_s)
            say("alive")
            for workload, served in self._served.items():
                counted = served.lane.counts.take()
                if counted:
                    say("metrics", workload=workload, gateway=counted)
                told = served.lane.raw.take()
                if told is not None:
                    say("raw", workload=workload, **told)


def say(event: str, **fields: Any) -> None:
    """Tell the control process: one JSON line."""
    print(json.dumps({"event": event, **fields}), flush=True)


def trouble(workload: str | None, reason: str, detail: str) -> None:
    """Tell of something that is wrong and that people can do something about."""
    say("trouble", workload=workload, reason=reason, detail=detail[:1000])


def _workload(command: Mapping[str, Any]) -> str | None:
    name = command.get("workload")
    return str(name) if name is not None else None


def main(arguments: list[str]) -> int:  # noqa: ARG001 - every child is called so
    """Serve what the order on stdin says; return the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    commands = CommandReader()
    waiting = _first(commands)
    if waiting is None:
        return 0
    first, rest = waiting
    order = GatewayOrder.model_validate(first.get("order"))
    asyncio.run(_run(order, commands, rest))
    return 0


async def _run(order: GatewayOrder, commands: CommandReader, rest: list[dict[str, Any]]) -> None:
    gateway = Gateway(order, commands)
    for command in rest:
        gateway.take(command)
    await gateway.run()


def _first(commands: CommandReader) -> tuple[dict[str, Any], list[dict[str, Any]]] | None:
    """Return the first command, waited for, and those that came with it; None where stdin ended before."""
    while (found := commands.read()) is not None:
        if found:
            return found[0], found[1:]
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
