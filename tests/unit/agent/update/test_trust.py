"""Whose documents are believed."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.errors import TrustError
from agent.update.trust import Trust
from tests.unit.agent.update.samples import desired
from wire.base import encode
from wire.envelope import Envelope, seal
from wire.errors import BadSignature, MalformedMessage
from wire.trial import Plan

KEY, OTHER = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()


def public(key: Ed25519PrivateKey) -> str:
    return base64.b64encode(key.public_key().public_bytes_raw()).decode()


TRUST = Trust({"k1": public(KEY)})
DOCUMENT = desired(3)


def test_a_signed_document_is_read() -> None:
    assert TRUST.desired(seal("desired", DOCUMENT, "k1", KEY.sign)) == DOCUMENT


def _flipped(envelope: Envelope, field: str) -> Envelope:
    raw = bytearray(base64.b64decode(getattr(envelope, field)))
    raw[len(raw) // 2] ^= 1
    return envelope.model_copy(update={field: base64.b64encode(bytes(raw)).decode()})


GOOD = seal("desired", DOCUMENT, "k1", KEY.sign)
FORGED = {
    "another key": seal("desired", DOCUMENT, "k1", OTHER.sign),
    "an unknown key id": seal("desired", DOCUMENT, "k2", KEY.sign),
    "a changed payload": _flipped(GOOD, "payload"),
    "a changed signature": _flipped(GOOD, "signature"),
    "no signature": GOOD.model_copy(update={"signature": ""}),
    "a plan's signature": GOOD.model_copy(update={"signature": seal("plan", DOCUMENT, "k1", KEY.sign).signature}),
    "a plan's envelope": seal("plan", DOCUMENT, "k1", KEY.sign),
}


@pytest.mark.parametrize("envelope", FORGED.values(), ids=FORGED.keys())
def test_anything_else_is_refused(envelope: Envelope) -> None:
    with pytest.raises(BadSignature):
        TRUST.desired(envelope)


def test_a_signed_plan_is_a_plan_and_no_desired() -> None:
    plan = Plan(fleet="farm", device="barn-1", plan_gen=1, epoch=1, issued_s=1, expires_s=2)
    envelope = seal("plan", plan, "k1", KEY.sign)
    assert TRUST.plan(envelope) == plan
    with pytest.raises(BadSignature):
        TRUST.desired(envelope)


def test_a_signature_over_nonsense_is_malformed() -> None:
    nonsense = seal(
        "desired", Plan(fleet="f", device="d", plan_gen=1, epoch=1, issued_s=1, expires_s=2), "k1", KEY.sign
    )
    with pytest.raises(MalformedMessage):
        TRUST.desired(nonsense)
    assert encode(nonsense)


@pytest.mark.parametrize("text", ["", "!!!", base64.b64encode(b"short").decode()])
def test_a_key_that_is_none_is_named(text: str) -> None:
    with pytest.raises(TrustError, match=r"'field-key'.*32 bytes"):
        Trust({"field-key": text})


def test_no_key_believes_nothing() -> None:
    assert not Trust({}).verify("k1", KEY.sign(b"x"), b"x")
    assert TRUST.key_ids == ("k1",)
