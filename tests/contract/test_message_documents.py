"""The protocol's documents for other implementations: complete, self-consistent, and true of what was once sent."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tools.messages import CHANNELS, SCHEMAS_FILE, asyncapi, asyncapi_text, kinds, messages, schemas, schemas_text
from tools.reference import DOCS
from wire.topics import parse

GOLDEN = sorted((Path(__file__).parent / "wire" / "golden").glob("*.json"))
EXAMPLE = {"fleet": "farm", "device": "pi-1", "workload": "main", "item": "t-1", "shard": "a"}


def snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


NAMES = {snake(kind.__name__): kind.__name__ for kind in messages()}


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def test_the_written_documents_are_current() -> None:
    assert (DOCS / "schemas" / SCHEMAS_FILE).read_text(encoding="utf-8") == schemas_text(), "run  make docs"
    assert (DOCS / "schemas" / "asyncapi.json").read_text(encoding="utf-8") == asyncapi_text(), "run  make docs"


def test_every_kind_of_topic_has_a_channel_and_every_message_a_schema() -> None:
    assert sorted(CHANNELS) == sorted(kinds())
    assert set(NAMES.values()) <= set(schemas()["$defs"])


@pytest.mark.parametrize("kind", sorted(CHANNELS))
def test_an_address_is_a_topic_of_its_kind(kind: str) -> None:
    channel = asyncapi()["channels"][kind]
    named = set(re.findall(r"\{(\w+)\}", channel["address"]))
    assert named == set(channel["parameters"])
    filled = channel["address"]
    for name in named:
        filled = filled.replace(f"{{{name}}}", EXAMPLE.get(name, "a" * 64))
    assert parse(filled).kind == kind


def test_every_reference_leads_somewhere() -> None:
    document, defined = asyncapi(), schemas()["$defs"]
    for reference in references(document):
        if reference.startswith(SCHEMAS_FILE):
            assert reference.rpartition("/")[2] in defined
        else:
            at: Any = document
            for step in reference.removeprefix("#/").split("/"):
                at = at[step]
    for reference in references(schemas()):
        assert reference.removeprefix("#/$defs/") in defined


def test_signed_documents_travel_in_envelopes_and_state_is_retained() -> None:
    document = asyncapi()
    signed = {kind for kind, message in document["components"]["messages"].items() if "x-signed-document" in message}
    assert signed == {"desired", "plan", "claimed", "raw"}
    retained = {
        operation["channel"]["$ref"].rpartition("/")[2]
        for operation in document["operations"].values()
        if operation["bindings"]["mqtt"]["retain"]
    }
    assert retained == {"desired", "reported", "plan", "presence", "inventory"}
    assert {name.partition("_")[0] for name in document["operations"]} == {"send", "receive"}


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_what_was_once_sent_keeps_the_schema(path: Path) -> None:
    name = NAMES[path.stem.split("-")[0]]
    schema = schemas()["$defs"][name] | {"$defs": schemas()["$defs"]}
    assert [fault.message for fault in Draft202012Validator(schema).iter_errors(json.loads(path.read_text()))] == []


def test_a_message_that_lacks_a_field_is_refused_by_its_schema() -> None:
    schema = schemas()["$defs"]["Reported"] | {"$defs": schemas()["$defs"]}
    assert not Draft202012Validator(schema).is_valid({"fleet": "farm"})
    assert not Draft202012Validator(schema).is_valid({"fleet": "Not A Name"})


def test_the_schemas_are_schemas() -> None:
    Draft202012Validator.check_schema(schemas())
