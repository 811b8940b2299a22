"""What a rollout does next, row by row."""

from dataclasses import replace
from typing import Any

import pytest

from controller.rollout.decide import decide
from controller.rollout.policy import RolloutPolicy
from controller.rollout.view import (
    TERMINAL_PHASES,
    ClassMetrics,
    DeviceView,
    Hold,
    Offer,
    Phase,
    QueryGroup,
    Restore,
    RolloutView,
    Standing,
    Verdict,
    Wish,
)
from wire.device_state import State

NEW, OLD = "n" * 64, "0" * 64
POLICY = RolloutPolicy.model_validate(
    {"soak_s": 10, "deadline_s": 100, "silence_s": 30, "rollback_s": 50, "gate": {"timeout_s": 20}}
)


def device(name: str, wave: int = 0, state: State | None = None, **changes: Any) -> DeviceView:
    """A device that was offered generation 5 where it has a state, online and seen at 1000 s."""
    fields: dict[str, Any] = {
        "device": name,
        "device_class": "c",
        "wave": wave,
        "bundle": NEW,
        "previous": OLD,
        "offered_gen": None if state is None else 5,
        "reported_gen": 0 if state is None else 5,
        "state": state,
        "active": NEW if state is State.COMMITTED else OLD,
        "online": True,
        "last_seen_s": 1000.0,
    }
    return DeviceView(**(fields | changes))


def view(phase: Phase, *devices: DeviceView, wave: int = 0, wish: Wish | None = None, **changes: Any) -> RolloutView:
    standing = Standing(phase, wave, 1000.0, 1000.0, **changes)
    return RolloutView(standing, devices, wish)


DONE = device("a", state=State.COMMITTED)
LATER = device("z", wave=1)
SILENT: dict[str, Any] = {"online": False, "last_seen_s": 900.0}
NOT_YET: dict[str, Any] = {"reported_gen": 4}


