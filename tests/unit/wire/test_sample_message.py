"""Samples as packed bytes: bounded before they are believed."""

import base64
import zlib

import pytest

from wire.errors import MalformedMessage, OversizedMessage
from wire.sample import (  # fmt: skip
    LARGEST_PACKED_BYTES,
    LARGEST_PAYLOAD_BYTES,
    MOST_PARTS,
    PART_BYTES,
    Sample,
    SamplePart,
    pack,
    payload_of,
    unpack,
)


def sample(payload: bytes) -> Sample:
    return Sample(
        device="pi-1",
        workload="climate",
        sample="s-1",
        at_s=1.0,
        because="random",
        encoding="npy",
        payload=base64.b64encode(payload).decode(),
    )


@pytest.mark.parametrize("payload", [b"", bytes(range(256))])
def test_a_sample_comes_out_as_it_went_in(payload: bytes) -> None:
    found = unpack(pack(sample(payload)))
    assert found == sample(payload)
    assert payload_of(found) == payload


def test_the_largest_payload_fits_and_its_parts_can_be_counted() -> None:
    assert len(base64.b64encode(bytes(LARGEST_PAYLOAD_BYTES))) < LARGEST_PACKED_BYTES
    assert MOST_PARTS * PART_BYTES >= LARGEST_PACKED_BYTES
    SamplePart(sample="s-1", part=MOST_PARTS - 1, parts=MOST_PARTS, sha256="a" * 64, data="")


@pytest.mark.parametrize(
    ("packed", "error"),
    [
        (b"", OversizedMessage),
        (b"no zlib", MalformedMessage),
        (pack(sample(b"x"))[:-1], OversizedMessage),
        (zlib.compress(bytes(LARGEST_PACKED_BYTES + 1), 9), OversizedMessage),
        (zlib.compress(b"{}"), MalformedMessage),
    ],
    ids=["empty", "no zlib", "cut short", "bomb", "no sample"],
)
def test_what_is_no_sample_is_refused(packed: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        unpack(packed)


def test_a_payload_that_is_not_base64_is_refused() -> None:
    with pytest.raises(MalformedMessage):
        payload_of(sample(b"").model_copy(update={"payload": "*"}))
