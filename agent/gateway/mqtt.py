"""The gateway's session with the broker of sensors and predictions: what `DataLink` promises, over paho.

Decides: the session (fresh at the gateway's start, kept over lost connections), which messages are worth having (no
retained ones, whose age nobody knows; none of its own, so that no prediction comes back as a reading; none of the
fleet's own topics), how many may wait (a burst drops the oldest, `burst_dropped`), and how a lost broker is met: tried
again, ever rarer, with jitter. Leaves out: what a payload means (`sources/readings.py`), keeping what could not be
published (the store). paho runs the network thread; everything else belongs to the event loop.

    link = MqttLink(order.broker, order.password, client_id(order.fleet, order.device), counts, largest_payload(serve))
    await link.start(); end = link.subscribe("farm/+/climate", 1, heard); ...; await link.close()
"""

import asyncio
import contextlib
import logging
import random
import threading
from collections.abc import Callable
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from agent.errors import BrokerUnreachable
from agent.gateway.base import Undeliverable, Undelivered
from agent.gateway.sources.inbox import Heard, Inbox, Message, Subscriptions
from agent.serve.settings import RESERVED_TOPICS, BrokerConfig, MqttSource, ServeConfig

log = logging.getLogger(__name__)

LARGEST_PAYLOAD_BYTES = 16 * 1024 * 1024
"""What a source may be set to read at most."""

AROUND_PAYLOAD_BYTES = 72 * 1024
"""Room in a packet for the longest topic that MQTT has (64 KiB), and for properties."""

MOST_UNACKNOWLEDGED = 1000
ACKNOWLEDGED_WITHIN_S = 10.0
LAST_WORD_S = 1.0
LONGEST_RECONNECT_S = 30
LONGEST_JITTER_S = 2.0
_NEVER = (144, 149, 153)
"""PUBACK reason codes: topic name invalid, packet too large, payload format invalid. Source: MQTT 5.0, 3.4.2.1."""
_BAD_CREDENTIALS = (134, 135)
"""CONNACK reason codes: bad user name or password, not authorised. Source: MQTT 5.0, 3.2.2.2."""

Count = Callable[[str], None]


def client_id(fleet: str, device: str) -> str:
    """Return the name of the data session, which is not that of the control process."""
    return f"thresher-{fleet}-{device}-data"


def largest_payload(serve: ServeConfig) -> int:
    """Return the largest payload that any source reads [bytes]; 1 where none listens."""
    sources = [serve.source, *(each.source for each in serve.workloads.values())]
    return max((source.largest_bytes for source in sources if isinstance(source, MqttSource)), default=1)