@pytest.mark.parametrize(
    ("seen", "after_s", "phase", "said"),
    [
        (view(Phase.DRAFT), 0, Phase.DRAFT, "no device"),
        (view(Phase.DRAFT, device("a"), LATER), 0, Phase.PLANNED, "2 devices in 2 waves"),
        (view(Phase.PLANNED, device("a")), 0, Phase.OFFER, "wave 1 begins"),
        (view(Phase.OFFER, device("a", state=State.DOWNLOAD), LATER), 0, Phase.OFFER, "waiting for a"),
        (view(Phase.OFFER, DONE, LATER), 0, Phase.SOAK, "1 of 1 devices of the wave have ended"),
        (view(Phase.OFFER, device("a", state=State.INCOMPATIBLE), LATER), 0, Phase.SOAK, "1 of 1"),
        (view(Phase.OFFER, device("a", state=State.IDLE, **NOT_YET, online=False), LATER), 99, Phase.OFFER, "waiting"),
        (view(Phase.OFFER, device("a", state=State.IDLE, **NOT_YET, online=False), LATER), 100, Phase.SOAK, "0 of 1"),
        (view(Phase.SOAK, DONE, LATER), 9, Phase.SOAK, "soaking for 1 s more"),
        (view(Phase.SOAK, DONE, LATER), 10, Phase.GATE, "soaked for 10 s"),
        (view(Phase.GATE, DONE, LATER), 0, Phase.OFFER, "wave 2 begins: wave 1 passed (c: 0 of 1 failed"),
        (view(Phase.GATE, DONE), 0, Phase.COMPLETED, "1 of 1 devices run their bundle"),
        (view(Phase.GATE, DONE, device("b", state=State.INCOMPATIBLE)), 0, Phase.COMPLETED, "left out as incomp"),
        (view(Phase.GATE, DONE, device("b", state=State.IDLE, **NOT_YET)), 39, Phase.GATE, "inconclusive, extended"),
        (
            view(Phase.GATE, DONE, device("b", state=State.IDLE, **NOT_YET)),
            100,
            Phase.COMPLETED_WITH_STRAGGLERS,
            "converge when they return: b",
        ),
        (view(Phase.GATE, device("a", state=State.DOWNLOAD)), 100, Phase.COMPLETED_WITH_STRAGGLERS, "return: a"),
        (view(Phase.GATE, device("a", state=State.INCOMPATIBLE), LATER), 19, Phase.GATE, "inconclusive: failure gate"),
        (view(Phase.GATE, device("a", state=State.INCOMPATIBLE), LATER), 39, Phase.GATE, "extended once"),
        (view(Phase.GATE, device("a", state=State.INCOMPATIBLE), LATER), 40, Phase.PAUSED, "no evidence"),
        (view(Phase.OFFER, device("a", state=State.UNFIT), LATER), 0, Phase.ROLLING_BACK, "1 of 1 failed"),
        (view(Phase.SOAK, device("a", state=State.ROLLED_BACK), LATER), 0, Phase.ROLLING_BACK, "failure gate of c"),
        (view(Phase.GATE, device("a", state=State.FAILED), LATER), 0, Phase.ROLLING_BACK, "the limit is 0%"),
        (view(Phase.PAUSED, device("a", state=State.UNFIT), LATER), 0, Phase.ROLLING_BACK, "1 of 1 failed"),
        (view(Phase.APPROVAL, device("a", state=State.UNFIT), LATER, wave=1), 0, Phase.ROLLING_BACK, "1 of 1"),
        (view(Phase.OFFER, device("a", state=State.PROBATION, **SILENT), LATER), 0, Phase.ROLLING_BACK, "1 of 1"),
        (view(Phase.OFFER, device("a", state=State.DOWNLOAD, **SILENT), LATER), 0, Phase.OFFER, "waiting for a"),
        (view(Phase.OFFER, device("a", state=State.SELFTEST, **SILENT), LATER), 0, Phase.OFFER, "waiting for a"),
        (view(Phase.SOAK, replace(DONE, online=False), LATER), 30, Phase.GATE, "soaked"),
        (view(Phase.SOAK, replace(DONE, online=False), LATER), 31, Phase.ROLLING_BACK, "1 of 1 failed"),
        (view(Phase.SOAK, replace(DONE, active=OLD), LATER), 0, Phase.ROLLING_BACK, "1 of 1 failed"),
        (view(Phase.SOAK, replace(DONE, reported_gen=6), LATER), 10, Phase.GATE, "soaked"),
        # Night falls on an earlier wave: its devices have committed, and their silence is not held against the rollout.
        (
            view(Phase.SOAK, replace(DONE, **SILENT), replace(LATER, offered_gen=5), wave=1),
            10,
            Phase.GATE,
            "soaked",
        ),
        # A device of the first wave that was away comes back and fails: the rollout stops in its second wave.
        (
            view(Phase.SOAK, DONE, device("b", state=State.UNFIT), replace(LATER, offered_gen=5), wave=1),
            0,
            Phase.ROLLING_BACK,
            "1 of 2 failed",
        ),
    ],
)
def test_the_next_phase(seen: RolloutView, after_s: float, phase: Phase, said: str) -> None:
    decision = decide(POLICY, seen, 1000.0 + after_s)
    assert decision.standing.phase is phase, decision.because
    assert said in decision.because
    assert decision.changed == (phase is not seen.standing.phase)


def test_a_wave_is_offered_once_and_only_itself() -> None:
    seen = view(Phase.OFFER, device("a"), device("b", state=State.CHECK), LATER)
    decision = decide(POLICY, seen, 1000)
    assert decision.actions == (Offer("a", NEW, OLD, 0),)
    assert decision.standing.phase is Phase.OFFER
    assert decision.changed


