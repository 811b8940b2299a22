"""The gateway's process: started when there is something to serve, fed with workers, started again when it ends.

Decides: that each ready worker gets a fresh channel, again after the gateway has ended, and that the gateway's faults
are no fault of a bundle. Leaves out: what the gateway does (`agent/gateway`), and the workers' lives (`serving.py`).
"""

import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from agent.child import GRACE_S, Child, Command, spawn
from agent.config import AgentConfig, broker_password
from agent.gateway.orders import GatewayOrder
from agent.loop import Loop, Timer

log = logging.getLogger(__name__)

MODULE = "agent.gateway.main"
FIRST_RESTART_S = 0.5
LONGEST_RESTART_S = 30.0
CALM_AFTER_S = 60.0
"""A gateway that lived so long may end again without waiting longer than the first time."""

LONGEST_SILENCE_S = 30.0
"""It says something each second; one that is silent for so long hangs, and is killed. Boards that swap get patience."""

Line = Mapping[str, Any]


class Fed(Protocol):
    """A ready worker, as the gateway sees it."""

    bundle: str
    bundle_dir: str
    """Folder of its bundle."""
    run: str
    """Name of this run, unique on the device."""

    def give(self, channel: socket.socket) -> None:
        """Have the worker take its queries from `channel`."""


