"""What is a reading, and why what is none is refused."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.gateway.sources.readings import BadReading, Reading, Rules, read_reading

NOW = 1_700_000_000.0
PLAIN = Rules()
FIELDS = Rules(fields=("air.t", "air.rh"), time_field="at")


def refusal(payload: bytes, rules: Rules = PLAIN) -> str:
    with pytest.raises(BadReading) as caught:
        read_reading(payload, rules, NOW)
    assert caught.value.detail
    return caught.value.reason


@pytest.mark.parametrize(
    ("payload", "values"),
    [
        (b"21.5", (21.5,)),
        (b"-3", (-3.0,)),
        (b" [1, 2.5, 1e3] ", (1.0, 2.5, 1000.0)),
    ],
)
def test_numbers_and_lists_are_readings_of_now(payload: bytes, values: tuple[float, ...]) -> None:
    assert read_reading(payload, PLAIN, NOW) == Reading(values, NOW)


def test_members_are_taken_in_the_order_of_the_fields() -> None:
    payload = b'{"at": 1699999990.5, "air": {"rh": 0.5, "t": 20, "co2": "high"}, "battery": null}'
    assert read_reading(payload, FIELDS, NOW) == Reading((20.0, 0.5), 1699999990.5)


def test_a_member_may_be_a_list() -> None:
    assert read_reading(b'{"xyz": [1, 2, 3], "t": 4}', Rules(fields=("xyz", "t")), NOW).values == (1.0, 2.0, 3.0, 4.0)


@pytest.mark.parametrize(
    ("told", "at_s"),
    [
        ("2023-11-14T22:13:20Z", NOW),
        ("2023-11-14T22:13:20", NOW),
        ("2023-11-14T23:13:20.250+01:00", NOW + 0.25),
        (NOW + 5, NOW + 5),
        (0, 0.0),
    ],
)
def test_times(told: Any, at_s: float) -> None:
    payload = json.dumps({"at": told, "air": {"t": 1, "rh": 2}}).encode()
    assert read_reading(payload, FIELDS, NOW).at_s == at_s


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "reading_malformed"),
        (b"21.5 C", "reading_malformed"),
        (b"[1, 2", "reading_malformed"),
        (b"\xff\xfe21", "reading_malformed"),
        (b"[" * 200_000, "reading_too_large"),
        (b"[" * 60_000, "reading_malformed"),
        (b"9" * 5000, "reading_malformed"),
        (b"9" * 400, "reading_not_finite"),
        (b"1e999", "reading_not_finite"),
        (b"NaN", "reading_not_finite"),
        (b"[1, -Infinity]", "reading_not_finite"),
        (b'"21.5"', "reading_wrong_type"),
        (b"null", "reading_wrong_type"),
        (b"true", "reading_wrong_type"),
        (b"[1, false]", "reading_wrong_type"),
        (b"[[1], [2]]", "reading_wrong_type"),
        (b'{"t": 1}', "reading_wrong_type"),
        (b"[]", "reading_wrong_length"),
    ],
)
def test_what_is_no_reading(payload: bytes, reason: str) -> None:
    assert refusal(payload) == reason


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (21.5, "reading_wrong_type"),
        ({"air": {"t": 1, "rh": 2}}, "reading_field_missing"),
        ({"at": NOW, "air": {"t": 1}}, "reading_field_missing"),
        ({"at": NOW, "air": 7}, "reading_field_missing"),
        ({"at": NOW, "air": {"t": 1, "rh": None}}, "reading_wrong_type"),
        ({"at": NOW, "air": {"t": 1, "rh": {"v": 2}}}, "reading_wrong_type"),
        ({"at": NOW + 5.5, "air": {"t": 1, "rh": 2}}, "reading_from_future"),
        ({"at": NOW * 1000, "air": {"t": 1, "rh": 2}}, "reading_from_future"),
        ({"at": "tomorrow", "air": {"t": 1, "rh": 2}}, "reading_wrong_type"),
        ({"at": "9999-12-31T23:59:59-12:00", "air": {"t": 1, "rh": 2}}, "reading_from_future"),
        ({"at": "0001-01-01T00:00:00+12:00", "air": {"t": 1, "rh": 2}}, None),
        ({"at": True, "air": {"t": 1, "rh": 2}}, "reading_wrong_type"),
    ],
)
def test_objects_that_are_no_readings(content: Any, reason: str | None) -> None:
    payload = json.dumps(content).encode()
    if reason is None:
        assert read_reading(payload, FIELDS, NOW).at_s < 0
    else:
        assert refusal(payload, FIELDS) == reason


def test_milliseconds_are_named() -> None:
    payload = json.dumps({"at": NOW * 1000, "air": {"t": 1, "rh": 2}}).encode()
    with pytest.raises(BadReading, match="milliseconds"):
        read_reading(payload, FIELDS, NOW)


def reason_of(payload: bytes, rules: Rules) -> str | None:
    """Return why there is no reading; None where there is one."""
    try:
        assert read_reading(payload, rules, NOW).values
    except BadReading as exc:
        return exc.reason
    return None


@given(st.binary(max_size=200))
def test_any_bytes_are_a_reading_or_refused(payload: bytes) -> None:
    for rules in (PLAIN, FIELDS):
        assert (reason_of(payload, rules) or "reading_").startswith("reading_")


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["at", "air", "t", "rh"]), inner),
    max_leaves=12,
)


@given(json_values)
def test_any_json_is_a_reading_or_refused(content: Any) -> None:
    for rules in (PLAIN, FIELDS):
        assert (reason_of(json.dumps(content).encode(), rules) or "reading_").startswith("reading_")
