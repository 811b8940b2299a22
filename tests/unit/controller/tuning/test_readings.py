"""What records say of candidates, sitting by sitting."""

from typing import Any

import pytest

from controller.fleet.views import TrialView
from controller.tuning.readings import readings_of
from tests.unit.controller.trial.records import processes, record, view
from wire.trial import Flag, Golden


def said(variant: str, trial: str, median_ns: int, *, device: str = "barn-1", **fields: Any) -> TrialView:
    """Return a trial that came back. `baseline` is the control."""
    control = variant == "baseline"
    made = record(
        trial=trial, device=device, variant=variant, control=control, predictions=None,
        replicates=processes(median_ns, median_ns, median_ns), **fields,
    )  # fmt: skip
    return view(made, trial=trial, device=device, variant=variant, control=control)


def test_a_variant_is_compared_with_the_control_of_its_own_sitting() -> None:
    views = [
        said("baseline", "s-a", 4_000_000), said("int8", "s-b", 2_000_000),
        said("baseline", "s-a.s2", 8_000_000), said("half", "s-c.s2", 2_000_000),
    ]  # fmt: skip
    found = readings_of(views)
    assert found["single", "int8"].ratio == pytest.approx(0.5)
    assert found["single", "half"].ratio == pytest.approx(0.25)
    assert found["single", "half"].p50_ms == pytest.approx(2.0)
    assert ("single", "baseline") not in found


def test_devices_of_a_class_count_alike() -> None:
    views = [
        said("baseline", "s-a", 4_000_000), said("int8", "s-b", 1_000_000),
        said("baseline", "s-c", 4_000_000, device="barn-2"), said("int8", "s-d", 4_000_000, device="barn-2"),
    ]  # fmt: skip
    found = readings_of(views)["single", "int8"]
    assert found.ratio == pytest.approx(0.5)
    assert found.devices == ("barn-1", "barn-2")


def test_what_a_device_refuses_its_class_lacks() -> None:
    views = [said("baseline", "s-a", 4_000_000), said("int8", "s-b", 1, outcome="unfit", error="too little memory")]
    found = readings_of(views)["single", "int8"]
    assert (found.ratio, found.lacking, found.because) == (None, True, "unfit on barn-1: too little memory")


def test_a_variant_that_answers_otherwise_there_is_not_taken() -> None:
    golden = Golden(passed=False, samples=8)
    views = [said("baseline", "s-a", 4_000_000), said("int8", "s-b", 1_000_000, golden=golden)]
    found = readings_of(views)["single", "int8"]
    assert found.lacking
    assert found.because == "answers otherwise on barn-1 than here: golden outputs differ"


@pytest.mark.parametrize("void", ["int8", "baseline"])
def test_a_void_record_is_no_time_and_says_why(void: str) -> None:
    flags = {void: (Flag(reason="disturbed", remedy="leave it alone", void=True),)}
    views = [
        said("baseline", "s-a", 4_000_000, flags=flags.get("baseline", ())),
        said("int8", "s-b", 1_000_000, flags=flags.get("int8", ())),
    ]
    found = readings_of(views)["single", "int8"]
    assert (found.ratio, found.lacking, found.again) == (None, False, False)
    assert "disturbed (leave it alone)" in found.because


def test_a_repeat_takes_the_place_of_what_was_void() -> None:
    flag = (Flag(reason="disturbed", void=True),)
    views = [
        said("baseline", "s-a.s2", 4_000_000), said("int8", "s-b.s2", 1_000_000, flags=flag),
        said("baseline", "s-a.s2.1", 4_000_000), said("int8", "s-b.s2.1", 3_000_000),
    ]  # fmt: skip
    assert readings_of(views)["single", "int8"].ratio == pytest.approx(0.75)


def test_what_was_called_off_may_be_measured_later_and_what_is_under_way_says_nothing() -> None:
    gone = view(trial="s-b", variant="int8", stage="canceled")
    found = readings_of([gone, view(trial="s-c", variant="half", stage="asked")])
    assert found["single", "int8"].again
    assert found["single", "int8"].because == "barn-1 went away or sent nothing in time"
    assert ("single", "half") not in found
