"""A record that is void, or was cut short, is measured again, beside the control, a bounded number of times."""

from types import SimpleNamespace
from typing import Any

import pytest

from controller.deploy.planning.trial_plan import is_repeat, repeats_of
from controller.deploy.stages import measuring
from controller.trial.settings import TrialSettings
from wire.artifact import ArtifactRef
from wire.trial import Flag, PlanPolicy, TrialRecord, TrialRequest

REF = ArtifactRef(digest="a" * 64, index=("b" * 64,), index_bytes=1, size_bytes=1, wire_bytes=1)
NAMES = ("baseline", "int8", "float16")


def request(variant: str, trial: str | None = None) -> TrialRequest:
    return TrialRequest(
        trial=trial or f"d1-{variant}",
        workload="main",
        bundle=REF,
        variant=variant,
        format="onnx",
        engine="onnxruntime",
        group="d1",
        control=variant == "baseline",
    )


ASKED = [request(name) for name in NAMES]


@pytest.mark.parametrize(
    ("void", "again"),
    [
        (set(), []),
        ({"int8"}, ["baseline", "int8"]),
        ({"baseline"}, ["baseline", "int8", "float16"]),
        ({"int8", "float16"}, ["baseline", "int8", "float16"]),
    ],
)
def test_what_is_void_is_asked_again_beside_the_control(void: set[str], again: list[str]) -> None:
    repeated = repeats_of(ASKED, {f"d1-{name}" for name in void}, 1)
    assert [each.variant for each in repeated] == again
    assert {each.group for each in repeated} <= {"d1.1"}


def test_a_second_repeat_has_a_name_of_its_own() -> None:
    second = repeats_of(repeats_of(ASKED, {"d1-int8"}, 1), {"d1-int8.1"}, 2)
    assert [each.trial for each in second] == ["d1-baseline.2", "d1-int8.2"]
    assert {each.group for each in second} == {"d1.2"}
    assert all(is_repeat(each.trial) for each in second)


def test_a_sitting_is_repeated_by_itself() -> None:
    late = [
        request(name, f"d1-{name}.s2").model_copy(update={"group": "d1.s2"}) for name in ("baseline", "dynamic", "u8")
    ]
    assert not any(is_repeat(each.trial) for each in (*ASKED, *late))
    repeated = repeats_of([*ASKED, *late], {"d1-dynamic.s2"}, 1)
    assert [(each.trial, each.group) for each in repeated] == [
        ("d1-baseline.s2.1", "d1.s2.1"),
        ("d1-dynamic.s2.1", "d1.s2.1"),
    ]
    again = repeats_of(repeated, {"d1-baseline.s2.1"}, 2)
    assert [each.trial for each in again] == ["d1-baseline.s2.2", "d1-dynamic.s2.2"]


def ends(requests: list[TrialRequest]) -> list[tuple[str, str]]:
    return [(each.trial, each.group) for each in requests]


def test_what_a_pause_had_no_room_for_is_measured_in_halves_with_a_control_each() -> None:
    everything = {request.trial for request in ASKED}
    first = repeats_of(ASKED, (), 1, everything)
    assert ends(first) == [
        ("d1-baseline.1", "d1.1"),
        ("d1-int8.1", "d1.1"),
        ("d1-baseline.b.1", "d1.b.1"),
        ("d1-float16.b.1", "d1.b.1"),
    ]
    assert all(is_repeat(each.trial) for each in first)
    assert repeats_of(first, (), 2, {request.trial for request in first}) == []  # there is nothing smaller
    only_one = repeats_of(ASKED, (), 1, {"d1-float16"})
    assert ends(only_one) == [("d1-baseline.1", "d1.1"), ("d1-float16.1", "d1.1")]


def test_a_sitting_that_was_void_and_one_that_was_cut_short_are_both_repeated() -> None:
    late = [request(name, f"d1-{name}.s2").model_copy(update={"group": "d1.s2"}) for name in NAMES]
    found = repeats_of([*ASKED, *late], {"d1-int8"}, 1, {each.trial for each in late})
    assert {each.group for each in found} == {"d1.1", "d1.s2.1", "d1.s2.b.1"}
    again = repeats_of(found, {"d1-int8.s2.1"}, 2)
    assert ends(again) == [("d1-baseline.s2.2", "d1.s2.2"), ("d1-int8.s2.2", "d1.s2.2")]


class Fleet:
    """Stands for the service: answers every request at once; the first `disturbed` rounds of `int8` are void."""

    def __init__(self, disturbed: int) -> None:
        self.rounds: list[list[str]] = []
        self._disturbed = disturbed
        self._views: list[SimpleNamespace] = []

    def trials(self, _: str, **__: bool) -> list[SimpleNamespace]:
        return self._views

    def ask_trials(self, _: str, requests: dict[str, list[TrialRequest]], __: Any, ___: PlanPolicy) -> None:
        (some,) = requests.values()
        self.rounds.append([each.variant for each in some])
        self._views += [self._answer(each) for each in some]

    def _answer(self, asked: TrialRequest) -> SimpleNamespace:
        void = asked.variant == "int8" and len(self.rounds) <= self._disturbed
        record = TrialRecord(
            fleet="f",
            device="pi-1",
            trial=asked.trial,
            plan_gen=1,
            workload="main",
            bundle=REF.digest,
            variant=asked.variant,
            engine=asked.engine,
            outcome="measured",
            flags=(Flag(reason="probe_invalid", void=True),) if void else (Flag(reason="busy_host"),),
        )
        return SimpleNamespace(
            trial=asked.trial,
            device="pi-1",
            device_class="small",
            variant=asked.variant,
            stage="received",
            outcome="measured",
            record=record,
        )


@pytest.mark.parametrize(
    ("disturbed", "repeats", "rounds"),
    [
        (0, 2, [list(NAMES)]),
        (1, 2, [list(NAMES), ["baseline", "int8"]]),
        (9, 2, [list(NAMES), ["baseline", "int8"], ["baseline", "int8"]]),
        (9, 0, [list(NAMES)]),
    ],
)
def test_repeats_end(monkeypatch: pytest.MonkeyPatch, disturbed: int, repeats: int, rounds: list[list[str]]) -> None:
    fleet = Fleet(disturbed)
    rules = TrialSettings(timeout_s=10.0, repeats=repeats)
    context: Any = SimpleNamespace(
        deployment="d1",
        service=fleet,
        clock=lambda: 0.0,
        settings=SimpleNamespace(workload=SimpleNamespace(trials=rules)),
        progress=SimpleNamespace(stage=lambda *_: None, say=lambda _: None, advance=lambda _: None),
        devices_by_class=lambda: {"small": [SimpleNamespace(device="pi-1")]},
    )
    monkeypatch.setattr(measuring, "_requests", lambda _: {"pi-1": ASKED})
    measuring.run(context)
    assert fleet.rounds == rounds
