"""Which documents are believed: Ed25519 signatures by the keys that the configuration names.

Decides: whether an envelope's document may be acted upon. Leaves out: what it asks for (`judge.py`) and where keys come
from (`agent/config.py`). The broker is not trusted: nothing that it carries is read before its signature held.
"""

import base64
import binascii
from collections.abc import Mapping

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agent.errors import TrustError
from wire.envelope import Envelope, open_envelope
from wire.trial import Plan
from wire.update import Desired


class Trust:
    """The keys that may command this device."""

    def __init__(self, keys: Mapping[str, str]) -> None:
        """Take public keys.

        Args:
            keys: Key id -> raw 32 byte Ed25519 public key, base64.
        Raises:
            TrustError: A key is not one; the text names it.
        """
        self._keys = {key_id: _public_key(key_id, text) for key_id, text in keys.items()}

    @property
    def key_ids(self) -> tuple[str, ...]:
        return tuple(sorted(self._keys))

    def verify(self, key_id: str, signature: bytes, signed: bytes) -> bool:
        """Return whether the key `key_id` is trusted and made `signature` over `signed`."""
        key = self._keys.get(key_id)
        if key is None:
            return False
        try:
            key.verify(signature, signed)
        except InvalidSignature:
            return False
        return True

    def desired(self, envelope: Envelope) -> Desired:
        """Return the desired document inside.

        Raises:
            BadSignature: Unknown key, another kind of document, or a signature that does not hold.
            MalformedMessage: The payload is not a desired document.
        """
        return open_envelope("desired", envelope, Desired, self.verify)

    def plan(self, envelope: Envelope) -> Plan:
        """Return the measuring plan inside; raises as `desired` does."""
        return open_envelope("plan", envelope, Plan, self.verify)


def _public_key(key_id: str, text: str) -> Ed25519PublicKey:
    try:
        return Ed25519PublicKey.from_public_bytes(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError) as exc:
        raise TrustError(
            f"trusted key {key_id!r} is not a base64 Ed25519 public key of 32 bytes ({exc}): "
            "copy it again from `controller init` or `controller keys`"
        ) from exc
