"""The data session with a real Mosquitto: what is heard, what is acknowledged, and what a lost broker costs."""

import asyncio
import json
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from agent.errors import BrokerUnreachable
from agent.gateway import mqtt
from agent.gateway.base import Undeliverable, Undelivered
from agent.gateway.lane import Lane
from agent.gateway.mqtt import MqttLink, client_id, largest_payload
from agent.gateway.sources import make_source
from agent.gateway.sources.inbox import Inbox
from agent.serve.channel import Numbers
from agent.serve.settings import BrokerConfig, MqttSource, QueueSettings, ServeConfig, WorkloadServe
from tests.unit.agent.gateway.fake_worker import DESCRIBED, FakeWorker
from tests.unit.agent.gateway.sources.source_kit import Intake, Mosquitto, array_of, play, surroundings, until


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    mosquitto = Mosquitto(tmp_path / "broker").start()
    yield mosquitto
    mosquitto.stop()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "LONGEST_RECONNECT_S", 1)
    monkeypatch.setattr(mqtt, "LONGEST_JITTER_S", 0.05)


class Ears:
    """What a link hears, and what it counts."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, bytes]] = []
        self.counted: Counter[str] = Counter()

    def hear(self, topic: str, payload: bytes) -> None:
        self.messages.append((topic, payload))

    def ends_with(self, payload: bytes) -> bool:
        return bool(self.messages) and self.messages[-1][1] == payload

    def count(self, reason: str) -> None:
        self.counted[reason] += 1


@asynccontextmanager
async def linked(
    port: int, ears: Ears, name: str = "data", largest_bytes: int = 64 * 1024, **settings: object
) -> AsyncIterator[MqttLink]:
    config = BrokerConfig.model_validate({"port": port, **settings})
    link = MqttLink(config, "only-for-this-test", name, ears.count, largest_bytes)
    await link.start()
    try:
        yield link
    finally:
        await link.close()


async def subscribed(link: MqttLink, ears: Ears, topic: str) -> None:
    """Subscribe, and wait until it holds."""
    link.subscribe(topic, 1, ears.hear)
    await until(lambda: link.listening)


def test_plain_readings_of_mosquitto_pub_become_the_windows_of_two_sources(broker: Mosquitto, tmp_path: Path) -> None:
    series = np.round(np.random.default_rng(4).normal(size=(12, 2)), 3)

    async def scene() -> None:
        ears, windows, rows = Ears(), Intake(), Intake()
        async with linked(broker.port, ears) as link:
            around = surroundings(tmp_path, link=link)
            chosen = MqttSource.model_validate(
                {"kind": "mqtt", "topic": "farm/+/climate", "fields": ["t", "rh"], "window": {"length": 4}}
            )
            single = MqttSource(kind="mqtt", topic="farm/#", fields=("t", "rh"))
            running = [
                asyncio.create_task(make_source(chosen, around).run(windows)),
                asyncio.create_task(make_source(single, around).run(rows)),
            ]
            await asyncio.sleep(0)
            await until(lambda: link.listening)
            await broker.publish("farm/barn-1/climate", *(json.dumps({"t": t, "rh": rh}) for t, rh in series.tolist()))
            await broker.publish("farm/barn-1/climate", "wet", "{", b"\xff\x00")
            await until(lambda: len(rows.queries) == 12 and len(rows.refusals) == 3, str(rows))
            for each in running:
                each.cancel()
        assert [array_of(query).T.tolist() for query in windows.queries] == series.reshape(3, 4, 2).tolist()
        assert [array_of(query).tolist() for query in rows.queries] == series.tolist()
        assert windows.origins("key") == ["climate"] * 3
        assert windows.reasons == rows.reasons == {"reading_malformed": 3}
        assert ears.counted == {}

    play(scene)


def test_a_filter_matches_only_its_topics_and_can_be_ended(broker: Mosquitto) -> None:
    async def scene() -> None:
        ears, all_ears = Ears(), Ears()
        async with linked(broker.port, ears) as link:
            end = link.subscribe("a/+/c", 1, ears.hear)
            await subscribed(link, all_ears, "#")
            await broker.publish("a/b/c", "1")
            await broker.publish("a/b/d", "2")
            await broker.publish("thresher/1/farm/d/barn-1/ack", "{}")
            await until(lambda: len(all_ears.messages) == 2)
            end()
            await broker.publish("a/b/c", "3")
            await until(lambda: len(all_ears.messages) == 3)
        assert ears.messages == [("a/b/c", b"1")]
        assert [topic for topic, _ in all_ears.messages] == ["a/b/c", "a/b/d", "a/b/c"]

    play(scene)


def test_retained_readings_and_own_predictions_are_not_heard(broker: Mosquitto) -> None:
    async def scene() -> None:
        ears = Ears()
        await broker.publish("farm/a", "old", options=("-r",))
        async with linked(broker.port, ears) as link:
            await subscribed(link, ears, "farm/#")
            await link.publish("farm/prediction", b"own", 1, False)
            await broker.publish("farm/a", "new", options=("-r",))
            await until(lambda: ears.messages)
            await asyncio.sleep(0.1)
        assert ears.messages == [("farm/a", b"new")]

    play(scene)


def test_predictions_arrive_acknowledged(broker: Mosquitto) -> None:
    async def scene() -> None:
        ears = Ears()
        async with linked(broker.port, ears, "other") as other, linked(broker.port, ears) as link:
            await subscribed(other, ears, "out/#")
            await until(lambda: link.online)
            for number in range(50):
                await link.publish("out/x", str(number).encode(), number % 2, False)
            await until(lambda: len(ears.messages) == 50)
            with pytest.raises(Undeliverable):
                await link.publish("out/+", b"", 1, False)
        assert [payload for _, payload in ears.messages] == [str(number).encode() for number in range(50)]

    play(scene)


def test_a_broker_that_is_away_is_waited_for_and_its_subscriptions_come_back(broker: Mosquitto) -> None:
    broker.stop()

    async def scene() -> None:
        ears = Ears()
        async with linked(broker.port, ears) as link:
            link.subscribe("farm/a", 1, ears.hear)
            with pytest.raises(Undelivered, match="away"):
                await link.publish("out", b"1", 1, False)
            for round_number in (b"0", b"1"):
                broker.start()
                await until(lambda: link.listening)
                await link.publish("out", b"1", 1, False)
                await broker.publish("farm/a", round_number)
                await until(partial(ears.ends_with, round_number))
                broker.stop()
                await until(lambda: not link.online)
        assert [payload for _, payload in ears.messages] == [b"0", b"1"]

    play(scene)


def test_a_message_without_an_acknowledgement_is_undelivered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker takes the connection and then falls silent."""
    monkeypatch.setattr(mqtt, "ACKNOWLEDGED_WITHIN_S", 0.3)

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(bytes([0x20, 0x03, 0x00, 0x00, 0x00]))  # CONNACK: success, no properties
        await reader.read()
        writer.close()

    async def scene() -> None:
        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        async with linked(server.sockets[0].getsockname()[1], Ears()) as link:
            await until(lambda: link.online)
            with pytest.raises(Undelivered, match="acknowledge"):
                await link.publish("out", b"1", 1, False)
        server.close()

    play(scene)


