"""A signed sketch keeps its promise in any order, and comes back from its text; damaged texts are refused."""

import base64
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.buckets import SMALLEST_VALUE
from wire.signed import FLOOR_RATIO, LARGEST_VALUE, START_COLLAPSED, SignedSketch, unpacked

VALUES = st.floats(-1e6, 1e6, allow_nan=False)
MANY = st.lists(VALUES, min_size=1, max_size=200)
FRACTIONS = st.floats(0, 1)


def sketch_of(values: list[float], most_buckets: int = 256) -> SignedSketch:
    sketch = SignedSketch(most_buckets)
    for value in values:
        sketch.add(value)
    return sketch


def exact(values: list[float], fraction: float) -> float:
    return sorted(values)[max(1, math.ceil(fraction * len(values))) - 1]


@given(parts=st.lists(MANY, min_size=1, max_size=4), most=st.integers(4, 64), fraction=FRACTIONS)
def test_merging_and_halving_keep_counts_and_quantiles(parts: list[list[float]], most: int, fraction: float) -> None:
    merged = SignedSketch(most)
    for place, values in enumerate(parts):
        merged.merge(sketch_of(values, 4 + 40 * place))
    everything = [value for values in parts for value in values]
    assert merged.count == len(everything)
    assert (merged.minimum, merged.maximum) == (min(everything), max(everything))
    assert merged.total == pytest.approx(sum(everything), abs=1e-3)
    right = exact(everything, fraction)
    assert abs(merged.quantile(fraction) - right) <= merged.error_ratio * abs(right) * (1 + 1e-9) + SMALLEST_VALUE


@given(values=MANY, fraction=FRACTIONS)
def test_the_text_keeps_what_was_counted(values: list[float], fraction: float) -> None:
    sketch = sketch_of(values)
    back = unpacked(sketch.packed())
    assert (back.count, back.collapsed, back.missing) == (sketch.count, sketch.collapsed, 0)
    for mine, theirs in ((back.minimum, min(values)), (back.maximum, max(values))):
        assert mine == pytest.approx(theirs, rel=1e-6, abs=1e-30)
    largest = max(map(abs, values))
    assert back.mean() == pytest.approx(sum(values) / len(values), rel=1e-6, abs=1e-6 * largest + 1e-30)
    assert back.quantile(fraction) == pytest.approx(sketch.quantile(fraction), rel=1e-6, abs=1e-6)


@given(values=MANY, most=st.integers(4, 40), fraction=FRACTIONS)
def test_a_short_text_keeps_an_error_against_the_value_or_the_largest(
    values: list[float], most: int, fraction: float
) -> None:
    back = unpacked(sketch_of(values).packed(most))
    right, largest = exact(values, fraction), max(map(abs, values))
    assert back.count == len(values)
    allowed = max(back.error_ratio * abs(right), FLOOR_RATIO * largest)
    assert abs(back.quantile(fraction) - right) <= allowed * (1 + 1e-5) + SMALLEST_VALUE


def test_a_short_text_is_short() -> None:
    sketch = sketch_of([math.sin(number) * number for number in range(1, 600)])
    assert len(sketch.packed(28)) < 90 < len(sketch.packed())


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_finite_number_is_missing(value: float) -> None:
    sketch = sketch_of([1.0, value])
    back = unpacked(sketch.packed())
    assert (sketch.count, sketch.missing, back.count, back.missing) == (1, 1, 1, 1)


def test_numbers_beyond_32_bits_are_counted_as_the_largest() -> None:
    back = unpacked(sketch_of([-1e300, 5.0, 1e300]).packed())
    assert back.count == 3
    assert back.maximum == pytest.approx(LARGEST_VALUE)
    assert back.minimum == pytest.approx(-LARGEST_VALUE)


def test_an_empty_sketch_travels_and_has_no_quantile() -> None:
    back = unpacked(SignedSketch().packed())
    assert (back.count, back.minimum, back.maximum, back.mean()) == (0, None, None, 0.0)
    with pytest.raises(ValueError, match="0 values"):
        back.quantile(0.5)


def damaged() -> dict[str, str]:
    whole = base64.b64decode(sketch_of([-2.0, 1.0, 3.0]).packed())

    def text(raw: bytes) -> str:
        return base64.b64encode(raw).decode()

    return {
        "nothing": "",
        "no base64": "?",
        "cut in the numbers": text(whole[:9]),
        "cut in the head": text(whole[:13]),
        "cut in the buckets": text(whole[:-1]),
        "finer than it begins": text(whole[:12] + bytes([START_COLLAPSED - 1]) + whole[13:]),
        "no number": text(b"\x00\x00\xc0\x7f" + whole[4:]),
        "smallest above largest": text(whole[4:8] + whole[:4] + whole[8:]),
        "a bucket beyond numbers": text(whole[:12] + bytes([64]) + whole[13:]),
    }


@pytest.mark.parametrize("text", damaged().values(), ids=damaged())
def test_a_damaged_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"packed sketch|packed buckets|no number"):
        unpacked(text)
