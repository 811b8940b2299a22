"""Whose documents are believed."""

import base64
import subprocess
import sys
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.device import signature
from agent.errors import TrustError
from agent.update import trust
from agent.update.trust import Trust
from tests.unit.agent.update.samples import desired
from wire.base import encode
from wire.envelope import Envelope, seal
from wire.errors import BadSignature, MalformedMessage
from wire.raw import RawRequest
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


def test_a_signed_request_for_single_queries_is_nothing_else() -> None:
    names = {"fleet": "farm", "device": "barn-1", "workload": "main", "request": "r1"}
    request = RawRequest.model_validate({**names, "seconds": 5.0, "issued_s": 1, "expires_s": 2})
    assert TRUST.raw(seal("raw", request, "k1", KEY.sign)) == request
    with pytest.raises(BadSignature):
        TRUST.plan(seal("raw", request, "k1", KEY.sign))
    with pytest.raises(BadSignature):
        TRUST.raw(seal("raw", request, "k1", Ed25519PrivateKey.generate().sign))


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


def test_what_held_costs_one_process_and_what_did_not_is_checked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    checks: list[bytes] = []
    check = trust._check

    def counted(content: bytes) -> bool:
        checks.append(content)
        return check(content)

    monkeypatch.setattr(trust, "_check", counted)
    fresh = Trust({"k1": public(KEY)})
    for _ in range(3):
        assert fresh.desired(GOOD) == DOCUMENT
    assert len(checks) == 1
    for _ in range(2):
        with pytest.raises(BadSignature):
            fresh.desired(FORGED["a changed payload"])
    assert len(checks) == 3
    with pytest.raises(BadSignature):
        fresh.desired(FORGED["an unknown key id"])
    assert len(checks) == 3


@pytest.mark.parametrize("ends", [1, -9, 2])
def test_a_check_that_could_not_be_made_is_no_forgery(monkeypatch: pytest.MonkeyPatch, ends: int) -> None:
    def fails(*_: Any, **__: Any) -> "subprocess.CompletedProcess[bytes]":
        return subprocess.CompletedProcess([], ends, b"", b"MemoryError")

    monkeypatch.setattr(subprocess, "run", fails)
    with pytest.raises(OSError, match="MemoryError"):
        Trust({"k1": public(KEY)}).desired(GOOD)


def test_a_check_that_hangs_is_no_forgery(monkeypatch: pytest.MonkeyPatch) -> None:
    def hangs(*_: Any, **__: Any) -> "subprocess.CompletedProcess[bytes]":
        raise subprocess.TimeoutExpired("python", 60)

    monkeypatch.setattr(subprocess, "run", hangs)
    with pytest.raises(OSError, match="more than"):
        Trust({"k1": public(KEY)}).desired(GOOD)


def test_the_process_says_what_the_library_says() -> None:
    raw = KEY.public_key().public_bytes_raw()
    assert signature.main(raw + KEY.sign(b"x") + b"x") == signature.HOLDS
    assert signature.main(raw + KEY.sign(b"x") + b"y") == signature.FORGED
    assert signature.main(raw + OTHER.sign(b"x") + b"x") == signature.FORGED


def test_the_control_process_does_not_load_the_library() -> None:
    code = "import sys, agent.daemon; print('cryptography' in sys.modules, 'ctypes' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False False"