class GatewayProcess:
    """One gateway a device. All methods belong to the consumer thread."""

    def __init__(self, loop: Loop, order: GatewayOrder, told: Callable[[str | None, str, str], None]) -> None:
        """Start nothing yet.

        Args:
            loop: The consumer thread's.
            order: What the gateway is told.
            told: Hears of its troubles: (workload, reason, detail).
        """
        self._loop = loop
        self._order = order
        self._told = told
        self._child: Child | None = None
        self._ready = False
        self._stopped = False
        self._feeding: dict[str, Fed] = {}
        self._expected: set[str] = set()
        self._heard: dict[str, Callable[[Line], None]] = {}
        self._paused = False
        self._raw: Callable[[Line], None] | None = None
        self._delay_s = FIRST_RESTART_S
        self._restart: Timer | None = None
        self._watchdog: Timer | None = None
        self._started_s = 0.0

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child is not None else None

    def start(self) -> None:
        """Start it, unless it runs."""
        if self._child is None and not self._stopped:
            self._spawn()

    def listen(self, workload: str, heard: Callable[[Line], None]) -> None:
        """Have `heard` called with what the gateway counted for `workload`."""
        self._heard[workload] = heard

    def expect(self, workload: str) -> None:
        """A worker will come: queries of applications wait for it, within the queue's bounds."""
        self._expected.add(workload)
        self.start()  # beside the worker, not after it: a restarted agent is back sooner
        if self._ready:
            self._send(do="expect", workload=workload)

    def attach(self, workload: str, fed: Fed) -> None:
        """Have the workload's queries answered by this worker from now on."""
        self._feeding[workload] = fed
        self.start()
        if self._ready:
            self._connect(workload, fed)

    def detach(self, workload: str, run: str) -> None:
        """Ask this worker no more; its channel ends once it has answered."""
        fed = self._feeding.get(workload)
        if fed is not None and fed.run == run:
            del self._feeding[workload]
        self._send(do="detach", workload=workload, run=run)

    def idle(self, workload: str) -> None:
        """Nothing is served for `workload` any more."""
        self._feeding.pop(workload, None)
        self._expected.discard(workload)
        self._send(do="idle", workload=workload)

    def pause(self, paused: bool) -> None:
        """Ask no worker anything, or go on: the device measures."""
        self._paused = paused
        self._send(do="pause" if paused else "resume")

    def raw(self, workload: str, seconds: float, most: int, heard: Callable[[Line], None]) -> None:
        """Have single queries of a workload told for a bounded time."""
        self._raw = heard
        self._send(do="raw", workload=workload, seconds=seconds, most=most)

    def stop(self) -> None:
        """Ask it to end: what it holds goes to the disk first. Kill it where it does not."""
        self._stopped = True
        if self._restart is not None:
            self._restart.cancel()
        self._send(do="stop")
        self._loop.after(GRACE_S, self._kill)

    @property
    def busy(self) -> bool:
        """Whether it still runs."""
        return self._child is not None

    def _kill(self) -> None:
        if self._child is not None and self._child.running:
            self._child.kill()

    def _spawn(self) -> None:
        try:
            self._child = spawn(Command(MODULE, (), network=True, stdin_socket=True))
        except OSError as exc:
            self._tell(None, "gateway_not_started", f"the gateway could not be started: {exc}")
            self._again()
            return
        self._started_s = time.monotonic()
        self._expect_a_word()
        self._send(do="start", order=self._order.model_dump(mode="json"))
        threading.Thread(target=self._listen, args=(self._child,), name="gateway", daemon=True).start()

    def _listen(self, child: Child) -> None:
        """Runs on a thread of its own until the gateway has ended."""
        for line in child.lines():
            self._loop.post(lambda line=line: self._hear(line))  # type: ignore[misc]
        code = child.wait() or 0
        child.release()
        self._loop.post(lambda: self._ended(child, code))

    def _expect_a_word(self) -> None:
        if self._watchdog is not None:
            self._watchdog.cancel()
        self._watchdog = self._loop.after(LONGEST_SILENCE_S, self._fell_silent)

    def _fell_silent(self) -> None:
        if self._child is not None and self._child.running:
            self._tell(None, "gateway_silent", f"the gateway said nothing for {LONGEST_SILENCE_S:g} s and was killed")
            self._child.kill()

    def _hear(self, line: Line) -> None:
        self._expect_a_word()
        match line.get("event"):
            case "ready":
                self._begin()
            case "metrics":
                self._heard.get(str(line.get("workload")), _ignore)(line.get("gateway") or {})
            case "raw" if self._raw is not None:
                self._raw(line)
            case "trouble":
                self._tell(line.get("workload"), str(line.get("reason")), str(line.get("detail"))[:1000])

    def _tell(self, workload: str | None, reason: str, detail: str) -> None:
        log.warning("gateway: %s: %s: %s", workload or "-", reason, detail)
        self._told(workload, reason, detail)

    def _begin(self) -> None:
        """Tell a fresh gateway what the former one knew."""
        self._ready = True
        if self._paused:
            self._send(do="pause")
        for workload in self._expected:
            self._send(do="expect", workload=workload)
        for workload, fed in self._feeding.items():
            self._connect(workload, fed)

    def _connect(self, workload: str, fed: Fed) -> None:
        """Give gateway and worker the two ends of a new channel."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with ours, theirs:
            fed.give(theirs)
            fields = {"do": "attach", "workload": workload, "run": fed.run, "bundle": fed.bundle}
            self._send(ours, **fields, bundle_dir=fed.bundle_dir)

    def _send(self, *ends: socket.socket, **command: Any) -> None:
        if self._child is None:
            return
        try:
            self._child.send(command, *(end.fileno() for end in ends))
        except OSError as exc:
            log.error("the gateway does not read its commands (%s): it is ended, and started again", exc)
            self._child.kill()

    def _ended(self, child: Child, code: int) -> None:
        if child is not self._child:
            return
        self._child, self._ready = None, False
        if self._watchdog is not None:
            self._watchdog.cancel()
        if time.monotonic() - self._started_s > CALM_AFTER_S:
            self._delay_s = FIRST_RESTART_S
        if not self._stopped:
            self._tell(None, "gateway_ended", f"the gateway ended with {code}; started again in {self._delay_s:g} s")
            self._again()

    def _again(self) -> None:
        self._restart = self._loop.after(self._delay_s, self.start)
        self._delay_s = min(LONGEST_RESTART_S, self._delay_s * 2)


def gateway_order(config: AgentConfig, boot_id: str) -> GatewayOrder:
    """Return what the gateway of this agent is told.

    Raises:
        ConfigurationError: The password cannot be read.
    """
    own = config.serve.broker
    return GatewayOrder(
        fleet=config.fleet,
        device=config.device,
        boot_id=boot_id,
        state_dir=config.state_dir,
        serve=config.serve,
        broker=own or config.broker,
        password=broker_password(config.broker) if own is None else broker_password(own, {}),
    )


def _ignore(_: Line) -> None:
    """Nobody listens."""
