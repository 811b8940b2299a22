"""The controller's connection to the broker; the only module of the controller that knows MQTT.

Decides: protocol version, session, quality of service, how a failed connection is named. Leaves out: what is said.
Every session starts clean: what matters is retained, repeated by the devices until it is acknowledged, or asked for
again, so a queue at the broker would only repeat what is out of date.

    client = BrokerClient(BrokerSettings(port=1883), "controller-1", on_message=queue.put)
    client.connect(); client.subscribe(["thresher/1/farm/d/+/presence"])
    client.publish(topic, payload, retain=True).wait(5.0)
"""

import logging
import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from controller.errors import BrokerUnreachable, ConfigurationError
from wire.base import LARGEST_MESSAGE_BYTES

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 10.0
MOST_IN_FLIGHT = 64
_REFUSED_CREDENTIALS = frozenset({0x86, 0x87, 0x8C})  # MQTT 5, 3.2.2.2: bad login, not authorised, bad method


@dataclass(frozen=True)
class BrokerSettings:
    """Where the broker is and how to log in. Paths are absolute or relative to the working directory."""

    host: str = "127.0.0.1"
    port: int = 1883
    username: str | None = None
    password_file: str | None = None
    ca_file: str | None = None
    keepalive_s: int = 30

    @property
    def shown(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Received:
    """A message as it came. `retained`: the broker kept it from before we subscribed."""

    topic: str
    payload: bytes
    retained: bool


class Publication:
    """A message on its way; done when the broker acknowledged it or refused it."""

    def __init__(self, on_done: Callable[[], None] | None = None) -> None:
        self._done = threading.Event()
        self._on_done = on_done
        self.refused = ""

    def wait(self, timeout_s: float) -> bool:
        """Wait for the answer; return whether the broker took the message."""
        return self._done.wait(timeout_s) and not self.refused

    def finish(self, refused: str = "") -> None:
        """Note the broker's answer."""
        self.refused = refused
        self._done.set()
        if self._on_done is not None:
            self._on_done()


class BrokerClient:
    """One connection that comes back by itself. Callbacks run on the network thread and must be quick."""

    def __init__(
        self,
        settings: BrokerSettings,
        client_id: str,
        *,
        on_message: Callable[[Received], None],
        on_connected: Callable[[], None] | None = None,
    ) -> None:
        self.settings = settings
        self._on_message = on_message
        self._on_connected = on_connected
        self._filters: list[str] = []
        self._waiting: dict[int, Publication] = {}
        self._early: dict[int, str] = {}
        self._lock = threading.Lock()
        self._answered = threading.Event()
        self._refusal: ReasonCode | None = None
        self._closed_early = False
        self._paho = self._make(client_id)

    @property
    def connected(self) -> bool:
        return self._paho.is_connected()

    def connect(self, timeout_s: float = CONNECT_TIMEOUT_S) -> None:
        """Connect, and keep connected until `close`.

        Raises:
            BrokerUnreachable: Nobody answers there, or the broker refuses us; the text says which and what to do.
            ConfigurationError: The password or CA file cannot be used.
        """
        self._set_secrets()
        self._paho.connect_timeout = timeout_s
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.MaximumPacketSize = LARGEST_MESSAGE_BYTES + 64 * 1024
        try:
            self._paho.connect(
                self.settings.host,
                self.settings.port,
                self.settings.keepalive_s,
                properties=properties,
                clean_start=True,
            )
        except (OSError, ValueError) as exc:
            raise BrokerUnreachable(self._unreachable(exc)) from exc
        self._paho.loop_start()
        answered = self._answered.wait(timeout_s)
        if not answered or self._refusal is not None or self._closed_early:
            self.close()
            raise BrokerUnreachable(self._unwelcome(answered))

    def subscribe(self, filters: Sequence[str]) -> None:
        """Subscribe at QoS 1, now and after every reconnection."""
        with self._lock:
            new = [each for each in filters if each not in self._filters]
            self._filters += new
        if new and self.connected:
            self._paho.subscribe([(each, 1) for each in new])

    def publish(
        self, topic: str, payload: bytes, *, retain: bool = False, on_done: Callable[[], None] | None = None
    ) -> Publication:
        """Publish at QoS 1; a message given while disconnected goes out after the reconnection."""
        publication = Publication(on_done)
        # No lock of ours may be held here: paho takes its own, and holds it while it calls `_published`.
        sent = self._paho.publish(topic, payload, qos=1, retain=retain)
        with self._lock:
            answer = self._early.pop(sent.mid, None)  # the answer may come before `publish` returns
            if answer is None:
                self._waiting[sent.mid] = publication
        if answer is not None:
            publication.finish(answer)
        return publication

    def close(self) -> None:
        """Disconnect and end the network thread. Safe to call twice."""
        self._paho.disconnect()
        self._paho.loop_stop()

    def _make(self, client_id: str) -> paho.Client:
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=paho.MQTTv5)
        client.max_inflight_messages_set(MOST_IN_FLIGHT)
        client.reconnect_delay_set(1, 15)
        client.on_connect = self._connected
        client.on_disconnect = self._disconnected
        client.on_message = self._received
        client.on_publish = self._published
        return client

    def _set_secrets(self) -> None:
        if self.settings.ca_file:
            try:
                self._paho.tls_set(ca_certs=self.settings.ca_file, tls_version=ssl.PROTOCOL_TLS_CLIENT)
            except (OSError, ValueError) as exc:
                raise ConfigurationError(f"broker.ca_file {self.settings.ca_file} cannot be used: {exc}") from exc
        if self.settings.username is not None:
            self._paho.username_pw_set(self.settings.username, self._password())

    def _password(self) -> str | None:
        if not self.settings.password_file:
            return None
        try:
            return Path(self.settings.password_file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as exc:
            raise ConfigurationError(
                f"broker.password_file {self.settings.password_file} cannot be read: {exc}"
            ) from exc

    def _unreachable(self, exc: Exception) -> str:
        return (
            f"no broker answers at {self.settings.shown} ({exc}): start one (`controller broker run`), "
            "or correct broker.host and broker.port in the fleet file"
        )

    def _unwelcome(self, answered: bool) -> str:
        where = self.settings.shown
        login = "check broker.username and broker.password_file in the fleet file"
        if self._refusal is not None and self._refusal.value in _REFUSED_CREDENTIALS:
            return f"the broker at {where} refused the credentials ({self._refusal}): {login}"
        if self._refusal is not None:
            return f"the broker at {where} refused the connection ({self._refusal}): it must speak MQTT 5"
        if answered:
            return (
                f"the broker at {where} hung up without an answer: wrong credentials ({login}), or not an MQTT 5 broker"
            )
        return f"what listens at {where} does not answer as a broker: correct broker.host and broker.port"

    def _connected(self, _client: Any, _userdata: Any, _flags: Any, code: ReasonCode, _properties: Any) -> None:
        if code.is_failure:
            self._refusal = code
            self._answered.set()
            return
        with self._lock:
            filters = [(each, 1) for each in self._filters]
        if filters:
            self._paho.subscribe(filters)
        self._answered.set()
        log.info("connected to the broker at %s", self.settings.shown)
        if self._on_connected is not None:
            self._on_connected()

    def _disconnected(self, _client: Any, _userdata: Any, _flags: Any, code: ReasonCode, _properties: Any) -> None:
        if not self._answered.is_set():
            self._closed_early = True
            self._answered.set()
        level = logging.WARNING if code.is_failure else logging.INFO
        log.log(level, "connection to the broker at %s ended (%s)", self.settings.shown, code)

    def _received(self, _client: Any, _userdata: Any, message: paho.MQTTMessage) -> None:
        self._on_message(Received(message.topic, bytes(message.payload), bool(message.retain)))

    def _published(self, _client: Any, _userdata: Any, mid: int, code: ReasonCode, _properties: Any) -> None:
        answer = str(code) if code.is_failure else ""
        with self._lock:
            publication = self._waiting.pop(mid, None)
            if publication is None:
                self._early[mid] = answer
        if publication is not None:
            publication.finish(answer)
