"""Watches a fleet's topics for tests: every report, event and presence message, in order."""

import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from wire.base import decode
from wire.device_state import TERMINAL, State
from wire.presence import Event, Presence
from wire.telemetry import Metrics
from wire.topics import Topics, parse
from wire.update import Reported

FLEET = "test-fleet"
PATIENCE_S = 60.0
"""A wait that takes longer has failed; no test asserts how long anything took."""


class Watcher:
    """Keeps every report, event and presence message that passes, in order."""

    def __init__(self, port: int, fleet: str = FLEET, login: Mapping[str, str] | None = None) -> None:
        self.reports: list[Reported] = []
        self.events: list[Event] = []
        self.presence: dict[str, bool] = {}
        self.metrics: list[Metrics] = []
        self._changed = threading.Condition()
        self._topics = Topics(fleet)
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, f"watcher-{os.getpid()}-{port}", protocol=mqtt.MQTTv5)
        self._client.on_message = self._on_message
        self._client.on_connect = self._on_connect
        if login:
            self._client.username_pw_set(login["username"], Path(login["password_file"]).read_text())
        self._client.reconnect_delay_set(1, 1)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self._client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(10)

    def wait(self, what: str, found: Callable[[], Any], timeout_s: float = PATIENCE_S) -> Any:
        """Return the first true value of `found`, asked again at each message."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not (value := found()):
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    raise AssertionError(f"waited {timeout_s:.0f} s for {what}; last reports: {self._tail()}")
                self._changed.wait(min(left_s, 0.25))
            return value

    def state(self, device: str, *states: State, gen: int = 0, workload: str = "main") -> Reported:
        """Wait until a device has reported one of `states` in generation `gen` or a later one."""

        def seen() -> Reported | None:
            return next((each for each in self.of(device, workload) if each.gen >= gen and each.state in states), None)

        wanted = "/".join(state.value for state in states)
        report: Reported = self.wait(f"{device} {workload} to report {wanted} (gen >= {gen})", seen)
        return report

    def ended(self, device: str, gen: int, workload: str = "main") -> Reported:
        """Wait until a device has ended generation `gen` or a later one."""
        return self.state(device, *TERMINAL, gen=gen, workload=workload)

    def of(self, device: str, workload: str = "main") -> list[Reported]:
        return [each for each in list(self.reports) if each.device == device and each.workload == workload]

    def last(self, device: str, workload: str = "main") -> Reported:
        return self.of(device, workload)[-1]

    def refusals(self, device: str) -> list[str]:
        return [each.reason or "" for each in list(self.events) if each.device == device and each.kind == "refused"]

    def _tail(self) -> list[str]:
        return [
            f"{each.device}/{each.workload} gen {each.gen} {each.state.value}"
            f"{' ' + each.error.code + ': ' + each.error.detail if each.error else ''}"
            for each in self.reports[-6:]
        ]

    def _on_connect(self, client: mqtt.Client, *_: Any) -> None:
        own = (self._topics.event("+"), self._topics.presence("+"), self._topics.metrics("+"))
        topics = (self._topics.reported("+", "+"), *own)
        client.subscribe([(topic, mqtt.SubscribeOptions(qos=1)) for topic in topics])

    def _on_message(self, _client: mqtt.Client, _userdata: Any, message: mqtt.MQTTMessage) -> None:
        if not message.payload:
            return
        address, payload = parse(message.topic), bytes(message.payload)
        with self._changed:
            if address.kind == "reported":
                self.reports.append(decode(Reported, payload))
            elif address.kind == "event":
                self.events.append(decode(Event, payload))
            elif address.kind == "metrics":
                self.metrics.append(decode(Metrics, payload))
            elif address.kind == "presence":
                presence = decode(Presence, payload)
                self.presence[presence.device] = presence.online
            self._changed.notify_all()
