"""Predictions to topics: which topic, and through a real Mosquitto that goes and comes back."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from agent.gateway import mqtt
from agent.gateway.base import Clock, Undelivered
from agent.gateway.mqtt import MqttLink
from agent.gateway.sinks import forward
from agent.gateway.sinks.failures import BrokerAway, TopicRefused
from agent.gateway.sinks.forward import Forwarder
from agent.gateway.sinks.mqtt import MqttPublisher
from agent.gateway.store.store import Store
from agent.serve.settings import BrokerConfig, MqttSink, StoreSettings
from tests.unit.agent.gateway.sinks.sink_kit import prediction, surroundings
from tests.unit.agent.gateway.sources.source_kit import Mosquitto, play, until


class Link:
    """Notes what is published; fails at the messages whose numbers are in `failing`."""

    def __init__(self) -> None:
        self.published: list[tuple[str, bytes, int, bool]] = []
        self.failing: set[int] = set()

    def subscribe(self, *_: Any) -> Any:
        raise AssertionError("a sink subscribes to nothing")

    async def publish(self, topic: str, payload: bytes, qos: int, retain: bool) -> None:
        if json.loads(payload)["origin"].get("n") in self.failing:
            raise Undelivered("away")
        await asyncio.sleep(0)
        self.published.append((topic, payload, qos, retain))


class Attended:
    """A real link that publishes only while somebody listens: a broker that came back may have forgotten who did."""

    def __init__(self, link: MqttLink, ears: MqttLink) -> None:
        self.link, self.ears = link, ears

    async def publish(self, topic: str, payload: bytes, qos: int, retain: bool) -> None:
        if not self.ears.listening:
            raise Undelivered("nobody listens yet")
        await self.link.publish(topic, payload, qos, retain)


def sink(topic: str, link: Any = None, **settings: Any) -> MqttPublisher:
    return MqttPublisher("mqtt", MqttSink(kind="mqtt", topic=topic, **settings), surroundings(Path("none"), link))


@pytest.mark.parametrize(
    ("template", "origin", "topic"),
    [
        ("farm/predictions", {}, "farm/predictions"),
        ("p/{device}/{workload}", {}, "p/barn-1/climate"),
        ("{topic}/prediction", {"topic": "farm/barn/climate"}, "farm/barn/climate/prediction"),
        ("p/{key}", {"topic": "farm/barn/climate", "key": "climate"}, "p/climate"),
        ("p/{key}/x", {}, "p/_/x"),
        ("p/{key}/x", {"key": ""}, "p/_/x"),
        ("p/{key}", {"key": "a+b#c"}, "p/a_b_c"),
        ("p/{key}", {"key": "a\0\n\x9f"}, "p/a___"),
        ("p/{key}", {"key": "größe"}, "p/größe"),
        ("p/{key}", {"key": "\ud800"}, "p/?"),
        ("p/{key}", {"key": 7}, "p/7"),
        ("p/{key}", {"key": "{device}"}, "p/{device}"),
    ],
)
def test_the_topic_of_a_prediction(template: str, origin: dict[str, Any], topic: str) -> None:
    assert sink(template).topic_of(prediction(1, origin=origin)) == topic


@pytest.mark.parametrize(
    "origin",
    [
        {"topic": "thresher/1/farm/d/pi-1/w/main/desired"},
        {"topic": "thresher"},
        {"topic": "$SYS/x"},
        {"topic": "a" * 70_000},
    ],
)
def test_a_topic_that_nobody_may_publish_to_is_refused_for_good(origin: dict[str, Any]) -> None:
    with pytest.raises(TopicRefused):
        sink("{topic}").topic_of(prediction(1, origin=origin))


@pytest.mark.parametrize("topic", ["a/+", "a/#", "a/{nobody}", "thresher/1/farm/d/pi-1/ack", "thresher", "$SYS/a", ""])
def test_a_template_that_cannot_be_published_to_is_a_configuration_error(topic: str) -> None:
    with pytest.raises(ValidationError):
        MqttSink(kind="mqtt", topic=topic)


def test_each_is_a_message_with_the_document_as_json() -> None:
    link = Link()
    asyncio.run(sink("p/{key}", link, qos=0, retain=True).deliver([prediction(1), prediction(2)]))
    assert [(topic, qos, retain) for topic, _, qos, retain in link.published] == [("p/climate", 0, True)] * 2
    assert [json.loads(payload) for _, payload, _, _ in link.published] == [
        dict(prediction(n).document) for n in (1, 2)
    ]


@pytest.mark.parametrize(("failing", "published"), [({0}, []), ({2}, [0, 1])])
def test_nothing_overtakes_a_message_that_was_not_acknowledged(failing: set[int], published: list[int]) -> None:
    link = Link()
    link.failing = failing
    with pytest.raises(BrokerAway):
        asyncio.run(sink("p", link).deliver([prediction(number) for number in range(4)]))
    assert [json.loads(payload)["origin"]["n"] for _, payload, _, _ in link.published] == published


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """One that keeps sessions and what waits for them over a restart."""
    folder = tmp_path / "broker"
    settings = {"persistence": "true", "persistence_location": f"{folder}/", "max_queued_messages": "0"}
    mosquitto = Mosquitto(folder, settings).start()
    yield mosquitto
    mosquitto.stop()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "LONGEST_RECONNECT_S", 1)
    monkeypatch.setattr(mqtt, "LONGEST_JITTER_S", 0.05)
    monkeypatch.setattr(forward, "FIRST_WAIT_S", 0.05)
    monkeypatch.setattr(forward, "LONGEST_WAIT_S", 0.2)


def test_through_a_broker_that_goes_and_comes_back_all_arrive_in_order(broker: Mosquitto, tmp_path: Path) -> None:
    heard: list[int] = []
    counts: Counter[str] = Counter()

    def count(reason: str) -> None:
        counts[reason] += 1

    def hear(_: str, payload: bytes) -> None:
        heard.append(json.loads(payload)["origin"]["n"])

    async def scene() -> None:
        config = BrokerConfig(port=broker.port)
        link, ears = MqttLink(config, None, "data", count), MqttLink(config, None, "ears", count)
        await link.start()
        await ears.start()
        ears.subscribe("p/#", 1, hear)
        await until(lambda: ears.listening and link.online)
        store = Store(tmp_path / "store", StoreSettings(flush_s=0.05), Clock(), count)
        forwarder = Forwarder(sink("p/{key}", Attended(link, ears)), store, Clock(), count)
        running = asyncio.create_task(forwarder.run())
        for number in range(400):
            forwarder.accept(prediction(number))
            await asyncio.sleep(0.005)
            if number in (100, 300):
                broker.stop()
            if number == 200:
                await until(lambda: store.disk_bytes > 0)
                broker.start()
                await until(lambda: store.is_empty)
        broker.start()
        await until(lambda: store.is_empty and 399 in heard)
        running.cancel()
        await forwarder.close()
        await link.close()
        await ears.close()

    play(scene)
    assert list(dict.fromkeys(heard)) == list(range(400))
    assert set(counts) == {"sink_broker_away"}
