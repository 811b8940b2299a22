"""Who measures what, and what it costs."""

import pytest

from controller.trial.plan import PlannedVariant, TrialDevice, plan_trials, variant_seconds
from controller.trial.settings import TrialSettings

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
    apart = [TrialDevice(each.device, each.device_class, each.engines) for each in devices()]
    assert plan_trials(settings, apart, VARIANTS).cost.wall_s == pytest.approx(4 * one_s)
    assert "device-minutes" in str(cost)


def test_higher_grades_cost_more() -> None:
    quick, normal, ranking = (variant_seconds(TrialSettings(grade=grade)) for grade in ("quick", "normal", "ranking"))
    assert quick < normal < ranking
