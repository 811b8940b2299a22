"""From conditions to a likely cause: recorded shapes, old and new, and what must not be read into them."""

from pathlib import Path
from typing import Any, get_args

import pytest

from agent.measure.conditions import snapshot
from controller.trial.fleetwide.causes import REMEDIES, Cause, diagnose, slow_card
from controller.trial.fleetwide.document import CAUSES
from controller.trial.fleetwide.readings import Readings, read
from tests.unit.agent.measure import recorded
from tests.unit.controller.trial.fleetwide.kit import loads, record, void

COOL = {
    "cpu_model": "Cortex-A76",
    "before": {"psi_cpu_some_avg10": 0.5, "governor": "ondemand"},
    "after": {
        "governor": "ondemand", "frequencies_khz": [2_400_000, 2_400_000], "frequencies_max_khz": [2_400_000] * 2,
        "temperatures_celsius": {"thermal_zone0:cpu-thermal": 55.0}, "throttled_bits": 0, "power_source": None,
        "cooling": {"pwm-fan": [3, 4], "cpufreq-cpu0": [0, 4]},
    },
    "drift_ratio": 0.001, "disturbed_ratio": 0.01,
}  # fmt: skip


def device(**changes: Any) -> Readings:
    """A device's readings; changes of `after` and `before` are merged."""
    conditions = {**COOL, **changes}
    for part in ("before", "after"):
        conditions[part] = {**COOL[part], **changes.get(part, {})}  # type: ignore[dict-item]
    return read([record("x", "fp32", readings=conditions)])


REST = [device(), device()]


@pytest.mark.parametrize(
    ("own", "cause", "evidence"),
    [
        (device(), "unknown", ""),
        (device(after={"temperatures_celsius": {"z:cpu": 82.0}}), "bad_cooling", "82 °C, the class 55 °C"),
        (device(after={"temperatures_celsius": {"z:cpu": 66.0}}), "bad_cooling", "66 °C"),
        (device(after={"throttled_bits": 0x60000}), "bad_cooling", "0x60000"),
        (device(after={"cooling": {"cpufreq-cpu0": [2, 4]}}), "bad_cooling", "cpufreq-cpu0"),
        (device(drift_ratio=0.08), "bad_cooling", "8 %"),
        (device(after={"throttled_bits": 0x10001}), "weak_supply", "under-voltage"),
        (device(after={"throttled_bits": 0x50005, "temperatures_celsius": {"z:cpu": 82.0}}), "weak_supply", "0x50005"),
        (device(after={"governor": "powersave"}, before={"governor": "powersave"}), "other_clocks", "powersave"),
        (device(after={"frequencies_max_khz": [1_800_000] * 2}), "other_clocks", "1800 MHz, the class 2400 MHz"),
        (device(after={"frequencies_khz": [1_500_000] * 2}), "other_clocks", "running at 1500 MHz"),
        (device(power_mode="15W"), "unknown", ""),  # nobody else says theirs
        (device(before={"psi_cpu_some_avg10": 35.0}), "busy", "35 %"),
        (device(disturbed_ratio=0.3), "busy", "30 % of the samples"),
        (device(disturbed_ratio=0.3, drift_ratio=0.08), "busy", "30 %"),
        (device(before={"steal_ticks": 0, "total_ticks": 0}, after={"steal_ticks": 9, "total_ticks": 99}), "busy", "9"),
        (device(cpu_model="Cortex-A72"), "other_hardware", "Cortex-A72, the class Cortex-A76"),
    ],
)  # fmt: skip
def test_a_slow_device_has_the_cause_that_its_conditions_show(own: Readings, cause: Cause, evidence: str) -> None:
    found = diagnose(own, REST, slower=True)
    assert found.cause == cause
    assert evidence in "; ".join(found.evidence)
    assert found.remedy == REMEDIES[cause]


def test_a_battery_counts_only_where_others_have_mains() -> None:
    battery = device(after={"power_source": "battery"})
    assert diagnose(battery, [device(after={"power_source": "mains"})], slower=True).cause == "weak_supply"
    assert diagnose(battery, [battery], slower=True).cause == "unknown"


