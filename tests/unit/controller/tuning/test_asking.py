"""From candidates to trials: controls, sittings, names; and what they cost."""

from types import SimpleNamespace
from typing import Any

import pytest

from controller.compress.search.classes.measurer import Subject
from controller.trial.cost import variant_seconds
from controller.trial.plan import ClassPlan, TrialDevice
from controller.trial.settings import TrialSettings
from controller.tuning.asking import Place, class_plan, requests_for, sitting_of
from controller.tuning.minutes import sitting_minutes
from wire.artifact import ArtifactRef

REF = ArtifactRef(digest="a" * 64, index=("b" * 64,), index_bytes=1, size_bytes=1, wire_bytes=1)
RULES = TrialSettings(grade="quick", devices_per_class=1)


def subject(name: str, engine: str = "onnxruntime") -> Subject:
    variant: Any = SimpleNamespace(name=name, engine=engine, format="onnx")
    return Subject(variant, None)  # type: ignore[arg-type]  # golden outputs are the bundle's


def device(name: str, *engines: str, online: bool = True, serving: bool = False) -> TrialDevice:
    return TrialDevice(name, "pi", frozenset(engines or ("onnxruntime",)), online, serving)


def place(**changes: Any) -> Place:
    return Place("search-1", "main", RULES.model_copy(update=changes))


CONTROLS = (subject("baseline"), subject("tflite-float", "litert"))


def planned(*subjects: Subject, devices: tuple[TrialDevice, ...] = (device("pi-1"),), **changes: Any) -> Any:
    return class_plan(place(**changes), "pi", devices, CONTROLS, subjects)


def test_a_class_takes_the_first_control_that_it_can_run() -> None:
    plan = planned(subject("a"))
    assert isinstance(plan, ClassPlan)
    assert plan.sittings == (("baseline", "a"),)
    plan = planned(subject("a", "litert"), devices=(device("pi-1", "litert"),))
    assert plan.sittings == (("tflite-float", "a"),)


def test_what_a_class_has_no_engine_for_is_named() -> None:
    plan = planned(subject("a"), subject("b", "litert"))
    assert plan.screened_out == {"b": "engine litert is not there"}


@pytest.mark.parametrize(
    ("devices", "because"),
    [
        ((device("pi-1", online=False),), "no device of the class is present"),
        ((), "no device of the class is known"),
        ((device("pi-1", "executorch"),), "no fp32 baseline runs on its engines (executorch)"),
    ],
)
def test_a_class_that_cannot_measure_says_why(devices: tuple[TrialDevice, ...], because: str) -> None:
    assert planned(subject("a"), devices=devices) == because


def test_devices_that_serve_measure_in_sittings_that_a_pause_has_room_for() -> None:
    pause_s = 2.5 * variant_seconds(RULES)
    plan = planned(
        subject("a"), subject("b"), devices=(device("pi-1", serving=True),), longest_pause_s=pause_s, policy="pause"
    )
    assert plan.sittings == (("baseline", "a"), ("baseline", "b"))
    again = planned(
        subject("a"), subject("b"), devices=(device("pi-1", serving=True),), longest_pause_s=pause_s, policy="coexist"
    )
    assert len(again.sittings) == 1


def test_sittings_are_numbered_on_and_no_name_comes_twice() -> None:
    plan = planned(subject("a"))
    bundles = {"baseline": (subject("baseline"), REF), "a": (subject("a"), REF)}
    first = requests_for(place(), plan, bundles, {})["pi-1"]
    second = requests_for(place(), plan, bundles, {"pi-1": 1})["pi-1"]
    assert [sitting_of(each.trial) for each in (*first, *second)] == [1, 1, 2, 2]
    assert len({each.trial for each in (*first, *second)}) == 4
    assert [each.control for each in first] == [True, False]
    assert {each.group for each in first} == {"search-1.s1"}
    assert first[0].evaluation is None
    assert sitting_of(f"{second[0].trial}.1") == 2


def test_the_cost_is_the_planners() -> None:
    each = variant_seconds(RULES) / 60
    assert sitting_minutes(RULES, 3, 2, serving=False) == pytest.approx(2 * 4 * each)
    short = RULES.model_copy(update={"longest_pause_s": 2.5 * variant_seconds(RULES)})
    assert sitting_minutes(short, 3, 1, serving=True) == pytest.approx(6 * each)  # three sittings of two
    tiny = RULES.model_copy(update={"longest_pause_s": 1.0})
    assert sitting_minutes(tiny, 1, 1, serving=True) == float("inf")