def test_a_quorum_lets_a_wave_go_on_without_those_that_are_away() -> None:
    half = RolloutPolicy.model_validate(POLICY.model_dump() | {"gate": {"quorum_ratio": 0.5}})
    away = device("b", state=State.IDLE, **NOT_YET, online=False)
    assert decide(half, view(Phase.OFFER, DONE, away, LATER), 1000).standing.phase is Phase.SOAK
    assert decide(POLICY, view(Phase.OFFER, DONE, away, LATER), 1000).standing.phase is Phase.OFFER
    working = device("b", state=State.DOWNLOAD)
    assert decide(half, view(Phase.OFFER, DONE, working, LATER), 1000).standing.phase is Phase.OFFER
    last = decide(half, view(Phase.OFFER, DONE, away), 1000)
    assert last.standing.phase is Phase.OFFER  # the last wave waits for its deadline before it has stragglers


def test_a_failure_takes_back_every_device_that_was_touched_and_no_other() -> None:
    bare = device("b", state=State.DOWNLOAD, previous=None)
    seen = view(Phase.SOAK, DONE, bare, device("x", state=State.UNFIT, device_class="d"), device("q", wave=1))
    decision = decide(POLICY, seen, 1000)
    assert decision.actions == (Restore("a", OLD), Restore("b", None), Restore("x", OLD))
    assert decision.standing.failed_because == decision.because
    assert any(ruling.verdict is Verdict.FAIL and ruling.device_class == "d" for ruling in decision.rulings)


BACK: dict[str, Any] = {"restored_gen": 6, "reported_gen": 6, "active": OLD}


@pytest.mark.parametrize(
    ("devices", "after_s", "phase", "said"),
    [
        ([replace(DONE, restored_gen=6)], 49, Phase.ROLLING_BACK, "waiting for a to go back"),
        ([replace(DONE, **BACK)], 0, Phase.ROLLED_BACK, "1 devices taken back"),
        ([replace(DONE, **BACK | {"state": State.REMOVED})], 0, Phase.ROLLED_BACK, "1 devices taken back"),
        ([replace(DONE, **BACK | {"state": State.DOWNLOAD})], 0, Phase.ROLLING_BACK, "waiting for a"),
        ([replace(DONE, restored_gen=6)], 50, Phase.ROLLED_BACK, "not yet back, will converge when they return: a"),
        ([replace(DONE, **BACK | {"state": State.FAILED})], 0, Phase.ROLLED_BACK, "could not go back: a"),
        ([], 0, Phase.ROLLED_BACK, "0 devices taken back"),
    ],
)
def test_a_rollback_waits_for_its_devices(devices: list[DeviceView], after_s: float, phase: Phase, said: str) -> None:
    decision = decide(POLICY, view(Phase.ROLLING_BACK, *devices, LATER), 1000 + after_s)
    assert decision.standing.phase is phase
    assert said in decision.because
    assert not decision.actions


@pytest.mark.parametrize(
    ("phase", "wish", "then", "said"),
    [
        (Phase.APPROVAL, Wish.APPROVE, Phase.OFFER, "approved"),
        (Phase.SOAK, Wish.APPROVE, Phase.SOAK, "nothing to approve: the rollout is soak"),
        (Phase.SOAK, Wish.PAUSE, Phase.PAUSED, "paused by an operator"),
        (Phase.ROLLING_BACK, Wish.PAUSE, Phase.ROLLING_BACK, "nothing to pause"),
        (Phase.PAUSED, Wish.RESUME, Phase.SOAK, "resumed"),
        (Phase.SOAK, Wish.RESUME, Phase.SOAK, "nothing to resume"),
        (Phase.SOAK, Wish.ABORT, Phase.CANCELED, "aborted by an operator; 1 devices held"),
        (Phase.PAUSED, Wish.ABORT, Phase.CANCELED, "aborted"),
        (Phase.ROLLING_BACK, Wish.ABORT, Phase.ROLLING_BACK, "nothing to abort"),
        (Phase.COMPLETED, Wish.ABORT, Phase.COMPLETED, "nothing to abort"),
        (Phase.SOAK, Wish.ROLLBACK, Phase.ROLLING_BACK, "by an operator"),
        (Phase.PAUSED, Wish.ROLLBACK, Phase.ROLLING_BACK, "by an operator"),
        (Phase.COMPLETED, Wish.ROLLBACK, Phase.ROLLING_BACK, "by an operator"),
        (Phase.CANCELED, Wish.ROLLBACK, Phase.ROLLING_BACK, "by an operator"),
        (Phase.ROLLED_BACK, Wish.ROLLBACK, Phase.ROLLED_BACK, "nothing to roll back"),
        (Phase.SUPERSEDED, Wish.ROLLBACK, Phase.SUPERSEDED, "nothing to roll back"),
    ],
)
def test_wishes(phase: Phase, wish: Wish, then: Phase, said: str) -> None:
    back = Phase.SOAK if phase is Phase.PAUSED else None
    seen = view(phase, DONE, device("b", state=State.DOWNLOAD), LATER, wish=wish, paused_from=back)
    decision = decide(POLICY, seen, 1000)
    assert decision.standing.phase is then
    assert said in decision.because
    assert decision.wish_done
    assert decision.changed


