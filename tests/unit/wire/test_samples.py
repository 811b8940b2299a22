"""Raw samples come back exactly, and compressed data cannot make the reader allocate more than was announced."""

import base64
import struct
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.base import decode, encode
from wire.canonical import canonical_json
from wire.errors import MalformedMessage
from wire.trial import LARGEST_SAMPLES, Samples

INT64 = st.integers(min_value=-(2**63), max_value=2**63 - 1)


def packed(raw: bytes, count: int) -> Samples:
    return Samples(count=count, data=base64.b64encode(zlib.compress(raw, 9)).decode())


@given(values=st.lists(INT64, max_size=200))
def test_samples_come_back_as_they_were_packed(values: list[int]) -> None:
    assert decode(Samples, encode(Samples.pack(values))).unpack() == values


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1])
def test_what_does_not_fit_64_bits_is_refused_when_packed(value: int) -> None:
    with pytest.raises(struct.error):
        Samples.pack([value])


@pytest.mark.parametrize("count", [0, 1, 3])
def test_another_count_than_was_announced_is_malformed(count: int) -> None:
    with pytest.raises(MalformedMessage, match="announced"):
        packed(struct.pack("<2q", 1, 2), count).unpack()


def test_half_a_number_is_malformed() -> None:
    with pytest.raises(MalformedMessage, match="11 bytes"):
        packed(b"\0" * 11, 2).unpack()


@pytest.mark.parametrize("data", ["***", "AAAA", "", "ä"])
def test_what_cannot_be_unpacked_is_malformed(data: str) -> None:
    with pytest.raises(MalformedMessage):
        Samples(count=1, data=data).unpack()


def test_a_truncated_stream_is_malformed() -> None:
    whole = base64.b64decode(Samples.pack(list(range(1000))).data)
    with pytest.raises(MalformedMessage):
        Samples(count=1000, data=base64.b64encode(whole[: len(whole) // 2]).decode()).unpack()


def test_a_compression_bomb_is_not_inflated() -> None:
    bomb = packed(b"\0" * (64 * 1024 * 1024), 4)
    assert len(bomb.data) < 100_000
    tracemalloc.start()
    try:
        with pytest.raises(MalformedMessage, match="33 bytes or more, 32 were announced"):
            bomb.unpack()
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 1024 * 1024


@pytest.mark.parametrize("count", [-1, LARGEST_SAMPLES + 1])
def test_the_announced_count_is_bounded(count: int) -> None:
    with pytest.raises(MalformedMessage, match="count"):
        decode(Samples, canonical_json({"count": count, "data": ""}))


def test_an_unknown_encoding_is_malformed() -> None:
    with pytest.raises(MalformedMessage, match="encoding"):
        decode(Samples, canonical_json({"encoding": "pickle", "count": 0, "data": ""}))
