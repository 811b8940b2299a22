"""What readings mean. Pure: no reading is taken here."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.measure.conditions import WAITED_FOR, changed_flags, preflight_reasons
from agent.measure.flags import REMEDIES, UNQUIET

QUIET: dict[str, Any] = {
    "governor": "schedutil",
    "governor_driver": "cpufreq-dt",
    "frequencies_khz": [1_800_000, 600_000],
    "frequencies_max_khz": [1_800_000, 1_800_000],
    "temperatures_celsius": {"thermal_zone0:cpu-thermal": 50.0},
    "cooling": {"pwm-fan": [3, 4], "cpufreq-cpu0": [0, 11]},
    "throttled_bits": 0,
    "throttled_by": "sysfs",
    "firmware_arm_hz": 1_800_000_000,
    "throttle_counts": {"core": 3, "package": 1},
    "throttle_time_ms": 40,
    "power_source": "mains",
    "psi_cpu_some_avg10": 0.3,
    "psi_memory_some_avg10": 0.0,
    "steal_ticks": 10,
    "idle_ticks": 9_000,
    "total_ticks": 10_000,
    "swapped_pages": 100,
    "quota_throttled_count": 2,
    "cpu_ns": 0,
    "run_delay_ns": 0,
}
BUSY = {**QUIET, "cpu_ns": 10_000_000_000, "total_ticks": 12_000, "idle_ticks": 10_000}
"""Ten seconds later, on two cores of which one computed."""

TRIPS = {"thermal_zone0:cpu-thermal": {"active": 45.0, "passive": 60.0, "critical": 90.0}}


@pytest.mark.parametrize(
    ("now", "reasons"),
    [
        ({}, ()),
        ({"psi_cpu_some_avg10": 2.0}, ("busy_host",)),
        ({"psi_cpu_some_avg10": 1.99}, ()),
        ({"temperatures_celsius": {"thermal_zone0:cpu-thermal": 54.0}}, ()),
        ({"temperatures_celsius": {"thermal_zone0:cpu-thermal": 54.1}}, ("hot",)),
        ({"temperatures_celsius": {"thermal_zone0:cpu-thermal": 200.0}}, ("hot",)),
        ({"temperatures_celsius": None}, ()),
        ({"throttled_bits": 0b0100}, ("throttled",)),
        ({"throttled_bits": 0x50000}, ()),  # it was, and it is not now
        ({"cooling": {"cpufreq-cpu0": [1, 11]}}, ("throttled",)),
        ({"cooling": {"Processor:3": [2, 10]}}, ("throttled",)),
        ({"cooling": {"intel_powerclamp": [-1, 50]}}, ()),
        ({"psi_memory_some_avg10": 2.5}, ("swapping",)),
        ({"governor": "powersave"}, ("powersave_governor",)),
        ({"governor": "powersave", "governor_driver": "amd-pstate-epp"}, ()),
        ({"power_source": "battery"}, ("on_battery",)),
        ({"psi_cpu_some_avg10": None}, ()),  # one reading of counters tells nothing
    ],
)
def test_before_measuring(now: dict[str, Any], reasons: tuple[str, ...]) -> None:
    assert preflight_reasons({**QUIET, **now}, idle_celsius=49.0, trip_points_celsius=TRIPS) == reasons


@pytest.mark.parametrize(
    ("celsius", "reasons"), [(54.9, ()), (55.1, ("hot",))], ids=["below the trip point", "5 degrees below it"]
)
def test_a_trip_point_tells_what_is_hot_where_rest_is_not_known(celsius: float, reasons: tuple[str, ...]) -> None:
    now = {**QUIET, "temperatures_celsius": {"thermal_zone0:cpu-thermal": celsius}}
    assert preflight_reasons(now, trip_points_celsius=TRIPS) == reasons


@pytest.mark.parametrize(
    ("now", "reasons"),
    [
        ({"total_ticks": 10_100, "idle_ticks": 9_092}, ()),
        ({"total_ticks": 10_100, "idle_ticks": 9_080}, ("busy_host",)),
        ({"total_ticks": 10_100, "idle_ticks": 9_095, "steal_ticks": 13}, ("steal",)),
        ({"total_ticks": 10_040, "idle_ticks": 9_039, "steal_ticks": 11}, ()),  # one tick tells nothing
        ({"swapped_pages": 400}, ("swapping",)),
    ],
)
def test_counters_need_two_readings(now: dict[str, Any], reasons: tuple[str, ...]) -> None:
    without_psi = {**QUIET, "psi_cpu_some_avg10": None}
    assert preflight_reasons({**without_psi, **now}, earlier=without_psi) == reasons


@pytest.mark.parametrize(
    ("after", "flags"),
    [
        ({}, []),
        ({"throttled_bits": 0b0010}, ["throttled"]),
        ({"throttled_bits": 0x40000}, ["throttled"]),
        ({"throttled_bits": 0x40000, "throttled_by": "mailbox"}, ["throttled"]),
        ({"throttled_bits": 0x100000}, []),  # a bit that means nothing
        ({"cooling": {"devfreq-17000000.gpu": [1, 8]}}, ["throttled"]),
        ({"throttle_counts": {"core": 4, "package": 1}, "throttle_time_ms": 240}, ["throttled"]),
        ({"throttle_counts": {"core": 4, "package": 1}, "throttle_time_ms": 140}, ["throttled_briefly"]),
        ({"throttle_counts": {"core": 4}, "throttle_time_ms": None}, ["throttled_briefly"]),
        ({"frequencies_khz": [1_500_000, 600_000]}, ["frequency_fell"]),
        ({"frequencies_khz": [600_000, 1_800_000]}, []),  # the other core computes now
        ({"firmware_arm_hz": 600_000_000}, ["frequency_fell"]),
        ({"frequencies_max_khz": [1_200_000, 1_200_000]}, ["frequency_capped"]),
        ({"frequencies_max_khz": None}, []),
        ({"quota_throttled_count": 3}, ["quota_throttled"]),
        ({"steal_ticks": 60}, ["steal"]),
        ({"steal_ticks": 50}, []),
        ({"swapped_pages": 357}, ["swapping"]),
        ({"run_delay_ns": 600_000_000, "cpu_ns": 9_400_000_000}, ["disturbed"]),
        ({"run_delay_ns": 400_000_000, "cpu_ns": 9_600_000_000}, []),
        ({"cpu_ns": 9_400_000_000}, ["stalled"]),
        ({"cpu_ns": 9_600_000_000}, []),
        ({"cpu_ns": None}, []),
        ({"cpu_ns": 9_400_000_000, "run_delay_ns": None}, []),
        ({"power_source": "battery"}, ["power_source_changed"]),
        ({"power_source": None}, []),
    ],
)
def test_what_disturbed_a_measurement(after: dict[str, Any], flags: list[str]) -> None:
    assert changed_flags(QUIET, {**BUSY, **after}, seconds=10.0) == flags


def test_sticky_bits_of_the_mailbox_count_once() -> None:
    before = {**QUIET, "throttled_by": "mailbox", "throttled_bits": 0x50000}
    assert changed_flags(before, {**before, "cpu_ns": 10**10}, seconds=10.0) == []
    worse = {**before, "cpu_ns": 10**10, "throttled_bits": 0xD0000}
    assert changed_flags(before, worse, seconds=10.0) == ["throttled"]


def test_several_threads_may_wait_more() -> None:
    after = {**BUSY, "run_delay_ns": 900_000_000, "cpu_ns": 20_000_000_000}
    assert changed_flags(QUIET, after, seconds=10.0) == ["disturbed"]
    assert changed_flags(QUIET, after, seconds=10.0, threads=2) == []


def test_a_process_that_waits_for_queries_does_not_stand_still() -> None:
    after = {**BUSY, "cpu_ns": 1_000_000_000}
    assert changed_flags(QUIET, after, seconds=10.0, keeps_busy=False) == []


readings = st.dictionaries(
    st.sampled_from(sorted(QUIET)),
    st.one_of(st.none(), st.integers(0, 10**12)),
    max_size=len(QUIET),
).map(
    lambda found: {
        name: QUIET[name] if isinstance(QUIET[name], str | dict | list) and value is not None else value
        for name, value in found.items()
    }
)


@settings(max_examples=60, deadline=None)
@given(before=readings, after=readings, seconds=st.floats(1e-3, 1e4), threads=st.integers(1, 64))
def test_missing_readings_are_no_reason(
    before: dict[str, Any], after: dict[str, Any], seconds: float, threads: int
) -> None:
    assert set(changed_flags(before, after, seconds, threads)) <= REMEDIES.keys()
    assert set(preflight_reasons(after, earlier=before)) <= REMEDIES.keys()
    # What has not changed is a reason only where it holds at this moment.
    assert set(changed_flags(after, after, seconds, threads, keeps_busy=False)) <= {"throttled"}


def test_every_reason_has_a_remedy() -> None:
    everything = {**QUIET, "governor": "powersave", "power_source": "battery", "throttled_bits": 0xF}
    hot = {**everything, "temperatures_celsius": {"z:cpu": 99.0}, "psi_cpu_some_avg10": 50.0, "steal_ticks": 10**6}
    reasons = preflight_reasons({**hot, "total_ticks": 10**7, "psi_memory_some_avg10": 9.0}, 40.0, QUIET)
    assert WAITED_FOR < set(reasons) <= REMEDIES.keys()
    changed = {"disturbed", "frequency_capped", "frequency_fell", "power_source_changed", "quota_throttled", "stalled"}
    assert changed | {"steal", "swapping", "throttled", "throttled_briefly"} <= UNQUIET
