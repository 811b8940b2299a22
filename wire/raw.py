"""Single queries on request: what an operator asks of one device, for one workload and a bounded time.

Decides: the request (signed, like every order), its bounds, and the parts in which records come back. Leaves out: what
a device records (`agent/gateway/raw.py`) and where the controller keeps it (`controller/telemetry`).
A record is a JSON object: `at_ms` since 1970, `total_ms`, `wait_ms`, `pre_ms`, `infer_ms`, `post_ms`, `label`,
`confidence`, `value`, `answers` of a batch, `bundle` (the digest's first 12 digits), and `reason` where there was no
answer; what does not apply is absent. Inputs are never in it.
"""

import base64
import binascii
import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from wire.base import Message, Name, ShortText
from wire.errors import MalformedMessage

LONGEST_S = 300.0
MOST_RECORDS = 5000
MOST_PACKED = 500
"""Records in a part: far below the largest payload, even where nothing can be compressed."""
MOST_PARTS = 1000
LARGEST_DATA = 90_000
_LARGEST_PLAIN = 4 * 1024 * 1024

Record = Mapping[str, Any]


class RawRequest(Message):
    """Tell of single queries of `workload`, for `seconds`, `most_records` at most. Good until `expires_s`, and once."""

    fleet: Name
    device: Name
    workload: Name
    request: Name
    seconds: float = Field(gt=0, le=LONGEST_S)
    most_records: int = Field(default=1000, ge=1, le=MOST_RECORDS)
    issued_s: float = Field(ge=0)
    expires_s: float = Field(ge=0)


class RawPart(Message):
    """Records of a request, in their order: zlib over JSON lines, base64. The last part says why it ended.

    `reason` is `over` (the time), `full` (the records), or why the device refused.
    """

    fleet: Name
    device: Name
    workload: Name
    request: Name
    part: int = Field(ge=0, lt=MOST_PARTS)
    records: int = Field(ge=0, le=MOST_PACKED)
    data: str = Field(default="", max_length=LARGEST_DATA)
    last: bool = False
    reason: str | None = Field(default=None, max_length=64)
    detail: ShortText = ""


def pack_records(records: Sequence[Record]) -> str:
    """Return records as a part carries them."""
    lines = "\n".join(json.dumps(record, separators=(",", ":")) for record in records)
    return base64.b64encode(zlib.compress(lines.encode(), 6)).decode()


def unpack_records(part: RawPart) -> list[dict[str, Any]]:
    """Return the records of a part.

    Raises:
        MalformedMessage: The data is not as many JSON objects as announced.
    """
    if not part.records:
        return []
    try:
        stream = zlib.decompressobj()
        plain = stream.decompress(base64.b64decode(part.data, validate=True), _LARGEST_PLAIN)
        records = [json.loads(line) for line in plain.splitlines()]
    except (zlib.error, binascii.Error, ValueError, RecursionError) as exc:
        raise MalformedMessage(f"records cannot be unpacked: {exc}") from exc
    if len(records) != part.records or not all(isinstance(record, dict) for record in records):
        raise MalformedMessage(f"a part holds {len(records)} lines where {part.records} records were announced")
    return records
