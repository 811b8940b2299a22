"""Decoding is bounded and names the faulty field; encoding is canonical."""

import pytest

from wire.artifact import FileEntry
from wire.base import LARGEST_MESSAGE_BYTES, LARGEST_PART_BYTES, decode, encode
from wire.canonical import canonical_json, sha256_hex
from wire.errors import MalformedMessage, OversizedMessage, WireError
from wire.presence import Presence, Sync

SYNC = b'{"boot_id":"5-1c","device":"barn-1","fleet":"farm-sensors"}'


def test_the_parts_that_we_publish_pass_brokers_that_stop_at_128_kib() -> None:
    assert LARGEST_PART_BYTES + 8 * 1024 < 128 * 1024 < LARGEST_MESSAGE_BYTES


@pytest.mark.parametrize(
    ("payload", "names"),
    [
        (b"", "Sync"),
        (b"\xff\xfe", "Sync"),
        (b"[]", "document"),
        (b'"text"', "document"),
        (b"{}", "fleet"),
        (b'{"fleet":"Farm","device":"d","boot_id":"b"}', "fleet"),
        (b'{"fleet":"f","device":"../d","boot_id":"b"}', "device"),
        (b'{"fleet":"f","device":"d","boot_id":7}', "boot_id"),
        (b'{"fleet":"f","device":"d","boot_id":"' + b"b" * 65 + b'"}', "boot_id"),
        (b"[" * 100_000, "Sync"),
    ],
)
def test_what_is_malformed_is_refused_with_the_field_named(payload: bytes, names: str) -> None:
    with pytest.raises(MalformedMessage, match=names):
        decode(Sync, payload)


def test_an_oversized_message_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(OversizedMessage, match="at most 20"):
        decode(Sync, b"x" * 21, largest_bytes=20)
    with pytest.raises(OversizedMessage):
        decode(Sync, b" " * (LARGEST_MESSAGE_BYTES + 1))


def test_the_limit_itself_is_still_read() -> None:
    assert decode(Sync, SYNC, largest_bytes=len(SYNC)).device == "barn-1"


def test_encoding_is_canonical_and_leaves_out_what_is_absent() -> None:
    assert encode(Sync(device="barn-1", boot_id="5-1c", fleet="farm-sensors")) == SYNC
    assert b"inventory" not in encode(Presence(fleet="f", device="d", online=False, boot_id="b", agent_version="0"))


def test_a_message_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        decode(Sync, SYNC).device = "other"


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_json_has_no_word_for_nan(number: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        canonical_json({"x": number})


def test_one_document_has_one_digest() -> None:
    assert sha256_hex(canonical_json({"a": 1, "b": "ä"})) == sha256_hex(canonical_json({"b": "ä", "a": 1}))
    assert sha256_hex(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "../model.onnx", "a/../../b", "a//b", ".hidden", "a/.hidden", "", "a b", "a\\b", "a/", "ä", "a\n"],
)
def test_a_path_never_leaves_the_artifact(path: str) -> None:
    with pytest.raises(MalformedMessage, match="path"):
        decode(FileEntry, canonical_json({"path": path, "size_bytes": 1, "sha256": "0" * 64}))


def test_every_error_of_the_wire_has_a_reason_of_its_own() -> None:
    kinds: list[type[WireError]] = [WireError, *WireError.__subclasses__()]
    assert len({kind.reason for kind in kinds}) == len(kinds)
