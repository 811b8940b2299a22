"""Records come back as they were packed; a part that is none is refused."""

import base64
import json
import random
import zlib

import pytest

from wire.base import LARGEST_PART_BYTES, decode, encode
from wire.errors import MalformedMessage
from wire.raw import LARGEST_DATA, MOST_PACKED, RawPart, RawRequest, pack_records, unpack_records

NAMES = {"fleet": "farm", "device": "barn-1", "workload": "main", "request": "r1"}


def part(records: int, data: str) -> RawPart:
    return RawPart.model_validate({**NAMES, "part": 0, "records": records, "data": data})


def test_the_largest_part_can_be_published() -> None:
    chance = random.Random(3)
    times = ("at_ms", "total_ms", "wait_ms", "pre_ms", "infer_ms", "post_ms", "confidence")
    records = [
        {**{name: chance.random() * 1e6 for name in times}, "label": f"{chance.getrandbits(250):x}", "answers": 17}
        for _ in range(MOST_PACKED)
    ]
    full = part(MOST_PACKED, pack_records(records))
    assert len(full.data) <= LARGEST_DATA
    assert len(encode(full)) <= LARGEST_PART_BYTES
    assert unpack_records(decode(RawPart, encode(full))) == records
    assert unpack_records(part(0, "")) == []


def packed(content: bytes) -> str:
    return base64.b64encode(zlib.compress(content)).decode()


@pytest.mark.parametrize(
    ("records", "data"),
    [
        (1, "*"),
        (1, base64.b64encode(b"no zlib").decode()),
        (1, packed(b"{no json")),
        (1, packed(b"[1]")),
        (2, packed(b"{}")),
        (1, packed(b"{}\n{}")),
        (1, packed(b"[" * 100_000)),
        (1, packed(json.dumps({"a": "x" * 5_000_000}).encode())),
    ],
)
def test_what_is_no_part_is_refused(records: int, data: str) -> None:
    with pytest.raises(MalformedMessage, match="record"):
        unpack_records(part(records, data))


@pytest.mark.parametrize(
    "changed", [{"seconds": 301}, {"seconds": 0}, {"most_records": 0}, {"most_records": 5001}, {"request": "../x"}]
)
def test_a_request_is_bounded(changed: dict[str, object]) -> None:
    fields = {**NAMES, "seconds": 30, "issued_s": 1.0, "expires_s": 2.0}
    with pytest.raises(ValueError, match=next(iter(changed))):
        RawRequest.model_validate({**fields, **changed})
