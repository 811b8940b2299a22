"""Which documents are believed: Ed25519 signatures by the keys that the configuration names.

Decides: whether an envelope's document may be acted upon. Leaves out: what it asks for (`judge.py`), where keys come
from (`agent/config.py`), and the arithmetic (`agent/device/signature.py`, in a process of its own). The broker is not
trusted: nothing that it carries is read before its signature held.
"""

import base64
import binascii
import hashlib
import subprocess
import sys
from collections import deque
from collections.abc import Mapping

from agent.child import worker_environment
from agent.device.signature import FORGED, HOLDS, KEY_BYTES, SIGNATURE_BYTES
from agent.errors import TrustError
from wire.claim import Claimed
from wire.envelope import Envelope, open_envelope
from wire.raw import RawRequest
from wire.trial import Plan
from wire.update import Desired

TIMEOUT_S = 60.0
"""Some 0.1 s on a server; a Pi 3 that swaps gets some patience."""

MOST_REMEMBERED = 64


class Trust:
    """The keys that may command this device. May be used by one thread at a time."""

    def __init__(self, keys: Mapping[str, str]) -> None:
        """Take public keys.

        Args:
            keys: Key id -> raw 32 byte Ed25519 public key, base64.
        Raises:
            TrustError: A key is not one; the text names it.
        """
        self._keys = {key_id: _public_key(key_id, text) for key_id, text in keys.items()}
        self._held: deque[bytes] = deque(maxlen=MOST_REMEMBERED)

    @property
    def key_ids(self) -> tuple[str, ...]:
        return tuple(sorted(self._keys))

    def verify(self, key_id: str, signature: bytes, signed: bytes) -> bool:
        """Return whether the key `key_id` is trusted and made `signature` over `signed`.

        What held before, and comes again with every reconnection, costs no process.

        Raises:
            OSError: It could not be checked.
        """
        key = self._keys.get(key_id)
        if key is None or len(signature) != SIGNATURE_BYTES:
            return False
        content = key + signature + signed
        digest = hashlib.sha256(content).digest()
        if digest in self._held:
            return True
        holds = _check(content)
        if holds:
            self._held.append(digest)
        return holds

    def desired(self, envelope: Envelope) -> Desired:
        """Return the desired document inside.

        Raises:
            OSError: The signature could not be checked.
            BadSignature: Unknown key, another kind of document, or a signature that does not hold.
            MalformedMessage: The payload is not a desired document.
        """
        return open_envelope("desired", envelope, Desired, self.verify)

    def plan(self, envelope: Envelope) -> Plan:
        """Return the measuring plan inside; raises as `desired` does."""
        return open_envelope("plan", envelope, Plan, self.verify)

    def claimed(self, envelope: Envelope) -> Claimed:
        """Return the answer to this device's claim; raises as `desired` does."""
        return open_envelope("claimed", envelope, Claimed, self.verify)

    def raw(self, envelope: Envelope) -> RawRequest:
        """Return the request for single queries inside; raises as `desired` does."""
        return open_envelope("raw", envelope, RawRequest, self.verify)


def _check(content: bytes) -> bool:
    command = [sys.executable, "-m", "agent.device.signature"]
    environment = worker_environment(1)
    try:
        ended = subprocess.run(
            command, input=content, capture_output=True, env=environment, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as exc:
        raise OSError(f"checking a signature took more than {TIMEOUT_S:.0f} s") from exc
    if ended.returncode not in (HOLDS, FORGED):
        tail = ended.stderr.decode(errors="replace").strip()[-300:]
        raise OSError(f"the process that checks a signature ended with exit code {ended.returncode}: {tail}")
    return ended.returncode == HOLDS


def _public_key(key_id: str, text: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise _no_key(key_id, str(exc)) from exc
    if len(key) != KEY_BYTES:
        raise _no_key(key_id, f"{len(key)} bytes")
    return key


def _no_key(key_id: str, why: str) -> TrustError:
    return TrustError(
        f"trusted key {key_id!r} is not a base64 Ed25519 public key of 32 bytes ({why}): "
        "copy it again from `controller init`"
    )
