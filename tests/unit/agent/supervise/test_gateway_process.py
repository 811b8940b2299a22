"""The gateway's life as the control process sees it; the process is a stand-in that the test moves by hand."""

import socket
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from agent.config import AgentConfig
from agent.loop import Loop
from agent.supervise import gateway as module
from agent.supervise.gateway import LONGEST_SILENCE_S, GatewayProcess, gateway_order


class StandIn:
    """Looks like a `Child` whose lines the test speaks."""

    def __init__(self) -> None:
        self.pid = 1
        self.running = True
        self.heard: list[Mapping[str, Any]] = []
        self._ended = threading.Event()

    def send(self, command: Mapping[str, Any], *_: int) -> None:
        self.heard.append(command)

    def lines(self) -> Iterator[Mapping[str, Any]]:
        self._ended.wait(10)
        return iter(())

    def wait(self) -> int:
        return -9

    def release(self) -> None:
        pass

    def kill(self) -> None:
        self.running = False
        self._ended.set()


class Fed:
    """Looks like a ready worker."""

    bundle, bundle_dir, run = "a" * 64, "/bundles/a", "one"

    def __init__(self) -> None:
        self.channels = 0

    def give(self, _channel: socket.socket) -> None:
        self.channels += 1


class Stage:
    """A `GatewayProcess` whose clock and children the test holds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        self.now_s = 0.0
        self.loop = Loop(lambda: self.now_s)
        self.children: list[StandIn] = []
        self.told: list[str] = []
        monkeypatch.setattr(module, "spawn", self._spawn)
        config = AgentConfig.model_validate({"fleet": "f", "device": "d", "state_dir": tmp_path})
        self.gateway = GatewayProcess(self.loop, gateway_order(config, "boot"), self._told)

    def _spawn(self, _command: object) -> StandIn:
        self.children.append(StandIn())
        return self.children[-1]

    def _told(self, _workload: str | None, reason: str, _detail: str) -> None:
        self.told.append(reason)

    def turn(self, seconds: float = 0.0) -> None:
        self.now_s += seconds
        for _ in range(3):
            self.loop.post(self.loop.stop)
            self.loop.run()

    def until(self, reason: str) -> None:
        """Let the listening thread post the end of the process."""
        for _ in range(500):
            if reason in self.told:
                return
            self.turn()
            threading.Event().wait(0.01)
        raise AssertionError(f"{reason} was not told: {self.told}")


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Stage:
    return Stage(monkeypatch, tmp_path)


def test_a_silent_gateway_is_killed_and_the_next_one_gets_the_worker_again(stage: Stage) -> None:
    fed = Fed()
    stage.gateway.attach("main", fed)
    stage.gateway._hear({"event": "ready"})
    assert fed.channels == 1
    stage.turn(LONGEST_SILENCE_S - 1)
    stage.gateway._hear({"event": "alive"})
    stage.turn(LONGEST_SILENCE_S - 1)
    assert stage.children[0].running
    stage.turn(2)
    assert not stage.children[0].running
    assert stage.told == ["gateway_silent"]
    stage.until("gateway_ended")
    stage.turn(1)
    assert len(stage.children) == 2
    stage.gateway._hear({"event": "ready"})
    assert fed.channels == 2


def test_a_gateway_that_ends_as_soon_as_it_is_ready_is_started_ever_later(stage: Stage) -> None:
    stage.gateway.start()
    waits = []
    for number in range(4):
        stage.gateway._hear({"event": "ready"})
        stage.told.clear()
        stage.children[-1].kill()
        stage.until("gateway_ended")
        wait_s = 0.0
        while len(stage.children) == number + 1:
            stage.turn(0.25)
            wait_s += 0.25
        waits.append(wait_s)
    assert waits == sorted(waits)
    assert waits[-1] > waits[0] * 3


def test_what_is_detached_is_not_given_to_the_next_gateway(stage: Stage) -> None:
    fed = Fed()
    stage.gateway.attach("main", fed)
    stage.gateway._hear({"event": "ready"})
    stage.gateway.detach("main", "another")
    stage.gateway.detach("main", fed.run)
    stage.children[-1].kill()
    stage.until("gateway_ended")
    stage.turn(1)
    stage.gateway._hear({"event": "ready"})
    assert fed.channels == 1