def test_a_broker_that_goes_in_between_fails_what_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    async def rude(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(bytes([0x20, 0x03, 0x00, 0x00, 0x00]))
        await reader.read(1000)
        writer.close()

    async def scene() -> None:
        server = await asyncio.start_server(rude, "127.0.0.1", 0)
        async with linked(server.sockets[0].getsockname()[1], Ears()) as link:
            await until(lambda: link.online)
            with pytest.raises(Undelivered, match="away"):
                await link.publish("out", b"1", 1, False)
        server.close()

    monkeypatch.setattr(mqtt, "LONGEST_RECONNECT_S", 30)
    play(scene)


def test_credentials_and_refusals(tmp_path: Path) -> None:
    """Another broker: it wants a login, and lets this one read one topic."""
    folder = tmp_path / "guarded"
    folder.mkdir()
    known, rights = folder / "passwords", folder / "rights"
    command = ["mosquitto_passwd", "-b", "-c", str(known), "farm", "only-for-this-test"]
    subprocess.run(command, check=True, capture_output=True)
    rights.write_text("user farm\ntopic readwrite farm/#\n")
    for each in (known, rights):
        each.chmod(0o600)
    settings = {"allow_anonymous": "false", "password_file": str(known), "acl_file": str(rights)}
    guarded = Mosquitto(folder, settings).start()

    async def scene() -> None:
        ears, stranger = Ears(), Ears()
        async with linked(guarded.port, ears, username="farm") as link, linked(guarded.port, stranger, "x") as other:
            await subscribed(link, ears, "farm/a")
            await link.publish("farm/b", b"1", 1, False)
            with pytest.raises(Undelivered, match="refuses"):
                await link.publish("mill/b", b"1", 1, False)
            assert not other.online

    try:
        play(scene)
    finally:
        guarded.stop()


def test_a_burst_loses_the_oldest_and_counts_them(broker: Mosquitto, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        ears = Ears()
        async with linked(broker.port, ears) as link:
            monkeypatch.setattr(link, "_inbox", Inbox(most=10))
            await subscribed(link, ears, "burst")
            burst = "\n".join(str(number) for number in range(500))
            command = ["mosquitto_pub", "-p", str(broker.port), "-q", "1", "-t", "burst", "-l"]
            # The event loop stands still while all of them come.
            subprocess.run(command, input=burst.encode(), check=True)
            await asyncio.sleep(0)
            await until(lambda: ears.messages and ears.messages[-1][1] == b"499")
        heard = [int(payload) for _, payload in ears.messages]
        assert heard == sorted(heard)
        assert len(heard) + ears.counted["burst_dropped"] == 500
        assert ears.counted["burst_dropped"] > 0

    play(scene)


def test_a_listener_that_fails_does_not_silence_the_others(broker: Mosquitto) -> None:
    async def scene() -> None:
        ears = Ears()
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)

        def faulty(topic: str, payload: bytes) -> None:
            raise RuntimeError(topic, payload)

        async with linked(broker.port, ears) as link:
            link.subscribe("bad", 1, faulty)
            await subscribed(link, ears, "good")
            await broker.publish("bad", "1")
            await broker.publish("good", "2")
            await until(lambda: ears.messages)

    play(scene)


@pytest.mark.parametrize("largest_bytes", [1, 64 * 1024, 1_000_000])
def test_payloads_larger_than_any_source_reads_stay_with_the_broker(broker: Mosquitto, largest_bytes: int) -> None:
    longest_topic = "/".join(["b" * 100] * 150)  # Mosquitto takes 200 levels

    async def scene() -> None:
        ears = Ears()
        async with linked(broker.port, ears, largest_bytes=largest_bytes) as link:
            await subscribed(link, ears, "b/#")
            for n_bytes in (17_000_000, largest_bytes + mqtt.AROUND_PAYLOAD_BYTES, largest_bytes):
                await broker.publish(f"b/{longest_topic}", b"1" * n_bytes)
            await until(lambda: ears.messages)
            assert link.online
        assert [len(payload) for _, payload in ears.messages] == [largest_bytes]

    play(scene)


def test_the_largest_payload_is_that_of_all_sources_that_listen() -> None:
    def serve(**sources: Mapping[str, object]) -> ServeConfig:
        first = sources.pop("first", {"kind": "none"})
        workloads = {name: {"source": source} for name, source in sources.items()}
        return ServeConfig.model_validate({"source": first, "workloads": workloads})

    folder = {"kind": "folder", "path": "/in"}
    small, large = ({"kind": "mqtt", "topic": "a", "largest_bytes": n_bytes} for n_bytes in (100, 2000))
    assert largest_payload(serve(main=folder)) == 1
    assert largest_payload(serve(main=folder, other={"kind": "mqtt", "topic": "a"})) == 64 * 1024
    assert largest_payload(serve(main=small, other=large)) == 2000
    assert largest_payload(serve(first=large, main=small)) == 2000


def test_a_burst_waits_for_room_in_the_lane(tmp_path: Path) -> None:
    """5000 readings come at once; the lane has 16 places. All are answered, in their order."""
    numbers = list(range(5000))
    keeping = Mosquitto(tmp_path / "keeping", {"max_queued_messages": "0"}).start()

    async def scene() -> None:
        heard: list[float] = []
        chosen = MqttSource(kind="mqtt", topic="burst")
        lane = Lane(
            "main",
            WorkloadServe(source=chosen, queue=QueueSettings(size=16), timeout_s=60),
            lambda query, _: heard.append(float(array_of(query)[0])),
        )
        worker = FakeWorker(lambda _, __: Numbers([0], [0.5]))
        await lane.attach("one", "a" * 64, worker.end, DESCRIBED)
        async with linked(keeping.port, Ears()) as link:
            running = asyncio.create_task(make_source(chosen, surroundings(tmp_path, link=link)).run(lane))
            await asyncio.sleep(0)
            await until(lambda: link.listening)
            command = ["mosquitto_pub", "-p", str(keeping.port), "-q", "1", "-t", "burst", "-l"]
            sender = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.PIPE)
            await sender.communicate("\n".join(str(number) for number in numbers).encode())
            await until(lambda: len(heard) == len(numbers), f"{len(heard)} of {len(numbers)}")
            running.cancel()
        lane.idle()
        counted = lane.counts.take()
        assert heard == numbers
        assert counted is not None
        assert "lost" not in counted, counted

    try:
        play(scene)
    finally:
        keeping.stop()


def test_a_certificate_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(BrokerUnreachable, match="ca_file"):
        MqttLink(BrokerConfig(ca_file=tmp_path / "none.pem"), None, client_id("farm", "barn-1"), lambda _: None)
