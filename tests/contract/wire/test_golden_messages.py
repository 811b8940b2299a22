"""Golden documents of every message: what was once sent stays readable, with the same meaning.

The folder is add-only: a changed message gets another file, `name-what.json`, and a line in `SHA256SUMS`.
"""

import base64
import hashlib
import importlib
import json
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

import wire
from wire.base import Message, decode, encode
from wire.canonical import canonical_json
from wire.envelope import Envelope, open_envelope
from wire.update import Desired

GOLDEN = Path(__file__).parent / "golden"
PUBLIC_KEY = "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="


def message_classes() -> dict[str, type[Message]]:
    """Return every message of the protocol, by its name in snake case."""
    for module in pkgutil.iter_modules(wire.__path__):
        importlib.import_module(f"wire.{module.name}")
    return {snake(kind.__name__): kind for kind in subclasses(Message) if kind.__module__.startswith("wire.")}


def subclasses(kind: type[Message]) -> Iterator[type[Message]]:
    for child in kind.__subclasses__():
        yield child
        yield from subclasses(child)


def snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


CLASSES = message_classes()
FILES = sorted(GOLDEN.glob("*.json"), key=lambda path: path.name)


def kind_of(path: Path) -> type[Message]:
    return CLASSES[path.stem.split("-")[0]]


def document(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def contains(whole: Any, part: Any) -> bool:
    """Whether `whole` says all that `part` says; it may say more, since fields are added over time."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(key in whole and contains(whole[key], part[key]) for key in part)
    if isinstance(part, list):
        return isinstance(whole, list) and len(whole) == len(part) and all(map(contains, whole, part))
    return bool(whole == part)


def paths_of_objects(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if isinstance(value, dict):
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in items:
        yield from paths_of_objects(child, (*path, key))


def test_every_message_has_a_golden_document() -> None:
    assert {path.stem.split("-")[0] for path in FILES} == set(CLASSES)


def test_golden_documents_are_never_changed() -> None:
    lines = [line.split() for line in (GOLDEN / "SHA256SUMS").read_text().splitlines()]
    assert {name: digest for digest, name in lines} == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in FILES
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_nothing_is_lost_on_the_way(path: Path) -> None:
    golden = document(path)
    message = decode(kind_of(path), canonical_json(golden))
    again = json.loads(encode(message))
    assert contains(again, golden)
    assert decode(kind_of(path), encode(message)) == message
    assert encode(decode(kind_of(path), encode(message))) == encode(message)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_field_of_a_later_release_is_kept_at_every_depth(path: Path) -> None:
    golden = document(path)
    kind = kind_of(path)
    for where in messages_inside(kind, golden):
        changed = json.loads(json.dumps(golden))
        inner = changed
        for step in where:
            inner = inner[step]
        inner["of_a_later_release"] = {"answer": 42}
        assert contains(json.loads(encode(decode(kind, canonical_json(changed)))), changed), where


def messages_inside(kind: type[Message], golden: dict[str, Any]) -> list[tuple[str | int, ...]]:
    """Return the paths of the objects of a document that are messages, and not free-form mappings."""
    message = decode(kind, canonical_json(golden))
    found = []
    for where in paths_of_objects(golden):
        value: Any = message
        for step in where:
            value = getattr(value, step) if isinstance(value, Message) and isinstance(step, str) else value[step]
        if isinstance(value, Message):
            found.append(where)
    assert found
    return found


def test_the_golden_envelope_holds_and_is_what_other_implementations_must_accept() -> None:
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(PUBLIC_KEY))

    def verify(key_id: str, signature: bytes, signed: bytes) -> bool:
        try:
            key.verify(signature, signed)
        except InvalidSignature:
            return False
        return key_id == "k1"

    envelope = decode(Envelope, (GOLDEN / "envelope.json").read_bytes())
    desired = open_envelope("desired", envelope, Desired, verify)
    assert encode(desired) == canonical_json(document(GOLDEN / "desired.json"))
