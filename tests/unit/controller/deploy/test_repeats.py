"""A record that is void is measured again, beside the control, a bounded number of times."""

from types import SimpleNamespace
from typing import Any

import pytest

from controller.deploy.planning.trial_plan import repeats_of
from controller.deploy.stages import measuring
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
    repeated = repeats_of(ASKED, void, 1)
    assert [each.variant for each in repeated] == again
    assert {each.group for each in repeated} <= {"d1.1"}


def test_a_second_repeat_has_a_name_of_its_own() -> None:
    second = repeats_of(repeats_of(ASKED, {"int8"}, 1), {"int8"}, 2)
    assert [each.trial for each in second] == ["d1-baseline.2", "d1-int8.2"]
    assert {each.group for each in second} == {"d1.2"}


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
    rules = SimpleNamespace(policy="pause", longest_pause_s=300.0, timeout_s=10.0, repeats=repeats)
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
