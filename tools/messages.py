"""The protocol as documents for other implementations: a JSON Schema of every message, and an AsyncAPI 3 document.

Decides: which message travels on which topic, who sends it, and whether it is retained or signed. Leaves out: the
messages themselves and the topics, which are read from `wire`, and writing (`tools/reference.py`).

>>> sorted(CHANNELS) == sorted(kinds())
True
"""

import importlib
import json
import pkgutil
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from pydantic.json_schema import models_json_schema

import wire
from tools.schemas import DIALECT, Document
from tools.source import ROOT, attribute_docstrings
from wire import PROTOCOL, topics
from wire.artifact import Want
from wire.base import LARGEST_PART_BYTES, Message
from wire.claim import Claim, Claimed
from wire.envelope import Envelope
from wire.presence import Ack, Event, Inventory, Presence, Sync
from wire.raw import RawPart, RawRequest
from wire.sample import SamplePart
from wire.telemetry import Metrics
from wire.trial import Plan, TrialPart
from wire.update import Desired, Reported

SCHEMAS_FILE = "messages.schema.json"
Side = Literal["device", "controller"]
_DIGESTS = ("a" * 64, "b" * 64)
_STANDS_FOR = {
    "fleet-name": "{fleet}",
    "device-name": "{device}",
    "workload-name": "{workload}",
    "item-name": "{item}",
    _DIGESTS[0]: "{artifact}",
    _DIGESTS[1]: "{chunk}",
}
_PARAMETERS = {
    "fleet": "Name of the fleet.",
    "device": "Name of the device.",
    "workload": "What the device is for; `main` where nothing else is said.",
    "item": "Id of the trial, sample or request.",
    "artifact": "SHA-256 of the artifact's manifest, as 64 hexadecimal digits.",
    "chunk": "SHA-256 of the payload, as 64 hexadecimal digits.",
    "shard": "The first hexadecimal digit of the artifact's digest.",
}


@dataclass(frozen=True)
class Channel:
    """A kind of topic. `message` is null for chunks, which are bytes; `signed` is what an envelope holds there."""

    topic: str
    sender: Side
    message: type[Message] | None
    summary: str
    retained: bool = False
    signed: type[Message] | None = None


def _topics() -> dict[str, str]:
    """Return kind -> topic with its parameters in braces, made by the module that makes all topics."""
    of, device, workload, item = topics.Topics("fleet-name"), "device-name", "workload-name", "item-name"
    made = {
        "desired": of.desired(device, workload),
        "reported": of.reported(device, workload),
        "trial": of.trial(device, item),
        "sample": of.sample(device, item),
        "raw_part": of.raw_part(device, item),
        "chunk": of.chunk(*_DIGESTS),
        "want": of.wants().replace("+", "{shard}"),
        **{
            kind: getattr(of, kind)(device)
            for kind in ("plan", "ack", "presence", "inventory", "event", "metrics", "sync", "claim", "claimed", "raw")
        },
    }
    return {kind: _braced(topic) for kind, topic in made.items()}


def _braced(topic: str) -> str:
    for name, parameter in _STANDS_FOR.items():
        topic = topic.replace(name, parameter)
    return topic


_TOPICS = _topics()


def _channel(kind: str, sender: Side, message: type[Message] | None, summary: str, **more: Any) -> tuple[str, Channel]:
    return kind, Channel(_TOPICS[kind], sender, message, summary, **more)


CHANNELS = dict(
    (
        _channel(
            "desired",
            "controller",
            Envelope,
            "What a workload should be: run a bundle, hold, or remove.",
            retained=True,
            signed=Desired,
        ),
        _channel("reported", "device", Reported, "What a workload is.", retained=True),
        _channel("plan", "controller", Envelope, "Trials asked of a device.", retained=True, signed=Plan),
        _channel("trial", "device", TrialPart, "A slice of a trial's record, sent until it is acknowledged."),
        _channel("sample", "device", SamplePart, "A slice of a captured sample, sent until it is acknowledged."),
        _channel("ack", "controller", Ack, "Trials and samples that are stored: the device may forget them."),
        _channel("presence", "device", Presence, "Online or offline; the offline one is the will.", retained=True),
        _channel("inventory", "device", Inventory, "What a device has.", retained=True),
        _channel("event", "device", Event, "Something happened: a state change with its cause, or a refusal."),
        _channel("metrics", "device", Metrics, "Sketches of one interval, never raw queries."),
        _channel("sync", "device", Sync, "Send me my retained state."),
        _channel("claim", "device", Claim, "A device that nobody knows yet claims its name."),
        _channel("claimed", "controller", Envelope, "The answer to a claim.", signed=Claimed),
        _channel("raw", "controller", Envelope, "Tell of single queries for a while.", signed=RawRequest),
        _channel("raw_part", "device", RawPart, "Records of single queries."),
        _channel("want", "device", Want, "Index pieces or chunks that a device lacks."),
        _channel("chunk", "controller", None, "One raw chunk or index piece, published once for all who want it."),
    )
)
"""Kind of topic -> what travels there."""


