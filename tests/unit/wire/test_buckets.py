"""Packed buckets come back as they were, and what is no packed text is refused."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.buckets import MOST_PACKED, coarser, error_ratio, log_gamma, middle, pack, put, unpack

BUCKETS = st.dictionaries(st.integers(-2000, 40_000), st.integers(1, 2**60), max_size=60)


@given(buckets=BUCKETS)
def test_packed_buckets_come_back(buckets: dict[int, int]) -> None:
    assert unpack(pack(buckets)) == buckets


def test_a_run_of_small_buckets_takes_a_byte_each() -> None:
    assert len(base64.b64decode(pack(dict.fromkeys(range(100, 150), 63)))) == 2 + 50


@given(buckets=BUCKETS, first=st.integers(0, 6), second=st.integers(0, 6))
def test_halving_twice_is_halving_once_as_often(buckets: dict[int, int], first: int, second: int) -> None:
    assert coarser(coarser(buckets, first), second) == coarser(buckets, first + second)


@given(index=st.integers(-500, 500), collapsed=st.integers(0, 10))
def test_the_middle_is_within_the_error_of_both_bounds(index: int, collapsed: int) -> None:
    width, error = log_gamma(0.01, collapsed), error_ratio(0.01, collapsed)
    if abs(index * width) < 600:
        low, high = 2.718281828459045 ** ((index - 1) * width), 2.718281828459045 ** (index * width)
        assert abs(middle(index, width) - low) <= error * low * (1 + 1e-6)
        assert abs(middle(index, width) - high) <= error * high * (1 + 1e-6)


def bad_texts() -> dict[str, str]:
    def of(*numbers: int) -> str:
        raw = bytearray()
        for number in numbers:
            put(raw, number)
        return base64.b64encode(raw).decode()

    return {
        "no base64": "*",
        "an index without a count": of(4),
        "an empty bucket": of(4, 0),
        "a gap to nowhere": of(4, 3, 7),
        "cut within a number": base64.b64encode(b"\x04\x82").decode(),
        "a number without end": base64.b64encode(b"\x80" * 11).decode(),
        "too many": of(4, *[2] * (MOST_PACKED + 1)),
    }


@pytest.mark.parametrize("text", bad_texts().values(), ids=bad_texts())
def test_what_pack_does_not_give_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="packed"):
        unpack(text)
