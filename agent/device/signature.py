"""Check one Ed25519 signature in a process of its own.

    python -m agent.device.signature        stdin: public key (32 bytes), signature (64 bytes), then what was signed

Decides: nothing but that; the exit code is the answer. The library that does it would stay in the control process for
good: 7.6 of its 50 MiB were measured, for a document or two a day. Leaves out: whose key it is
(`agent/update/trust.py`).
"""

import sys

KEY_BYTES = 32
SIGNATURE_BYTES = 64
HOLDS = 0
FORGED = 10
"""Not 1: an interpreter that fails ends with that, and a check that could not be made is no forgery."""


def main(given: bytes) -> int:
    """Return `HOLDS` or `FORGED` for a key, a signature and the signed bytes, one behind the other."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    key, rest = given[:KEY_BYTES], given[KEY_BYTES:]
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(rest[:SIGNATURE_BYTES], rest[SIGNATURE_BYTES:])
    except InvalidSignature:
        return FORGED
    return HOLDS


if __name__ == "__main__":
    sys.exit(main(sys.stdin.buffer.read()))