class MqttLink:
    """Implements `DataLink`. All methods belong to the event loop's thread; the broker may be away at any time."""

    def __init__(
        self,
        broker: BrokerConfig,
        password: str | None,
        name: str,
        count: Count,
        largest_bytes: int = LARGEST_PAYLOAD_BYTES,
    ) -> None:
        """Prepare a session; nothing is connected before `start`.

        Args:
            broker: Where the broker is.
            password: Its secret; only sent with a user name.
            name: Client id, see `client_id`.
            count: Counts reasons that belong to no source.
            largest_bytes: The broker is told to keep messages to itself that cannot hold so small a payload.
        Raises:
            BrokerUnreachable: `ca_file` cannot be used.
        """
        self._broker = broker
        self._name = name
        self._signature = ("from", name)
        self._count = count
        self._largest_packet_bytes = largest_bytes + AROUND_PAYLOAD_BYTES
        self._subscriptions = Subscriptions()
        self._inbox = Inbox()
        self._awaited: dict[int, asyncio.Future[ReasonCode]] = {}
        self._online = False
        self._numbered = True
        self._asked: set[int] = set()
        self._failures = 0
        self._stopping = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client = self._make_client(password)

    @property
    def online(self) -> bool:
        """Whether the broker is connected."""
        return self._online

    @property
    def listening(self) -> bool:
        """Whether the broker has answered every subscription."""
        return self._online and not self._asked

    async def start(self) -> None:
        """Begin to connect, in the background, for as long as it takes."""
        self._loop = asyncio.get_running_loop()
        properties = _properties(
            PacketTypes.CONNECT,
            SessionExpiryInterval=self._broker.session_expiry_s,
            MaximumPacketSize=self._largest_packet_bytes,
        )
        self._client.connect_async(
            self._broker.host,
            self._broker.port,
            keepalive=self._broker.keepalive_s,
            clean_start=paho.MQTT_CLEAN_START_FIRST_ONLY,
            properties=properties,
        )
        self._client.loop_start()

    async def close(self) -> None:
        """End the session: what the broker would keep for it is of no use to the next one."""
        self._stopping.set()
        with contextlib.suppress(ValueError, OSError):
            self._client.disconnect(properties=_properties(PacketTypes.DISCONNECT, SessionExpiryInterval=0))
        self._fail_awaited("the gateway ends")
        if self._loop is not None:
            await self._end_thread()

    async def _end_thread(self) -> None:
        """Let paho's thread say goodbye; one that tries to reach a silent broker is not waited for."""
        ended = asyncio.Event()

        def stop() -> None:
            self._client.loop_stop()
            self._post(ended.set)

        threading.Thread(target=stop, daemon=True).start()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORD_S):
                await ended.wait()

    def subscribe(self, topic: str, qos: int, heard: Heard) -> Callable[[], None]:
        """Have `heard(topic, payload)` called on the event loop; return what ends it. Holds over reconnections."""
        if self._subscriptions.add(topic, qos, heard) and self._online:
            self._ask(topic)

        def end() -> None:
            if self._subscriptions.remove(topic, heard) and self._online:
                self._client.unsubscribe(topic)

        return end

    async def publish(self, topic: str, payload: bytes, qos: int, retain: bool) -> None:
        """Publish; at QoS 1 return once the broker has acknowledged, at QoS 0 once it has left.

        Raises:
            Undelivered: The broker is away, refuses for now, or did not acknowledge in time; it may come all the same.
            Undeliverable: The broker, or MQTT itself, refuses such a message for good.
        """
        if not self._online:
            raise Undelivered(f"the broker at {self._where} is away")
        try:
            properties = _properties(PacketTypes.PUBLISH, UserProperty=self._signature)
            info = self._client.publish(topic, payload, qos, retain, properties)
        except ValueError as exc:
            raise Undeliverable(f"nothing can be published to {topic[:200]!r}: {exc}") from exc
        if info.rc != paho.MQTT_ERR_SUCCESS:
            raise Undelivered(f"the broker at {self._where} takes no more: {paho.error_string(info.rc)}")
        await self._acknowledgement(info.mid, topic)

    async def _acknowledgement(self, number: int, topic: str) -> None:
        # No await lies between publishing and this line, so an acknowledgement cannot have been heard before.
        future = self._awaited[number] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(ACKNOWLEDGED_WITHIN_S):
                answer = await future
        except TimeoutError as exc:
            within = f"within {ACKNOWLEDGED_WITHIN_S:.0f} s"
            raise Undelivered(f"the broker at {self._where} did not acknowledge {topic[:200]!r} {within}") from exc
        finally:
            self._awaited.pop(number, None)
        if answer.is_failure:
            refusal = Undeliverable if answer.value in _NEVER else Undelivered
            raise refusal(f"the broker at {self._where} refuses a message to {topic[:200]!r}: {answer}")

    def _make_client(self, password: str | None) -> paho.Client:
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=self._name, protocol=paho.MQTTv5)
        if self._broker.username is not None:
            client.username_pw_set(self._broker.username, password)
        if self._broker.ca_file is not None:
            try:
                client.tls_set(ca_certs=str(self._broker.ca_file))
            except (OSError, ValueError) as exc:
                raise BrokerUnreachable(f"broker.ca_file: {self._broker.ca_file} cannot be used ({exc})") from exc
        client.reconnect_delay_set(1, LONGEST_RECONNECT_S)
        client.max_queued_messages_set(MOST_UNACKNOWLEDGED)
        client.on_connect = lambda _, __, ___, reason, given: self._post(self._connected, reason, given)
        client.on_connect_fail = lambda _, __: self._away(None)
        client.on_disconnect = lambda _, __, ___, reason, ____: self._away(reason)
        client.on_subscribe = lambda _, __, number, reasons, ___: self._post(self._subscribed, number, reasons)
        client.on_publish = lambda _, __, number, reason, ____: self._post(self._acknowledged, number, reason)
        client.on_message = self._arrived
        return client

    # On the event loop.

    def _ask(self, *topics: str) -> None:
        """Subscribe. `noLocal`: own predictions do not come back; retained messages are not sent."""
        for topic, qos, number in self._subscriptions.wanted(*topics):
            options = SubscribeOptions(qos=qos, noLocal=True, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND)
            told = {"SubscriptionIdentifier": number} if self._numbered else {}
            _, asked = self._client.subscribe(
                topic, options=options, properties=_properties(PacketTypes.SUBSCRIBE, **told)
            )
            if asked is not None:
                self._asked.add(asked)

    def _connected(self, reason: ReasonCode, given: Properties) -> None:
        if reason.is_failure:
            remedy = "check broker.host and broker.port"
            if reason.value in _BAD_CREDENTIALS:
                remedy = "check the user name and the password file of serve.broker (or broker)"
            log.error("the broker at %s refuses %s: %s; %s; trying again", self._where, self._name, reason, remedy)
            return
        self._online, self._failures = True, 0
        self._numbered = bool(getattr(given, "SubscriptionIdentifierAvailable", True))
        self._asked.clear()
        self._ask()
        log.info("connected to the broker of sensors at %s as %s", self._where, self._name)

    def _subscribed(self, number: int, reasons: list[ReasonCode]) -> None:
        self._asked.discard(number)
        for refused in (str(reason) for reason in reasons if reason.is_failure):
            log.error("the broker at %s refuses a subscription of %s: %s", self._where, self._name, refused)
            self._note("subscription_refused")

    def _acknowledged(self, number: int, reason: ReasonCode) -> None:
        future = self._awaited.get(number)
        if future is not None and not future.done():
            future.set_result(reason)

    def _lost(self, reason: ReasonCode | None) -> None:
        was_online, self._online = self._online, False
        self._fail_awaited(f"the broker at {self._where} went away")
        if was_online:
            log.warning("lost the broker of sensors at %s (%s): trying again", self._where, reason)
            return
        self._failures += 1
        if self._failures == 1 or self._failures % 10 == 0:
            tries = f"{self._failures} tries, at most {LONGEST_RECONNECT_S} s apart"
            log.warning("no broker of sensors answers at %s (%s)", self._where, tries)

    def _fail_awaited(self, why: str) -> None:
        for future in self._awaited.values():
            if not future.done():
                future.set_exception(Undelivered(why))

    def _give_out(self) -> None:
        loop = asyncio.get_running_loop()
        messages, dropped, more = self._inbox.take()
        self._note("burst_dropped", dropped)
        for message in messages:
            for heard in self._subscriptions.listeners(message):
                # In a call of its own: a listener that fails costs the others nothing.
                loop.call_soon(heard, message.topic, message.payload)
        if more:
            loop.call_soon(self._give_out)

    def _note(self, reason: str, times: int = 1) -> None:
        for _ in range(times):
            self._post(self._count, reason)

    # On paho's thread.

    def _arrived(self, _: Any, __: Any, message: paho.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:  # raised here it would end paho's thread, and with it the link
            self._note("topic_malformed")
            return
        # Own predictions are known by their signature: not every broker heeds `noLocal`.
        if topic.startswith(RESERVED_TOPICS) or self._signature in getattr(message.properties, "UserProperty", ()):
            return
        filters = tuple(getattr(message.properties, "SubscriptionIdentifier", ()))
        if self._inbox.put(Message(topic, bytes(message.payload), filters)):
            self._post(self._give_out)

    def _away(self, reason: ReasonCode | None) -> None:
        """Spread devices that lost the broker together; paho's own back-off comes on top."""
        if not self._stopping.is_set():
            self._post(self._lost, reason)
            self._stopping.wait(random.uniform(0.0, LONGEST_JITTER_S))

    def _post(self, call: Callable[..., None], *arguments: Any) -> None:
        # The loop closes while paho's thread still runs when the gateway is cut short.
        with contextlib.suppress(RuntimeError):
            if self._loop is not None:
                self._loop.call_soon_threadsafe(call, *arguments)

    @property
    def _where(self) -> str:
        return f"{self._broker.host}:{self._broker.port}"


def _properties(packet: int, **fields: Any) -> Properties:
    properties = Properties(packet)  # type: ignore[no-untyped-call]
    for name, content in fields.items():
        setattr(properties, name, content)
    return properties
