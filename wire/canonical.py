"""Canonical JSON and digests: the same document always has the same bytes, so that one digest names it.

>>> canonical_json({"b": 1, "a": "ä"})
b'{"a":"\\xc3\\xa4","b":1}'
"""

import hashlib
import json
from typing import Annotated, Any

from pydantic import StringConstraints

Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256 as 64 lower-case hexadecimal digits."""


def canonical_json(document: Any) -> bytes:
    """Return the one byte string that stands for `document`.

    Args:
        document: JSON types only; NaN and infinities are refused, since JSON has no words for them.
    Returns:
        UTF-8, keys sorted, no white space.
    Raises:
        ValueError: A number that JSON cannot carry.
    Source: RFC 8785 in spirit; numbers are written as Python's `repr` writes them.
    """
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def sha256_hex(content: bytes | bytearray | memoryview) -> str:
    """Return the digest of `content` as 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()
