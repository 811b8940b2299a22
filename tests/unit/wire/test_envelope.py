"""A payload is read only after its signature held, and a signature holds for one kind of document alone."""

import base64
import hashlib
import hmac

import pytest

from wire.base import Message, decode, encode
from wire.envelope import DocumentKind, Envelope, open_envelope, seal, signed_bytes
from wire.errors import BadSignature, MalformedMessage, OversizedMessage
from wire.presence import Sync
from wire.trial import Plan
from wire.update import Desired

HOLD = Desired(fleet="f", device="d", workload="main", gen=1, epoch=1, action="hold", issued_s=0, expires_s=1)
PLAN = Plan(fleet="f", device="d", plan_gen=1, epoch=1, issued_s=0, expires_s=1)


def sign(content: bytes) -> bytes:
    return hmac.digest(b"secret", content, hashlib.sha256)


def verify(key_id: str, signature: bytes, content: bytes) -> bool:
    return key_id == "k1" and hmac.compare_digest(sign(content), signature)


def sealed(kind: DocumentKind = "desired", document: Message = HOLD) -> Envelope:
    return seal(kind, document, "k1", sign)


@pytest.mark.parametrize(("kind", "document"), [("desired", HOLD), ("plan", PLAN)])
def test_what_was_sealed_comes_out_again(kind: DocumentKind, document: Message) -> None:
    received = decode(Envelope, encode(sealed(kind, document)))
    assert open_envelope(kind, received, type(document), verify) == document


def test_the_kind_and_the_protocol_are_signed_with_the_payload() -> None:
    assert signed_bytes("desired", b"{}") == b"thresher/1/desired\n{}"
    assert signed_bytes("desired", b"{}") != signed_bytes("plan", b"{}")


@pytest.mark.parametrize(
    "change",
    [
        {"payload": base64.b64encode(encode(HOLD.model_copy(update={"gen": 2}))).decode()},
        {"signature": base64.b64encode(b"\0" * 32).decode()},
        {"signature": ""},
        {"key_id": "k2"},
        {"payload": ""},
    ],
)
def test_a_changed_envelope_does_not_open(change: dict[str, str]) -> None:
    with pytest.raises(BadSignature, match="does not hold"):
        open_envelope("desired", sealed().model_copy(update=change), Desired, verify)


def test_a_plan_does_not_pass_for_a_desired_document() -> None:
    plan = sealed("plan", PLAN)
    with pytest.raises(BadSignature, match="holds a plan document where a desired document belongs"):
        open_envelope("desired", plan, Desired, verify)
    with pytest.raises(BadSignature, match="does not hold"):
        open_envelope("desired", plan.model_copy(update={"kind": "desired"}), Desired, verify)


@pytest.mark.parametrize("field", ["payload", "signature"])
@pytest.mark.parametrize("text", ["***", "e30", "ä", "e30=\n"])
def test_what_is_not_base64_is_malformed(field: str, text: str) -> None:
    with pytest.raises(MalformedMessage, match="base64"):
        open_envelope("desired", sealed().model_copy(update={field: text}), Desired, verify)


def test_nothing_is_parsed_before_the_signature_held() -> None:
    envelope = sealed().model_copy(update={"payload": base64.b64encode(b"not json").decode()})
    with pytest.raises(BadSignature):
        open_envelope("desired", envelope, Desired, verify)
    with pytest.raises(MalformedMessage, match="not a Desired"):
        open_envelope("desired", envelope, Desired, lambda *_: True)


def test_a_signed_document_of_another_class_is_refused() -> None:
    envelope = sealed("desired", Sync(fleet="f", device="d", boot_id="b"))
    with pytest.raises(MalformedMessage, match="not a Desired"):
        open_envelope("desired", envelope, Desired, verify)


def test_an_envelope_of_an_unknown_kind_is_malformed() -> None:
    with pytest.raises(MalformedMessage, match="kind"):
        decode(Envelope, b'{"kind":"order","key_id":"k1","payload":"","signature":""}')


def test_a_large_payload_is_bounded_even_when_signed() -> None:
    big = HOLD.model_copy(update={"note": "x" * 1_100_000})
    with pytest.raises(OversizedMessage):
        open_envelope("desired", sealed("desired", big), Desired, verify)
