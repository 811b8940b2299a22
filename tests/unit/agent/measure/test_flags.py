"""Reasons to doubt: when a process has them, and that each says what to do."""

import pytest

from agent.measure.conditions import WAITED_FOR
from agent.measure.flags import REMEDIES, UNQUIET, replicate_flags
from agent.measure.protocol import GRADES


def readings(**changes: object) -> dict[str, object]:
    return {
        "probe_before_ns": 1000,
        "probe_after_ns": 1000,
        "drift_ratio": 0.0,
        "disturbed_ratio": 0.0,
        "after": {"throttled_bits": None},
        "calls_per_sample": 1,
        "queries_in_rotation": 8,
        **changes,
    }


@pytest.mark.parametrize(
    ("changes", "flags"),
    [
        ({}, []),
        ({"probe_after_ns": 1029}, []),
        ({"probe_after_ns": 1031}, ["probe_slower"]),
        ({"probe_after_ns": 1101}, ["probe_invalid"]),
        ({"probe_after_ns": 500}, []),
        ({"drift_ratio": 0.031}, ["drift"]),
        ({"disturbed_ratio": 0.051}, ["disturbed"]),
        ({"disturbed_ratio": None}, []),
        ({"after": {"throttled_bits": 0b100}}, ["throttled"]),
        ({"after": {"throttled_bits": 0x50000}}, []),  # happened once, does not hold now
        ({"calls_per_sample": 2}, ["mean_of_k"]),
        ({"queries_in_rotation": 7}, ["few_inputs"]),
        ({"found_idle_ratio": 0.5}, []),
        ({"found_idle_ratio": 0.01}, ["overloaded"]),
        ({"late_ratio": 0.06}, ["late"]),
        ({"late_ratio": 0.04}, []),
        ({"as_batch": True}, []),
        ({"as_batch": None}, []),
        ({"as_batch": False}, ["streams_in_sequence"]),
        ({"compiled_while_timing": 1}, ["compiled_while_timing"]),
    ],
)
def test_flags_follow_from_readings(changes: dict[str, object], flags: list[str]) -> None:
    assert replicate_flags(readings(**changes), GRADES["normal"]) == flags


def test_a_drift_in_a_short_loop_does_not_void() -> None:
    assert replicate_flags(readings(drift_ratio=0.5), GRADES["quick"]) == ["drift_short"]
    assert not REMEDIES["drift_short"][1]
    assert REMEDIES["drift"][1]


def test_a_device_that_rests_between_queries_is_not_void_for_its_scatter() -> None:
    assert replicate_flags(readings(drift_ratio=0.5, found_idle_ratio=0.5), GRADES["normal"]) == ["drift_short"]


def test_every_reason_is_known_and_what_is_void_is_unquiet() -> None:
    assert set(REMEDIES) >= WAITED_FOR
    assert set(REMEDIES) >= UNQUIET
    assert {reason for reason, (_, void) in REMEDIES.items() if void} <= UNQUIET
    assert all(remedy and len(remedy) < 300 for remedy, _ in REMEDIES.values())
    assert list(REMEDIES) == sorted(REMEDIES)
