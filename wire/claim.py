"""Claims: how a device that nobody knows yet shows that an operator sent it.

Decides: the token that an operator hands over (one line of text), the claim that the device makes with it, the answer,
and which bytes the claim's proof covers. Leaves out: which claims are accepted (`controller/enrolment.py`) and where
the device keeps its key (`agent/install/claim.py`).

Example: `decode_token(encode_token(token)) == token`; `claim_mac(token, claim) == claim.mac` for a claim that holds.
"""

import base64
import binascii
import hashlib
import hmac
from typing import Annotated

from pydantic import Field, StringConstraints

from wire.base import Message, Name, decode, encode
from wire.canonical import canonical_json
from wire.errors import MalformedMessage

TOKEN_VERSION = 1
SECRET_BYTES = 32
LARGEST_TOKEN_BYTES = 64 * 1024
"""Certificates make it long: a chain of three takes some 6 kB."""

Key = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9+/]{43}=$")]
"""32 bytes, base64: a raw Ed25519 public key, or a secret."""


class TokenBroker(Message):
    """Where the broker is; `ca` is the certificate authority as PEM, null without TLS."""

    host: str = Field(min_length=1, max_length=253)
    port: int = Field(default=1883, ge=1, le=65535)
    ca: str | None = Field(default=None, max_length=32 * 1024)


class ClaimToken(Message):
    """What a device needs to find its fleet and to be believed: a secret, for as long as the token holds.

    `keys` are the public keys that may command the device, by id. `device` binds the token to one name.
    """

    v: int = Field(default=TOKEN_VERSION, ge=1)
    fleet: Name
    broker: TokenBroker
    keys: dict[str, Key] = Field(min_length=1, max_length=16)
    claim: Name
    secret: Key
    expires_s: float = Field(gt=0)
    device: Name | None = None


class Claim(Message):
    """A device says: this is my public key, and I hold the secret of that token. `mac` proves it (`claim_mac`)."""

    fleet: Name
    device: Name
    claim: Name
    public_key: Key
    mac: str = Field(pattern=r"^[0-9a-f]{64}$")


class Claimed(Message):
    """The controller's answer, signed; `reason` says why a claim is not accepted."""

    fleet: Name
    device: Name
    claim: Name
    public_key: Key
    accepted: bool
    reason: str | None = Field(default=None, pattern=r"^[a-z][a-z0-9_]{0,63}$")
    issued_s: float = Field(ge=0)


def encode_token(token: ClaimToken) -> str:
    """Return `token` as one line that survives a shell, a file and a QR code."""
    return base64.urlsafe_b64encode(encode(token)).decode().rstrip("=")


def decode_token(text: str) -> ClaimToken:
    """Return the token that `text` holds; white space around and within it (a wrapped line) is left out.

    Raises:
        OversizedMessage: Longer than a token can be.
        MalformedMessage: Not a token, or one of a later version.
    """
    line = "".join(text.split())
    try:
        content = base64.b64decode(line + "=" * (-len(line) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as exc:
        raise MalformedMessage(f"not a claim token: {exc}") from exc
    token = decode(ClaimToken, content, LARGEST_TOKEN_BYTES)
    if token.v > TOKEN_VERSION:
        raise MalformedMessage(f"a claim token of version {token.v}: this release reads up to {TOKEN_VERSION}")
    return token


def claim_mac(secret: str, claim: Claim) -> str:
    """Return the proof over everything else in `claim`, fields of later releases included.

    Args:
        secret: The token's, base64.
        claim: Its own `mac` is left out of the sum.
    Source: RFC 2104, with SHA-256 over canonical JSON.
    """
    content = canonical_json(claim.model_dump(mode="json", exclude={"mac"}, exclude_none=True))
    return hmac.new(base64.b64decode(secret), content, hashlib.sha256).hexdigest()
