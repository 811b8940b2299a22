"""Who measures what, and what it costs."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.trial.cost import (
    PROCESS_S,
    device_cost,
    sittings_of,
    timed_seconds,
    variant_processes,
    variant_seconds,
)
from controller.trial.plan import PlannedVariant, TrialDevice, plan_trials
from controller.trial.settings import TrialSettings, TrialWindow

BOTH = frozenset({"onnxruntime", "litert"})
ONNX, LITERT = frozenset({"onnxruntime"}), frozenset({"litert"})
VARIANTS = [
    PlannedVariant("onnx-fp32", "fp32", "onnxruntime", baseline=True),
    PlannedVariant("tflite-fp32", "fp32", "litert", baseline=True, rank=3),
    PlannedVariant("onnx-u8s8", "int8-u8s8-minmax", "onnxruntime", rank=1),
    PlannedVariant("onnx-fp16", "fp16", "onnxruntime", rank=2),
    PlannedVariant("onnx-s8s8", "int8-s8s8-minmax", "onnxruntime", rank=8),
    PlannedVariant("onnx-dynamic", "int8-dynamic", "onnxruntime", rank=9),
    PlannedVariant("tflite-int8", "int8-static", "litert", rank=1),
]
QUICK = TrialSettings(
    grade="quick", devices_per_class=1, most_variants=3, also_measure={"single": ("*s8s8-m*", "*dynamic*")}
)


def devices() -> list[TrialDevice]:
    single = [TrialDevice(f"s{number}", "single", ONNX, host_id="h") for number in range(3)]
    dual = [TrialDevice(f"d{number}", "dual", BOTH, host_id="h", serving=True) for number in range(2)]
    return [*single, *dual, TrialDevice("l0", "small", LITERT, host_id="h")]


def test_each_class_measures_what_it_can_run_with_its_control_first() -> None:
    plan = plan_trials(QUICK, devices(), VARIANTS)
    by_class = {each.device_class: each for each in plan.classes}
    assert by_class.keys() == {"single", "dual", "small"}
    assert by_class["dual"].variants == ("onnx-fp32", "onnx-u8s8", "tflite-int8", "onnx-fp16")
    assert by_class["dual"].screened_out["tflite-fp32"] == "screened out: only 3 variants are measured"
    assert by_class["small"].control == "tflite-fp32"
    assert by_class["small"].variants == ("tflite-fp32", "tflite-int8")
    assert by_class["small"].screened_out["onnx-fp32"] == "engine onnxruntime is not there"
    assert all(len(each.devices) == 1 for each in plan.classes)


def test_what_is_asked_for_is_measured_whatever_the_screen_says() -> None:
    single = next(each for each in plan_trials(QUICK, devices(), VARIANTS).classes if each.device_class == "single")
    assert single.variants == ("onnx-fp32", "onnx-s8s8", "onnx-dynamic", "onnx-u8s8")
    assert set(single.screened_out) == {"onnx-fp16", "tflite-fp32", "tflite-int8"}


def test_only_devices_that_are_there_measure_and_always_the_same_ones() -> None:
    fleet = [TrialDevice(f"s{number}", "single", ONNX, online=number != 1) for number in range(9)]
    settings = TrialSettings(devices_per_class=3)
    chosen = plan_trials(settings, fleet, VARIANTS, "x").classes[0].devices
    assert len(chosen) == 3
    assert "s1" not in chosen
    assert plan_trials(settings, fleet[::-1], VARIANTS, "x").classes[0].devices == chosen
    others = {plan_trials(settings, fleet, VARIANTS, str(salt)).classes[0].devices for salt in range(5)}
    assert len(others) > 1


def test_devices_of_one_class_measure_what_all_of_them_run() -> None:
    mixed = [TrialDevice("a", "c", BOTH), TrialDevice("b", "c", ONNX)]
    plan = plan_trials(TrialSettings(devices_per_class=2), mixed, VARIANTS).classes[0]
    assert "tflite-int8" not in plan.variants
    assert set(plan.devices) == {"a", "b"}


def test_a_class_that_cannot_measure_is_named_with_its_reason() -> None:
    fleet = [TrialDevice("a", "away", ONNX, online=False), TrialDevice("b", "bare", frozenset())]
    plan = plan_trials(QUICK, fleet, VARIANTS)
    assert plan.classes == ()
    assert plan.impossible == {
        "away": "no device of the class is present",
        "bare": "no fp32 baseline runs on its engines (none)",
    }
    assert plan.cost.wall_s == 0


@pytest.mark.parametrize(("policy", "lost"), [("pause", 4), ("coexist", 0)])
def test_the_cost_counts_devices_hosts_and_serving(policy: str, lost: int) -> None:
    settings = QUICK.model_copy(update={"policy": policy})
    one_s = variant_seconds(settings)
    cost = plan_trials(settings, devices(), VARIANTS).cost
    assert cost.device_minutes == pytest.approx((4 + 4 + 2) * one_s / 60)
    assert cost.wall_s == pytest.approx(10 * one_s)  # six agents of one host take turns
    assert cost.serving_lost_s == pytest.approx(lost * one_s)  # only the dual class serves
    assert cost.longest_pause_s == pytest.approx(lost * one_s)
    assert cost.processes == (4 + 4 + 2) * variant_processes(settings)
    apart = [TrialDevice(each.device, each.device_class, each.engines) for each in devices()]
    assert plan_trials(settings, apart, VARIANTS).cost.wall_s == pytest.approx(4 * one_s)
    assert "device-minutes" in str(cost)


def serving(settings: TrialSettings, *names: str) -> list[TrialDevice]:
    return [TrialDevice(name, "c", ONNX, serving=True) for name in names[: settings.devices_per_class]]


def test_a_pause_that_has_no_room_for_all_is_split_and_each_sitting_has_the_control() -> None:
    settings = TrialSettings(grade="normal", longest_pause_s=300.0)  # room for three of 94 s
    plan = plan_trials(settings, serving(settings, "a", "b"), VARIANTS)
    (part,) = plan.classes
    assert part.sittings == (("onnx-fp32", "onnx-u8s8", "onnx-fp16"), ("onnx-fp32", "onnx-s8s8", "onnx-dynamic"))
    assert part.variants == ("onnx-fp32", "onnx-u8s8", "onnx-fp16", "onnx-s8s8", "onnx-dynamic")
    one_s = variant_seconds(settings)
    assert plan.cost.longest_pause_s == pytest.approx(3 * one_s)
    assert plan.cost.longest_pause_s <= settings.longest_pause_s
    assert plan.cost.serving_lost_s == pytest.approx(2 * 6 * one_s)  # the control of the second sitting as well
    assert "2 sittings" in plan.warnings[0]


@pytest.mark.parametrize("change", [{"policy": "coexist"}, {"longest_pause_s": 3600.0}])
def test_what_need_not_be_split_is_one_sitting(change: dict[str, object]) -> None:
    settings = TrialSettings().model_copy(update=change)
    (part,) = plan_trials(settings, serving(settings, "a"), VARIANTS).classes
    assert len(part.sittings) == 1


def test_a_device_that_serves_nothing_is_not_paused() -> None:
    (part,) = plan_trials(TrialSettings(), [TrialDevice("a", "c", ONNX)], VARIANTS).classes
    assert len(part.sittings) == 1


def test_a_pause_without_room_for_two_is_refused_and_says_what_would_do() -> None:
    settings = TrialSettings(grade="ranking")
    plan = plan_trials(settings, serving(settings, "a"), VARIANTS)
    assert plan.classes == ()
    assert "longest_pause_s is 300" in plan.impossible["c"]
    assert f"{2 * variant_seconds(settings):.0f} s" in plan.impossible["c"]


def test_warnings_name_what_the_cost_does_not_show() -> None:
    settings = TrialSettings(
        grade="normal", threads=2, window=TrialWindow(opens="22:00", closes="04:00"), timeout_s=100.0
    )
    late, window, threads = plan_trials(settings, [TrialDevice("a", "c", ONNX)], VARIANTS).warnings
    assert "timeout_s is 100" in late
    assert "22:00 to 04:00" in window
    assert "2 threads" in threads


def test_higher_grades_cost_more() -> None:
    quick, normal, ranking = (variant_seconds(TrialSettings(grade=grade)) for grade in ("quick", "normal", "ranking"))
    assert quick < normal < ranking


@pytest.mark.parametrize(
    ("fields", "timed_s"),
    [
        ({}, 10.0),
        ({"scenario": "paced", "settings": {"period_ms": 20}}, 10.0),
        ({"scenario": "paced", "settings": {"period_ms": 500}}, 50.0),
        ({"scenario": "paced", "settings": {"period_ms": 5000}}, 60.0),  # the grade's cap
        ({"scenario": "server", "settings": {"rate_hz": 4}}, 25.0),
        ({"scenario": "offline"}, 10.0),
    ],
)
def test_queries_that_come_slowly_take_their_time(fields: dict[str, object], timed_s: float) -> None:
    settings = TrialSettings.model_validate({"grade": "normal", **fields})
    assert timed_seconds(settings) == pytest.approx(timed_s)


def test_a_profile_is_a_process_more() -> None:
    with_profile, without = (variant_seconds(TrialSettings(profile=each)) for each in (True, False))
    assert with_profile - without == pytest.approx(PROCESS_S)


@given(st.integers(1, 40), st.integers(2, 12))
@settings(deadline=None, max_examples=60)
def test_sittings_hold_every_variant_once_and_the_control_first(others: int, size: int) -> None:
    names = [f"v{number}" for number in range(others)]
    sittings = sittings_of("c", names, size)
    assert [name for sitting in sittings for name in sitting[1:]] == names
    assert all(sitting[0] == "c" and 2 <= len(sitting) <= size for sitting in sittings)
    assert len(sittings) == -(-others // (size - 1))  # the fewest
    lengths = [len(sitting) for sitting in sittings]
    assert max(lengths) - min(lengths) <= 1


def test_one_devices_cost_is_that_of_its_sittings() -> None:
    """Each further sitting of a pause measures the control once more."""
    each_s = variant_seconds(QUICK)
    whole = device_cost(QUICK, 3)
    assert whole.device_minutes == pytest.approx(4 * each_s / 60)
    short = QUICK.model_copy(update={"longest_pause_s": 2.5 * each_s})
    assert device_cost(short, 3).serving_lost_s == pytest.approx(6 * each_s)
    assert device_cost(short, 3).longest_pause_s == pytest.approx(2 * each_s)
    assert device_cost(short.model_copy(update={"policy": "coexist"}), 3).serving_lost_s == 0
    assert device_cost(short.model_copy(update={"longest_pause_s": each_s}), 0).processes == variant_processes(QUICK)
