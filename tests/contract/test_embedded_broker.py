"""The embedded broker keeps what the protocol counts on: retained state, delayed wills, sessions, queues."""

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from controller.broker.embedded import EmbeddedBroker, answers
from controller.broker.settings import LARGEST_PAYLOAD_BYTES
from controller.errors import BrokerUnreachable

WAIT_S = 10.0


class Peer:
    """A client that keeps what it receives."""

    def __init__(self, broker: EmbeddedBroker, name: str, expiry_s: int = 0, **login: str) -> None:
        self.received: queue.Queue[mqtt.MQTTMessage] = queue.Queue()
        self.connected = threading.Event()
        self.session_present = False
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=name, protocol=mqtt.MQTTv5)
        self.client.on_message = lambda _client, _context, message: self.received.put(message)
        self.client.on_connect = self._on_connect
        if login:
            self.client.username_pw_set(login["user"], login["word"])
        self._broker, self._expiry_s = broker, expiry_s

    def connect(self, clean: bool = True) -> "Peer":
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = self._expiry_s
        self.client.connect(self._broker.host, self._broker.port, 30, clean_start=clean, properties=properties)
        self.client.loop_start()
        assert self.connected.wait(WAIT_S)
        return self

    def subscribe(self, topic: str) -> "Peer":
        done = threading.Event()
        self.client.on_subscribe = lambda *_: done.set()
        self.client.subscribe(topic, qos=1)
        assert done.wait(WAIT_S)
        return self

    def publish(self, topic: str, payload: bytes, retain: bool = False) -> None:
        self.client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(WAIT_S)

    def next(self, timeout_s: float = WAIT_S) -> bytes:
        return bytes(self.received.get(timeout=timeout_s).payload)

    def drop(self) -> None:
        """Lose the connection as a device without power does."""
        self.client.loop_stop()
        sock = self.client.socket()
        assert sock is not None
        sock.close()

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def _on_connect(
        self, _client: object, _context: object, flags: mqtt.ConnectFlags, code: object, _p: object
    ) -> None:
        self.session_present = flags.session_present
        if not getattr(code, "is_failure", True):
            self.connected.set()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker(folder=tmp_path) as running:
        yield running


@pytest.fixture
def peer(broker: EmbeddedBroker) -> Iterator[Callable[..., Peer]]:
    made: list[Peer] = []

    def make(name: str, **options: object) -> Peer:
        made.append(Peer(broker, name, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_retained_state_reaches_a_late_subscriber_and_can_be_cleared(peer: Callable[..., Peer]) -> None:
    writer = peer("writer").connect()
    writer.publish("t/kept", b"state", retain=True)
    assert peer("late").connect().subscribe("t/#").next() == b"state"
    writer.publish("t/kept", b"", retain=True)
    later = peer("later").connect().subscribe("t/#")
    writer.publish("t/live", b"mark")
    assert later.next() == b"mark"  # nothing retained came before it


def test_restart_loses_retained_state_and_keeps_the_port(broker: EmbeddedBroker, peer: Callable[..., Peer]) -> None:
    peer("writer").connect().publish("t/kept", b"state", retain=True)
    port, pid = broker.port, broker.pid
    broker.restart()
    assert (broker.port, broker.pid == pid) == (port, False)
    late = peer("late").connect().subscribe("t/#")
    late.publish("t/live", b"mark")
    assert late.next() == b"mark"


def test_a_will_waits_for_its_delay(peer: Callable[..., Peer]) -> None:
    watcher = peer("watcher").connect().subscribe("t/presence")
    device = peer("device", expiry_s=60)
    properties = Properties(PacketTypes.WILLMESSAGE)  # type: ignore[no-untyped-call]
    properties.WillDelayInterval = 2
    device.client.will_set("t/presence", b"offline", qos=1, retain=True, properties=properties)
    device.connect()
    dropped_at = time.monotonic()
    device.drop()
    assert watcher.next() == b"offline"
    assert time.monotonic() - dropped_at >= 1.5  # a lower bound of the protocol, not a speed


def test_a_session_queues_while_its_device_is_away(peer: Callable[..., Peer]) -> None:
    device = peer("device", expiry_s=3600).connect(clean=False).subscribe("t/desired")
    device.drop()
    peer("writer").connect().publish("t/desired", b"while away")
    device.connected.clear()
    device.connect(clean=False)
    assert device.next() == b"while away"
    assert device.session_present


def test_a_payload_of_nearly_one_mebibyte_passes(peer: Callable[..., Peer]) -> None:
    content = os.urandom(LARGEST_PAYLOAD_BYTES - 1024)
    reader = peer("reader").connect().subscribe("t/large")
    peer("writer").connect().publish("t/large", content)
    assert reader.next() == content


def test_logins_are_checked(tmp_path: Path) -> None:
    with EmbeddedBroker(folder=tmp_path, logins={"barn": "right"}) as guarded:
        known = Peer(guarded, "known", user="barn", word="right").connect()
        unknown = Peer(guarded, "unknown", user="barn", word="wrong")
        unknown.client.connect(guarded.host, guarded.port)
        unknown.client.loop_start()
        assert not unknown.connected.wait(1.0)
        known.close()
        unknown.close()


def test_a_taken_port_is_named(broker: EmbeddedBroker, tmp_path: Path) -> None:
    with pytest.raises(BrokerUnreachable, match=str(broker.port)):
        EmbeddedBroker(broker.port, tmp_path / "second").start()


def test_the_broker_dies_with_its_parent(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from controller.broker.embedded import EmbeddedBroker;"
        "b = EmbeddedBroker(folder=Path(sys.argv[1])).start(); print(b.port, b.pid, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    port, pid = (int(word) for word in parent.stdout.readline().split())
    assert answers("127.0.0.1", port)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + WAIT_S
    while _alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _alive(pid)
    parent.stdout.close()


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
