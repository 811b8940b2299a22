"""The device's line to the broker: the only module that knows MQTT, and the only one that decodes bytes from it.

Decides: session, will, subscriptions, how a lost broker is met (keep trying, ever rarer, with jitter), and what a
payload is. Leaves out: what is done about it; everything that arrives is handed on as an `Inbound`.
paho runs the network thread; `deliver` is called on it and must only pass the message on.
"""

import contextlib
import logging
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from agent.errors import BrokerUnreachable
from agent.serve.settings import BrokerConfig
from wire import PROTOCOL
from wire.base import LARGEST_MESSAGE_BYTES, LARGEST_PART_BYTES, Message, decode, encode
from wire.envelope import Envelope
from wire.errors import OversizedMessage, WireError
from wire.presence import Ack, Presence
from wire.topics import Topics, parse

log = logging.getLogger(__name__)

LONGEST_RECONNECT_S = 30
LONGEST_JITTER_S = 2.0
MOST_QUEUED = 2000
LAST_WORD_S = 2.0
_BAD_CREDENTIALS = (134, 135)
"""CONNACK reason codes: bad user name or password, not authorised. Source: MQTT 5.0, 3.2.2.2."""


@dataclass(frozen=True)
class Connected:
    """The session stands and everything is subscribed."""


@dataclass(frozen=True)
class Disconnected:
    why: str


@dataclass(frozen=True)
class DesiredReceived:
    workload: str
    envelope: Envelope


@dataclass(frozen=True)
class PlanReceived:
    envelope: Envelope


@dataclass(frozen=True)
class ClaimedReceived:
    envelope: Envelope


@dataclass(frozen=True)
class RawReceived:
    envelope: Envelope


@dataclass(frozen=True)
class AckReceived:
    ack: Ack


@dataclass(frozen=True)
class ChunkReceived:
    artifact: str
    chunk: str
    payload: bytes


@dataclass(frozen=True)
class Unreadable:
    """A payload that is not what its topic promises; `reason` is the error's."""

    topic: str
    workload: str | None
    reason: str
    detail: str


Inbound = (
    Connected
    | Disconnected
    | DesiredReceived
    | PlanReceived
    | ClaimedReceived
    | RawReceived
    | AckReceived
    | ChunkReceived
    | Unreadable
)


def decode_inbound(topic: str, payload: bytes) -> Inbound | None:
    """Return what arrived; None for an empty payload (a retained topic that was cleared) or another kind of topic."""
    workload = None
    try:
        address = parse(topic)
        workload = address.workload
        if not payload:
            return None
        if address.kind == "chunk" and address.bundle and address.item:
            return _chunk(address.bundle, address.item, payload)
        if address.kind == "desired" and workload:
            return DesiredReceived(workload, decode(Envelope, payload))
        if address.kind == "plan":
            return PlanReceived(decode(Envelope, payload))
        if address.kind == "claimed":
            return ClaimedReceived(decode(Envelope, payload))
        if address.kind == "raw":
            return RawReceived(decode(Envelope, payload))
        return AckReceived(decode(Ack, payload)) if address.kind == "ack" else None
    except WireError as exc:
        return Unreadable(topic[:200], workload, exc.reason, str(exc)[:1000])


def _chunk(artifact: str, chunk: str, payload: bytes) -> ChunkReceived:
    if len(payload) > LARGEST_PART_BYTES:
        raise OversizedMessage(f"chunk of {len(payload)} bytes refused: at most {LARGEST_PART_BYTES} are read")
    return ChunkReceived(artifact, chunk, payload)


def _properties(packet: int, **fields: Any) -> Properties:
    properties = Properties(packet)  # type: ignore[no-untyped-call]
    for name, content in fields.items():
        setattr(properties, name, content)
    return properties