def test_a_fast_device_has_other_clocks_and_never_bad_cooling() -> None:
    hot = device(after={"temperatures_celsius": {"z:cpu": 82.0}, "frequencies_max_khz": [3_000_000] * 2})
    assert diagnose(hot, REST, slower=False).cause == "other_clocks"
    assert diagnose(device(after={"throttled_bits": 1}), REST, slower=False).cause == "unknown"


def test_one_variant_alone_is_not_explained_by_heat() -> None:
    hot = device(after={"temperatures_celsius": {"z:cpu": 82.0}})
    assert diagnose(hot, REST, slower=True, all_variants=False).cause == "unknown_there"
    older = read([record("x", "fp32", engine_version="1.20")])
    newer = [read([record("y", "fp32", engine_version="1.22")])]
    found = diagnose(older, newer, slower=True, all_variants=False)
    assert (found.cause, found.evidence) == ("other_engine", ("engine onnxruntime 1.20, the class onnxruntime 1.22",))


def test_flags_speak_where_readings_are_missing() -> None:
    quota = read([record("x", "fp32", process_flags=("quota_throttled",))])
    assert diagnose(quota, [], slower=True).cause == "busy"
    throttled = read([record("x", "fp32", flags=void())])
    assert diagnose(throttled, [], slower=True).cause == "bad_cooling"


@pytest.mark.parametrize(
    ("cold_ms", "warm_ms", "slow"),
    [(400.0, 21.0, True), (110.0, 21.0, False), (400.0, 80.0, False), (None, None, False)],
)
def test_a_slow_card_is_slow_cold_and_not_warm(cold_ms: float | None, warm_ms: float | None, slow: bool) -> None:
    def one(cold: float | None, warm: float | None) -> Readings:
        known: dict[str, Any] = {"cold_loads": loads(cold), "warm_loads": loads(warm)} if cold and warm else {}
        return read([record("x", variant, **known) for variant in ("fp32", "int8")])

    assert (slow_card(one(cold_ms, warm_ms), [one(100.0, 20.0), one(95.0, 20.0)]) is not None) is slow


@pytest.mark.parametrize(
    "conditions",
    [
        {},
        {"governor": "ondemand"},  # the first release kept some at the top
        {"after": None, "before": [], "drift_ratio": "high", "cpu_model": 7, "disturbed_ratio": None},
        {"after": {"temperatures_celsius": [55], "cooling": {"cpufreq-cpu0": []}, "throttled_bits": True}},
        {"after": {"temperatures_celsius": {"z": None, "y": 4e9}, "frequencies_khz": ["fast"], "cooling": "fan"}},
        {"before": {"steal_ticks": 5, "total_ticks": 9}, "after": {"steal_ticks": 1, "total_ticks": 9}},
        {"drift_ratio": 10**400, "disturbed_ratio": 1e999},
    ],
)
def test_other_shapes_are_no_evidence_and_no_error(conditions: dict[str, Any]) -> None:
    found = read([record("x", "fp32", readings=conditions, conditions=conditions)])
    assert diagnose(found, REST, slower=True).cause == "unknown"


def test_every_cause_has_words_and_a_remedy() -> None:
    assert set(get_args(Cause)) == set(REMEDIES) == set(CAUSES)


def test_what_the_agent_reads_on_a_board_is_understood(tmp_path: Path) -> None:
    """The agent's own readings of the Raspberry Pi in its fixtures: hot, capped, under-voltage."""
    moment = snapshot(recorded.device("raspberry_pi_4", tmp_path))
    found = read([record("x", "fp32", readings={"before": moment, "after": moment})])
    assert (found.celsius, found.throttled_bits, found.governor) == (81.234, 0x50005, "ondemand")
    assert (found.clock_khz, found.clock_limit_khz) == (1_800_000, 1_800_000)
    assert diagnose(found, [], slower=True).cause == "weak_supply"
    cool = read([record("x", "fp32", readings={"after": {**moment, "throttled_bits": 0}})])
    assert diagnose(cool, [], slower=True).cause == "bad_cooling"
