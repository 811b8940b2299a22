"""Sinks by name: a store is found again after the order of the sinks was changed, and never by another sink."""

import asyncio
import logging
from pathlib import Path

import pytest

from agent.gateway.sinks.make import STORE_FOLDER, make_forwarders, name_of
from agent.serve.settings import JsonlSink, MqttSink, Sink, StoreSettings, WebhookSink
from tests.unit.agent.gateway.sinks.sink_kit import prediction, surroundings

MQTT = MqttSink(kind="mqtt", topic="p/{key}")
HOOK = WebhookSink(kind="webhook", url="http://127.0.0.1:9/a/../../b")
JSONL = JsonlSink(kind="jsonl", path=Path("/nowhere/p.jsonl"))
STORE = StoreSettings()


def test_each_sink_has_a_store_of_its_own_whatever_their_order(tmp_path: Path) -> None:
    around = surroundings(tmp_path)

    async def scene() -> None:
        sinks: list[Sink] = [MQTT, HOOK, JSONL]
        for each in make_forwarders(sinks, STORE, around):
            each.accept(prediction(1, sink=each.name))
            await each.store.close()
        forwarders = make_forwarders(sinks[::-1], STORE, around)
        assert [each.name for each in forwarders] == [name_of(sink) for sink in sinks[::-1]]
        for each in forwarders:
            assert [kept.prediction.document["sink"] for kept in each.store.peek(9)] == [each.name]

    asyncio.run(scene())


def test_two_sinks_to_the_same_place_do_not_share_a_store(tmp_path: Path) -> None:
    first, second = make_forwarders((MQTT, MQTT), STORE, surroundings(tmp_path))
    assert second.name == f"{first.name}-2"
    assert {path.name for path in (tmp_path / STORE_FOLDER).iterdir()} == {first.name, second.name}


def test_a_name_says_nothing_that_a_path_could_misread() -> None:
    kind, digest = name_of(HOOK).split("-")
    assert kind == "webhook"
    assert len(digest) == 12
    assert name_of(HOOK) != name_of(HOOK.model_copy(update={"url": "http://127.0.0.1:9/b"}))


def test_predictions_of_a_sink_that_is_gone_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_forwarders((MQTT,), STORE, surroundings(tmp_path))
    with caplog.at_level(logging.WARNING):
        make_forwarders((HOOK,), STORE, surroundings(tmp_path))
    assert name_of(MQTT) in caplog.text
    assert name_of(HOOK) not in caplog.text