def kinds() -> list[str]:
    """Return the kinds of topics that the protocol has."""
    return list(topics._PATTERNS)


def schemas_text() -> str:
    """Return the JSON Schemas of all messages as they are committed."""
    return json.dumps(schemas(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def asyncapi_text() -> str:
    """Return the AsyncAPI document as it is committed."""
    return json.dumps(asyncapi(), indent=1, ensure_ascii=False) + "\n"


@cache
def schemas() -> Document:
    """Return one JSON Schema (draft 2020-12) whose `$defs` are the messages, by name."""
    found = models_json_schema([(kind, "validation") for kind in messages()], ref_template="#/$defs/{model}")[1]
    for (section, key), meaning in _meanings().items():
        properties = found["$defs"].get(section, {}).get("properties", {})
        if key in properties:
            properties[key]["description"] = meaning
    return {
        "$schema": DIALECT,
        "title": "Messages of the Thresher protocol",
        "description": f"Protocol {PROTOCOL}. A message may hold more fields than are listed: keep them.",
        "$defs": found["$defs"],
    }


def messages() -> list[type[Message]]:
    """Return every message of the protocol, by name."""
    for module in pkgutil.walk_packages(wire.__path__, "wire."):
        importlib.import_module(module.name)
    found = {kind.__name__: kind for kind in _below(Message) if kind.__module__.startswith("wire.")}
    return [found[name] for name in sorted(found)]


def _below(kind: type[Message]) -> Iterator[type[Message]]:
    for child in kind.__subclasses__():
        yield child
        yield from _below(child)


def _meanings() -> dict[tuple[str, str], str]:
    found: dict[tuple[str, str], str] = {}
    for path in sorted((ROOT / "wire").rglob("*.py")):
        found |= attribute_docstrings(path.relative_to(ROOT).as_posix())
    return found


def asyncapi() -> Document:
    """Return the AsyncAPI 3.0 document, written for one that implements a device."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Thresher",
            "version": str(PROTOCOL),
            "description": (
                "What a device and a controller say to each other over MQTT 5. JSON, UTF-8, keys sorted; QoS 1. The "
                f"largest payload is {LARGEST_PART_BYTES} bytes. Signed documents travel in an `Envelope`: base64 of "
                "the document's bytes, with an Ed25519 signature over `thresher/1/KIND`, a newline and those bytes. "
                "Operations are a device's: what it sends, what it receives."
            ),
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {"broker": {"host": "{broker}", "protocol": "mqtt", "protocolVersion": "5", "variables": _BROKER}},
        "channels": {kind: _channel_of(kind, channel) for kind, channel in CHANNELS.items()},
        "operations": dict(_operation(kind, channel) for kind, channel in CHANNELS.items()),
        "components": {"messages": {kind: _message(channel) for kind, channel in CHANNELS.items()}},
    }


_BROKER = {"broker": {"default": "127.0.0.1:1883", "description": "Any MQTT 5 broker that keeps retained messages."}}


def _channel_of(kind: str, channel: Channel) -> Document:
    named = re.findall(r"\{(\w+)\}", channel.topic)
    return {
        "address": channel.topic,
        "summary": channel.summary,
        "messages": {kind: {"$ref": f"#/components/messages/{kind}"}},
        "parameters": {name: {"description": _PARAMETERS[name]} for name in named},
    }


def _operation(kind: str, channel: Channel) -> tuple[str, Document]:
    sends = channel.sender == "device"
    return f"{'send' if sends else 'receive'}_{kind}", {
        "action": "send" if sends else "receive",
        "channel": {"$ref": f"#/channels/{kind}"},
        "messages": [{"$ref": f"#/channels/{kind}/messages/{kind}"}],
        "bindings": {"mqtt": {"qos": 1, "retain": channel.retained, "bindingVersion": "0.2.0"}},
    }


def _message(channel: Channel) -> Document:
    if channel.message is None:
        return {
            "summary": channel.summary,
            "contentType": "application/octet-stream",
            "payload": {"type": "string", "maxLength": LARGEST_PART_BYTES},
        }
    found: Document = {
        "name": channel.message.__name__,
        "summary": channel.summary,
        "contentType": "application/json",
        "payload": {"$ref": f"{SCHEMAS_FILE}#/$defs/{channel.message.__name__}"},
    }
    if channel.signed is not None:
        found["x-signed-document"] = {"$ref": f"{SCHEMAS_FILE}#/$defs/{channel.signed.__name__}"}
    return found
