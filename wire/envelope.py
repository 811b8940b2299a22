"""The signed envelope in which every desired and plan document travels.

Decides: which bytes are signed, and that a payload is only read after its signature held. Leaves out: the
cryptography itself (both sides pass a function) and which keys are trusted (`agent/update/trust.py`).
"""

import base64
import binascii
from collections.abc import Callable
from typing import Literal

from pydantic import Field

from wire.base import Message, MessageT, decode, encode
from wire.errors import BadSignature, MalformedMessage

DocumentKind = Literal["desired", "plan", "claimed", "raw"]


class Envelope(Message):
    """A document and its signature. The payload is kept as the bytes that were signed."""

    kind: DocumentKind
    key_id: str = Field(max_length=64)
    payload: str
    signature: str = Field(max_length=256)


def signed_bytes(kind: DocumentKind, payload: bytes) -> bytes:
    """Return what is signed: the kind stands before the payload, so that a plan can never pass for a desired."""
    return b"thresher/1/" + kind.encode() + b"\n" + payload


def seal(kind: DocumentKind, document: Message, key_id: str, sign: Callable[[bytes], bytes]) -> Envelope:
    """Return `document` in an envelope signed by `sign`."""
    payload = encode(document)
    signature = sign(signed_bytes(kind, payload))
    return Envelope(
        kind=kind,
        key_id=key_id,
        payload=base64.b64encode(payload).decode(),
        signature=base64.b64encode(signature).decode(),
    )


def open_envelope(
    kind: DocumentKind, envelope: Envelope, model: type[MessageT], verify: Callable[[str, bytes, bytes], bool]
) -> MessageT:
    """Return the document inside, read only after its signature held.

    Args:
        kind: What the topic promises.
        envelope: As received.
        model: Class of the document.
        verify: (key id, signature, signed bytes) -> whether a trusted key made it.
    Raises:
        BadSignature: Unknown key, another kind, or a signature that does not hold.
        MalformedMessage: Not base64, or the payload is not a `model`.
    """
    if envelope.kind != kind:
        raise BadSignature(f"envelope holds a {envelope.kind} document where a {kind} document belongs")
    try:
        payload = base64.b64decode(envelope.payload, validate=True)
        signature = base64.b64decode(envelope.signature, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise MalformedMessage(f"envelope is not base64: {exc}") from exc
    if not verify(envelope.key_id, signature, signed_bytes(kind, payload)):
        raise BadSignature(f"signature of the {kind} document does not hold for key {envelope.key_id!r}")
    return decode(model, payload)
