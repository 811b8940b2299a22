"""From settings to sinks and forwarders.

Decides: names, and where stores lie. A sink's name follows from its kind and where it leads, so that its store is found
again after sinks were put into another order; predictions for a sink that is gone are never sent to another.
"""

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

from agent.gateway.base import Sink, Surroundings
from agent.gateway.sinks.forward import Forwarder
from agent.gateway.sinks.jsonl import JsonlWriter
from agent.gateway.sinks.mqtt import MqttPublisher
from agent.gateway.sinks.webhook import Webhook
from agent.gateway.store.store import Store
from agent.serve.settings import JsonlSink, MqttSink, StoreSettings, WebhookSink
from agent.serve.settings import Sink as SinkSettings

log = logging.getLogger(__name__)

STORE_FOLDER = "store"
_NAME_DIGITS = 12


def make_forwarders(
    sinks: Sequence[SinkSettings], settings: StoreSettings, surroundings: Surroundings
) -> list[Forwarder]:
    """Return a forwarder per sink, each with its store; none has started.

    Raises:
        ConfigurationError: A URL or a topic cannot be used.
        OSError: A store's folder cannot be made or read.
    """
    folder = surroundings.state_dir / STORE_FOLDER
    seen: dict[str, int] = {}
    made = []
    for each in sinks:
        name = name_of(each)
        sink = make_sink(each, seen.get(name, 0), surroundings)
        seen[name] = seen.get(name, 0) + 1
        store = Store(folder / sink.name, settings, surroundings.clock, surroundings.count)
        gather_s = each.flush_s if isinstance(each, JsonlSink) else 0.0
        made.append(Forwarder(sink, store, surroundings.clock, surroundings.count, gather_s=gather_s))
    _name_orphans(folder, {each.name for each in made})
    return made


def make_sink(settings: SinkSettings, number: int, surroundings: Surroundings) -> Sink:
    """Return the sink of `settings`; `number` counts earlier sinks of the same name.

    Raises:
        ConfigurationError: The URL or the topic cannot be used.
    """
    name = name_of(settings) + (f"-{number + 1}" if number else "")
    match settings:
        case MqttSink():
            return MqttPublisher(name, settings, surroundings)
        case JsonlSink():
            return JsonlWriter(name, settings, surroundings.clock)
        case WebhookSink():
            return Webhook(name, settings, surroundings.clock)


def name_of(settings: SinkSettings) -> str:
    """Return `KIND-DIGEST`: the digest of where the sink leads."""
    match settings:
        case MqttSink(topic=where) | WebhookSink(url=where):
            target = where
        case JsonlSink(path=path):
            target = str(path)
    return f"{settings.kind}-{hashlib.sha256(target.encode()).hexdigest()[:_NAME_DIGITS]}"


def _name_orphans(folder: Path, known: set[str]) -> None:
    for each in sorted(folder.iterdir()) if folder.is_dir() else ():
        if each.name not in known:
            log.warning(
                "%s holds predictions of a sink that is not configured any more: delete it, or bring it back", each
            )
