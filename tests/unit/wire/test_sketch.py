"""The sketch keeps its promise on error, and merging it is counting everything in one."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.base import decode, encode
from wire.buckets import pack
from wire.canonical import canonical_json
from wire.errors import MalformedMessage
from wire.sketch import MOST_BUCKETS, RELATIVE_ERROR_RATIO, SMALLEST_VALUE, Sketch, SketchData

LATENCIES_MS = st.floats(min_value=0.05, max_value=5000)
MANY = st.lists(LATENCIES_MS, min_size=1, max_size=300)
FRACTIONS = st.floats(min_value=0, max_value=1)


def sketch_of(values: list[float], **options: int) -> Sketch:
    sketch = Sketch(**options)
    for value in values:
        sketch.add(value)
    return sketch


def exact(values: list[float], fraction: float) -> float:
    return sorted(values)[max(1, math.ceil(fraction * len(values))) - 1]


@given(values=st.lists(st.floats(min_value=1.0, max_value=100.0), min_size=1, max_size=300), fraction=FRACTIONS)
def test_a_quantile_is_within_the_relative_error(values: list[float], fraction: float) -> None:
    # Two decades need 231 buckets at one percent, fewer than the most: nothing is collapsed.
    assert sketch_of(values).quantile(fraction) == pytest.approx(
        exact(values, fraction), rel=RELATIVE_ERROR_RATIO * (1 + 1e-9)
    )


@given(one=MANY, other=MANY)
def test_merging_is_counting_both(one: list[float], other: list[float]) -> None:
    merged = sketch_of(one)
    merged.merge(sketch_of(other).data())
    both = sketch_of(one + other)
    assert merged.count == both.count == len(one) + len(other)
    assert merged.minimum == pytest.approx(min(one + other), rel=1e-5)
    assert merged.maximum == pytest.approx(max(one + other), rel=1e-5)
    assert merged.mean() == pytest.approx(both.mean(), rel=1e-5)


@given(one=st.lists(st.floats(1, 100), min_size=1), other=st.lists(st.floats(1, 100), min_size=1))
def test_without_collapse_the_merged_sketch_is_the_same_in_either_order(one: list[float], other: list[float]) -> None:
    there, back = sketch_of(one), sketch_of(other)
    there.merge(back.data())
    back.merge(sketch_of(one).data())
    assert there.counts() == back.counts() == sketch_of(one + other).counts()


@given(
    parts=st.lists(st.tuples(MANY, st.integers(2, 64)), min_size=1, max_size=5),
    most=st.integers(2, 64),
    fraction=FRACTIONS,
)
def test_adding_merging_and_collapsing_in_any_order_keep_counts_and_error(
    parts: list[tuple[list[float], int]], most: int, fraction: float
) -> None:
    merged = Sketch(most_buckets=most)
    for place, (values, buckets) in enumerate(parts):
        if place % 2:
            merged.merge(sketch_of(values).data(buckets))
        else:
            for value in values:
                merged.add(value)
    everything = [value for values, _ in parts for value in values]
    assert (merged.count, len(merged.counts()) <= most) == (len(everything), True)
    assert merged.minimum == pytest.approx(min(everything), rel=1e-5)
    assert merged.maximum == pytest.approx(max(everything), rel=1e-5)
    assert merged.total == pytest.approx(sum(everything), rel=1e-5)
    right = exact(everything, fraction)
    assert abs(merged.quantile(fraction) - right) <= merged.error_ratio * right * (1 + 1e-9) + 1e-5 * right


@given(values=MANY, most=st.integers(2, 40), fraction=FRACTIONS)
def test_a_short_message_keeps_the_error_that_it_names(values: list[float], most: int, fraction: float) -> None:
    data = sketch_of(values).data(most)
    received = Sketch()
    received.merge(decode(SketchData, encode(data)))
    assert (received.count, len(data.counts()) <= most) == (len(values), True)
    right = exact(values, fraction)
    assert abs(received.quantile(fraction) - right) <= (received.error_ratio + 1e-5) * right


@given(values=MANY)
def test_nothing_is_lost_on_the_wire(values: list[float]) -> None:
    sketch = sketch_of(values)
    received = Sketch()
    received.merge(decode(SketchData, encode(sketch.data())))
    assert received.data() == sketch.data()


def test_buckets_by_name_and_packed_say_the_same() -> None:
    named = decode(SketchData, canonical_json({"buckets": {"40": 3, "41": 17}, "zeros": 1}))
    packed = decode(SketchData, canonical_json({"packed": pack({40: 3, 41: 17}), "zeros": 1}))
    assert named.counts() == packed.counts() == {40: 3, 41: 17}
    assert named.count == packed.count == 21
    both = Sketch()
    both.merge(named)
    both.merge(packed)
    assert both.counts() == {40: 6, 41: 34}


def test_too_many_buckets_lose_resolution_everywhere_and_say_how_much() -> None:
    values = [1.01**power for power in range(2000)]
    sketch = sketch_of(values)
    assert len(sketch.counts()) <= MOST_BUCKETS
    assert sketch.count == len(values)
    assert 0.02 < sketch.error_ratio < 0.09
    for fraction in (0.0, 0.01, 0.5, 0.99):
        assert sketch.quantile(fraction) == pytest.approx(exact(values, fraction), rel=sketch.error_ratio)


def test_collapse_keeps_the_count_when_merging() -> None:
    low, high = sketch_of([1.0, 2.0, 3.0], most_buckets=2), sketch_of([100.0, 200.0], most_buckets=2)
    high.merge(low.data())
    assert (high.count, len(high.counts())) == (5, 2)
    assert high.quantile(0.8) == pytest.approx(100.0, rel=high.error_ratio)
    assert high.quantile(1.0) == 200.0


def test_zero_and_what_is_below_a_nanosecond_are_zero() -> None:
    sketch = sketch_of([0.0, SMALLEST_VALUE / 2, 5.0])
    assert sketch.quantile(0.5) == 0.0
    assert sketch.data().zeros == 2
    assert sketch.quantile(1.0) == pytest.approx(5.0, rel=RELATIVE_ERROR_RATIO)


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_what_is_no_duration_is_refused(value: float) -> None:
    sketch = Sketch()
    with pytest.raises(ValueError, match="finite values"):
        sketch.add(value)
    assert sketch.count == 0


@pytest.mark.parametrize("fraction", [-0.1, 1.1, math.nan])
def test_a_quantile_outside_0_to_1_is_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match="quantile"):
        sketch_of([1.0]).quantile(fraction)


def test_an_empty_sketch_has_no_quantile_and_says_so() -> None:
    empty = Sketch()
    assert (empty.count, empty.mean(), empty.data()) == (0, 0.0, SketchData())
    with pytest.raises(ValueError, match="0 values"):
        empty.quantile(0.5)


def test_a_message_without_smallest_and_largest_has_quantiles_all_the_same() -> None:
    received = Sketch()
    received.merge(decode(SketchData, canonical_json({"packed": pack({40: 3, 41: 17})})))
    assert [received.quantile(fraction) for fraction in (0.0, 0.5, 1.0)] == pytest.approx([2.2, 2.25, 2.25], rel=0.02)


def test_sketches_of_different_errors_are_not_mixed() -> None:
    with pytest.raises(ValueError, match="cannot be merged"):
        Sketch(0.01).merge(Sketch(0.02).data())


@pytest.mark.parametrize("error", [0.0, 1.0, -0.1, math.nan])
def test_an_impossible_error_is_refused(error: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        Sketch(error)


@pytest.mark.parametrize(
    "buckets", [{"x": 1}, {"01": 1}, {"-0": 1}, {"1": 0}, {"1": -3}, {"99999999": 1}, {"-40000": 1}, {"1e3": 1}]
)
def test_buckets_from_the_network_stand_for_numbers_and_counts(buckets: dict[str, int]) -> None:
    with pytest.raises(MalformedMessage, match="bucket"):
        decode(SketchData, canonical_json({"buckets": buckets}))


@pytest.mark.parametrize("most", [-1, 0, 1])
def test_fewer_than_two_buckets_are_refused(most: int) -> None:
    with pytest.raises(ValueError, match="2 buckets"):
        Sketch(most_buckets=most)


@pytest.mark.parametrize("buckets", [{99_999_999: 1}, {-40_000: 1}])
def test_packed_buckets_stand_for_numbers_too(buckets: dict[int, int]) -> None:
    with pytest.raises(MalformedMessage, match="bucket"):
        decode(SketchData, canonical_json({"packed": pack(buckets)}))
    with pytest.raises(MalformedMessage, match="packed"):
        decode(SketchData, canonical_json({"packed": "AAA"}))


@given(value=st.floats(min_value=0, max_value=1.7e308, allow_subnormal=False))
def test_every_value_that_is_counted_can_be_sent(value: float) -> None:
    assert decode(SketchData, encode(sketch_of([value]).data())).count == 1
