"""The controller's signing key: Ed25519, one file, readable by its owner only.

Decides: the key's format, file mode and id (first 16 hexadecimal digits of the SHA-256 of the public key). Leaves out:
which keys a device trusts (its configuration; later TUF).
"""

import base64
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from controller.errors import TrustError
from wire.canonical import sha256_hex

KEY_FILE = "controller-ed25519"


@dataclass(frozen=True)
class SigningKey:
    """A key pair that signs desired and plan documents."""

    key_id: str
    public: str
    """Raw public key, base64: what an agent's configuration lists under `trusted_keys`."""
    _private: Ed25519PrivateKey = field(repr=False)

    @property
    def trusted_keys(self) -> dict[str, str]:
        """Entry for an agent's configuration: {key id: public key}."""
        return {self.key_id: self.public}

    def sign(self, payload: bytes) -> bytes:
        return self._private.sign(payload)

    def verify(self, key_id: str, signature: bytes, payload: bytes) -> bool:
        """Whether this very key made `signature`: how the controller knows its own documents again."""
        return key_id == self.key_id and verify_with(self.public, signature, payload)


def verify_with(public: str, signature: bytes, payload: bytes) -> bool:
    """Return whether the holder of `public` (base64) signed `payload`."""
    try:
        Ed25519PublicKey.from_public_bytes(base64.b64decode(public)).verify(signature, payload)
    except InvalidSignature:
        return False
    return True


def create_key(folder: Path) -> SigningKey:
    """Make the key, unless it is there; an existing key is never replaced.

    Args:
        folder: The workspace's `keys/`; made when missing, closed to others.
    Raises:
        TrustError: A key is there and cannot be used.
    """
    path = folder / KEY_FILE
    folder.mkdir(parents=True, mode=0o700, exist_ok=True)
    try:
        # O_EXCL with the mode at creation: at no moment is there a key that others can read.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return load_key(folder)
    private = Ed25519PrivateKey.generate()
    with os.fdopen(descriptor, "wb") as file:
        file.write(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        file.flush()
        os.fsync(file.fileno())
    return _pair(private)


def write_trusted_keys(key: SigningKey, path: Path) -> None:
    """Write the public key as a file that an agent's configuration can name (`trusted_keys_file`); it is no secret."""
    path.write_text("".join(f"{key_id}: {public}\n" for key_id, public in key.trusted_keys.items()), encoding="utf-8")


def load_key(folder: Path) -> SigningKey:
    """Return the key of a workspace.

    Raises:
        TrustError: Missing, readable by others, or not an Ed25519 key.
    """
    path = folder / KEY_FILE
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise TrustError(f"no signing key at {path}: run `controller init`") from None
    except OSError as exc:
        raise TrustError(f"signing key {path} cannot be read: {exc.strerror}") from exc
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise TrustError(f"signing key {path} is open to others (mode {mode:04o}): run `chmod 600 {path}`")
    return _pair(_parse(path, content))


def _parse(path: Path, content: bytes) -> Ed25519PrivateKey:
    remedy = "restore it from a backup, or move it away and run `controller init` (devices must then trust the new key)"
    try:
        private = load_pem_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        raise TrustError(f"signing key {path} is damaged ({exc}): {remedy}") from exc
    if not isinstance(private, Ed25519PrivateKey):
        raise TrustError(f"signing key {path} is not an Ed25519 key: {remedy}")
    return private


def _pair(private: Ed25519PrivateKey) -> SigningKey:
    raw = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return SigningKey(sha256_hex(raw)[:16], base64.b64encode(raw).decode(), private)