class Link:
    """One device's session with the broker. `publish`, `listen` and `unlisten` may be called from any thread."""

    def __init__(
        self, broker: BrokerConfig, password: str | None, will: Presence, deliver: Callable[[Inbound], None]
    ) -> None:
        self._broker = broker
        self._topics = Topics(will.fleet)
        self._device = will.device
        self._deliver = deliver
        self._listening: set[str] = set()
        self._stopping = threading.Event()
        self._linked = threading.Event()
        self._online = threading.Event()
        self._failures = 0
        self._subscription: int | None = None
        self._client = self._make_client(password, will)

    def start(self) -> None:
        """Begin to connect, in the background, for as long as it takes."""
        self.prepare()
        self._client.loop_start()

    def prepare(self) -> None:
        """Say where to connect, and as what; whoever runs the network connects."""
        broker = self._broker
        properties = _properties(
            PacketTypes.CONNECT,
            SessionExpiryInterval=broker.session_expiry_s,
            MaximumPacketSize=LARGEST_MESSAGE_BYTES + 64 * 1024,
        )
        self._client.connect_async(
            broker.host, broker.port, keepalive=broker.keepalive_s, clean_start=False, properties=properties
        )

    def stop(self, last_word: Presence) -> None:
        """Say that the device goes offline, then end the session's connection; the session itself stays."""
        self._stopping.set()
        if self._online.is_set():
            info = self._publish(self._topics.presence(self._device), last_word, retain=True)
            with contextlib.suppress(ValueError, RuntimeError):
                info.wait_for_publish(LAST_WORD_S)
        self._client.disconnect()
        self._client.loop_stop()

    def publish(self, topic: str, message: Message, retain: bool = False) -> bool:
        """Publish at QoS 1. False where the broker is away: state is published again when it is back."""
        if not self._online.is_set():
            return False
        return self._publish(topic, message, retain).rc == paho.MQTT_ERR_SUCCESS

    def listen(self, artifact: str) -> None:
        """Subscribe to an artifact's chunks; again after every reconnection, until `unlisten`."""
        self._listening.add(artifact)
        if self._linked.is_set():  # not `_online`: what is said between connecting and being online would be lost
            self._client.subscribe(self._topics.chunks(artifact), options=SubscribeOptions(qos=1))

    def unlisten(self, artifact: str) -> None:
        """End the subscription."""
        self._listening.discard(artifact)
        if self._linked.is_set():
            self._client.unsubscribe(self._topics.chunks(artifact))

    def _make_client(self, password: str | None, will: Presence) -> paho.Client:
        client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=f"thresher-{will.fleet}-{will.device}", protocol=paho.MQTTv5
        )
        if self._broker.username is not None:
            client.username_pw_set(self._broker.username, password)
        self._set_tls(client)
        self._set_will(client, will)
        client.reconnect_delay_set(1, LONGEST_RECONNECT_S)
        client.max_queued_messages_set(MOST_QUEUED)
        client.on_connect = self._connected
        client.on_subscribe = self._subscribed
        client.on_connect_fail = self._connect_failed
        client.on_disconnect = self._disconnected
        client.on_message = self._arrived
        return client

    def _set_will(self, client: paho.Client, will: Presence) -> None:
        properties = _properties(PacketTypes.WILLMESSAGE, WillDelayInterval=self._broker.will_delay_s)
        client.will_set(self._topics.presence(will.device), encode(will), 1, True, properties)

    def _set_tls(self, client: paho.Client) -> None:
        if self._broker.ca_file is None:
            return
        try:
            client.tls_set(ca_certs=str(self._broker.ca_file))
        except (OSError, ValueError) as exc:
            raise BrokerUnreachable(f"broker.ca_file: {self._broker.ca_file} cannot be used ({exc})") from exc

    def _publish(self, topic: str, message: Message, retain: bool) -> paho.MQTTMessageInfo:
        properties = _properties(PacketTypes.PUBLISH, UserProperty=("schema", str(PROTOCOL)))
        return self._client.publish(topic, encode(message), 1, retain, properties)

    # What follows runs on paho's thread.

    def _connected(self, client: paho.Client, _: Any, __: Any, reason: ReasonCode, ___: Any) -> None:
        if reason.is_failure:
            self._refused(reason)
            return
        self._failures = 0
        self._linked.set()
        topics, device = self._topics, self._device
        own = (
            topics.desired(device, "+"),
            topics.plan(device),
            topics.ack(device),
            topics.claimed(device),
            topics.raw(device),
        )
        chunks = [self._topics.chunks(artifact) for artifact in tuple(self._listening)]
        _, self._subscription = client.subscribe([(topic, SubscribeOptions(qos=1)) for topic in (*own, *chunks)])

    def _subscribed(self, _: Any, __: Any, mid: int, reasons: list[ReasonCode], ___: Any) -> None:
        """Be online only now: what paho repeats from before the break is on its way, so new state comes after it."""
        refused = [str(reason) for reason in reasons if reason.is_failure]
        if refused:
            log.error("the broker at %s refuses subscriptions of %s: %s", self._where, self._device, refused[0])
        if mid == self._subscription:
            self._online.set()
            log.info("connected to %s as %s", self._where, self._device)
            self._deliver(Connected())

    def _refused(self, reason: ReasonCode) -> None:
        remedy = "check broker.host and broker.port"
        if reason.value in _BAD_CREDENTIALS:
            remedy = "check broker.username and broker.password_file (or THRESHER_AGENT_BROKER_PASSWORD)"
        log.error("the broker at %s refuses %s: %s; %s; trying again", self._where, self._device, reason, remedy)

    def _connect_failed(self, *_: Any) -> None:
        self._failures += 1
        if self._failures == 1 or self._failures % 10 == 0:
            log.warning(
                "no broker answers at %s (%d tries): serving goes on, trying again every %d s at most",
                self._where,
                self._failures,
                LONGEST_RECONNECT_S,
            )
        self._wait_a_little()

    def _disconnected(self, _: Any, __: Any, ___: Any, reason: ReasonCode, ____: Any) -> None:
        was_online = self._online.is_set()
        self._linked.clear()
        self._online.clear()
        if self._stopping.is_set():
            return
        if was_online:
            log.warning("lost the broker at %s (%s): serving goes on, trying again", self._where, reason)
            self._deliver(Disconnected(str(reason)))
        else:
            self._closed_unanswered()
        self._wait_a_little()

    def _closed_unanswered(self) -> None:
        self._failures += 1
        if self._failures == 1 or self._failures % 10 == 0:
            log.error(
                "the broker at %s closes the connection before it is made: it may want other credentials (check "
                "broker.username, broker.password_file) or MQTT 5 on another port; trying again",
                self._where,
            )

    def _arrived(self, _: Any, __: Any, message: paho.MQTTMessage) -> None:
        inbound = decode_inbound(message.topic, bytes(message.payload))
        if inbound is not None:
            self._deliver(inbound)

    def _wait_a_little(self) -> None:
        """Spread devices that lost the broker together; paho's own back-off comes on top."""
        self._stopping.wait(random.uniform(0.0, LONGEST_JITTER_S))

    @property
    def _where(self) -> str:
        return f"{self._broker.host}:{self._broker.port}"
