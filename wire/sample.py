"""Samples: queries that a device kept, with what was answered, so that drift leads to new data.

Sent only by devices whose configuration asks for it. A sample crosses the wire as parts of its compressed bytes.
"""

import base64
import binascii
import zlib
from typing import Any, Literal

from pydantic import Field

from wire.base import Message, Name, decode, encode
from wire.canonical import Digest
from wire.errors import MalformedMessage, OversizedMessage

LARGEST_PAYLOAD_BYTES = 16 * 1024 * 1024
"""A larger query is not kept."""
LARGEST_PACKED_BYTES = 24 * 1024 * 1024
"""Base64 of what does not compress, and the rest of the document."""
PART_BYTES = 64 * 1024
"""Of a sample's packed bytes a part: 88 kB as base64 in JSON, below the wire's 96 KiB."""
MOST_PARTS = LARGEST_PACKED_BYTES // PART_BYTES


class Sample(Message):
    """One query and its answer; `payload` is base64 of what was asked, as `encoding`, `dtype` and `shape` say.

    `answer` holds `classes`, `labels` and `values`. `because`: why it was kept.
    """

    device: Name
    workload: Name
    sample: Name
    bundle: Digest | None = None
    at_s: float = Field(ge=0)
    because: Literal["confidence", "random"]
    encoding: Literal["raw", "npy", "json"]
    dtype: str = Field(default="float64", pattern=r"^[a-z]{1,8}[0-9]{0,3}$")
    shape: tuple[int, ...] = Field(default=(), max_length=16)
    answer: dict[str, Any] = Field(default_factory=dict)
    origin: dict[str, Any] = Field(default_factory=dict)
    payload: str


class SamplePart(Message):
    """A slice of a sample's packed bytes; parts are put together by number, then verified."""

    sample: Name
    part: int = Field(ge=0, lt=1000)
    parts: int = Field(ge=1, le=1000)
    sha256: Digest
    data: str = Field(max_length=90_000)


def pack(sample: Sample) -> bytes:
    """Return the compressed canonical bytes of a sample: what is kept on disks and cut into parts."""
    return zlib.compress(encode(sample), 6)


def unpack(packed: bytes) -> Sample:
    """Return the sample that `packed` holds.

    Raises:
        OversizedMessage: More than `LARGEST_PACKED_BYTES` unpacked.
        MalformedMessage: Not a sample.
    """
    stream = zlib.decompressobj()
    try:
        content = stream.decompress(packed, LARGEST_PACKED_BYTES)
    except zlib.error as exc:
        raise MalformedMessage(f"a sample cannot be unpacked: {exc}") from exc
    if not stream.eof:
        raise OversizedMessage(f"a sample is cut short, or above {LARGEST_PACKED_BYTES} bytes")
    return decode(Sample, content, LARGEST_PACKED_BYTES)


def payload_of(sample: Sample) -> bytes:
    """Return what was asked.

    Raises:
        MalformedMessage: Not base64.
    """
    try:
        return base64.b64decode(sample.payload, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise MalformedMessage(f"payload of sample {sample.sample} is not base64: {exc}") from exc