def test_abort_holds_what_has_not_switched_and_takes_nothing_back() -> None:
    seen = view(Phase.OFFER, DONE, device("b", state=State.DOWNLOAD), LATER, wish=Wish.ABORT)
    assert decide(POLICY, seen, 1000).actions == (Hold("b"),)


def test_a_pause_does_not_use_up_the_deadline() -> None:
    paused = decide(POLICY, view(Phase.OFFER, device("a", state=State.WAIT), wish=Wish.PAUSE), 1090)
    resumed_view = RolloutView(paused.standing, (device("a", state=State.WAIT),), Wish.RESUME)
    resumed = decide(POLICY, resumed_view, 5000)
    assert resumed.standing.phase is Phase.OFFER
    assert resumed.standing.wave_since_s == 1000 + (5000 - 1090)
    later = replace(resumed_view, standing=resumed.standing, wish=None)
    assert decide(POLICY, later, 5009).standing.phase is Phase.OFFER
    assert decide(POLICY, later, 5010).standing.phase is Phase.SOAK


@pytest.mark.parametrize(("approval", "first", "second"), [("first_wave", True, False), ("every_wave", True, True)])
def test_approval(approval: str, first: bool, second: bool) -> None:
    policy = RolloutPolicy.model_validate(POLICY.model_dump() | {"approval": approval})
    begun = decide(policy, view(Phase.PLANNED, device("a"), LATER), 1000)
    assert (begun.standing.phase is Phase.APPROVAL) == first
    passed = decide(policy, view(Phase.GATE, DONE, LATER), 1000)
    assert (passed.standing.phase is Phase.APPROVAL) == second
    assert passed.standing.wave == 1


def test_a_newer_rollout_takes_its_place() -> None:
    for phase in Phase:
        seen = replace(view(phase, DONE, LATER), superseded_by="r2")
        decision = decide(POLICY, seen, 1000)
        assert decision.standing.phase is (phase if phase in TERMINAL_PHASES else Phase.SUPERSEDED)
        assert not decision.actions
    late = replace(view(Phase.COMPLETED, DONE, wish=Wish.ROLLBACK), superseded_by="r2")
    assert decide(POLICY, late, 1000).because == "rollout r2 took its place: roll that one back"


@pytest.mark.parametrize(("required", "phase"), [(False, Phase.COMPLETED), (True, Phase.GATE)])
def test_query_gates_stop_a_wave_and_only_hold_it_up_where_required(required: bool, phase: Phase) -> None:
    gate = {"timeout_s": 20, "error_rate": {"margin_ratio": 0.01, "required": required}}
    policy = RolloutPolicy.model_validate(POLICY.model_dump() | {"gate": gate})
    quiet = replace(view(Phase.GATE, DONE), metrics={"c": ClassMetrics(QueryGroup(1, 5, 0), QueryGroup(1, 5, 0))})
    assert decide(policy, quiet, 1000).standing.phase is phase
    bad = replace(quiet, metrics={"c": ClassMetrics(QueryGroup(1, 500, 400), QueryGroup(1, 500, 0))})
    decision = decide(policy, bad, 1000)
    assert decision.standing.phase is Phase.ROLLING_BACK
    assert "error_rate gate of c: 400 of 500" in decision.because
