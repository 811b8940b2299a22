"""The update machine, row by row: answers, restarts, documents in every state."""

from typing import Any

import pytest

from agent.update import machine
from agent.update.machine import SELFTEST_TRIES, SWITCH_TRIES, step
from agent.update.vocabulary import (
    Abort,
    AwaitWindow,
    Check,
    Checked,
    CollectGarbage,
    Continue,
    DesiredArrived,
    Event,
    Facts,
    Fetch,
    Fetched,
    GoBack,
    Instruction,
    ProbationOver,
    Proceed,
    Report,
    Restarted,
    Saved,
    SelfTest,
    SelfTested,
    Serve,
    Switch,
    Switched,
    Tell,
    Ticket,
    Verified,
    Verify,
    Watch,
    WentBack,
    WindowOpen,
    WorkFailed,
)
from tests.unit.agent.update.samples import FACTS, NOW_S, SERVING, A, B, C, desired, error, ref, run, saved
from wire.device_state import BEFORE_SWITCH, LEGAL, TERMINAL, State
from wire.errors import IllegalTransition
from wire.update import Limits, Window

T = Ticket(5, 1)
AFTER_SWITCH = (State.SWITCH, State.PROBATION, State.ROLLBACK)
ENGINES = frozenset({"onnxruntime"})

STEPS: list[tuple[State, Event, State]] = [
    (State.CHECK, Checked(T, FACTS), State.WAIT),
    (State.WAIT, WindowOpen(T), State.DOWNLOAD),
    (State.DOWNLOAD, Fetched(T), State.VERIFY),
    (State.DOWNLOAD, WorkFailed(T, error("slow", "retryable")), State.DOWNLOAD),
    (State.DOWNLOAD, WorkFailed(T, error("disk_full", "incompatible")), State.INCOMPATIBLE),
    (State.DOWNLOAD, WorkFailed(T, error("bad_index", "terminal")), State.FAILED),
    (State.VERIFY, Verified(T, "onnxruntime", ENGINES), State.STAGED),
    (State.VERIFY, Verified(T, "litert", ENGINES), State.INCOMPATIBLE),
    (State.VERIFY, WorkFailed(T, error("damaged_chunks", "retryable")), State.DOWNLOAD),
    (State.VERIFY, WorkFailed(T, error("disk_full", "incompatible")), State.INCOMPATIBLE),
    (State.VERIFY, WorkFailed(T, error("bad_bundle", "terminal")), State.FAILED),
    (State.STAGED, Proceed(), State.SELFTEST),
    (State.SELFTEST, SelfTested(T), State.SWITCH),
    (State.SELFTEST, SelfTested(T, error("golden_mismatch")), State.UNFIT),
    (State.SELFTEST, SelfTested(T, error("engine_missing", "incompatible")), State.INCOMPATIBLE),
    (State.SELFTEST, SelfTested(T, error("selftest_not_started", "retryable")), State.SELFTEST),
    (State.SHADOW, Proceed(), State.SWITCH),
    (State.SWITCH, Switched(T), State.PROBATION),
    (State.SWITCH, WorkFailed(T, error("worker_crashed")), State.ROLLBACK),
    (State.PROBATION, ProbationOver(T), State.COMMITTED),
    (State.PROBATION, WorkFailed(T, error("worker_crashed")), State.ROLLBACK),
    (State.ROLLBACK, WentBack(T), State.ROLLED_BACK),
]


@pytest.mark.parametrize(("state", "event", "after"), STEPS)
def test_an_answer_moves_to_the_next_state(state: State, event: Event, after: State) -> None:
    moved, instructions = step(saved(state), event)
    assert moved.state is after
    assert instructions[0] == Report()
    assert isinstance(instructions[1], Tell)
    assert (instructions[1].old, instructions[1].new, instructions[1].gen) == (state, after, 5)


def test_the_table_of_this_test_has_every_row_of_the_machine() -> None:
    assert {(state, type(event)) for state, event, _ in STEPS} == set(machine._TABLE)


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("event", [event for _, event, _ in STEPS])
def test_an_answer_that_fits_no_row_changes_nothing(state: State, event: Event) -> None:
    if (state, type(event)) not in machine._TABLE:
        before = saved(state)
        assert step(before, event) == (before, [])


@pytest.mark.parametrize(
    ("state", "event"), [(state, event) for state, event, _ in STEPS if not isinstance(event, Proceed)]
)
@pytest.mark.parametrize("gen", [4, 6])
def test_an_answer_to_other_work_changes_nothing(state: State, event: Event, gen: int) -> None:
    before = saved(state, gen)
    assert step(before, event) == (before, [])


WORK: dict[State, list[Instruction]] = {
    State.CHECK: [Check(T)],
    State.WAIT: [AwaitWindow(T, None)],
    State.DOWNLOAD: [Fetch(T, ref())],
    State.VERIFY: [Verify(T, ref())],
    State.STAGED: [Continue()],
    State.SELFTEST: [SelfTest(T, A, Limits())],
    State.SHADOW: [Continue()],
    State.SWITCH: [Switch(T, A, C)],
    State.PROBATION: [Watch(T, A, 3.0)],
    State.ROLLBACK: [GoBack(T, C)],
}
TRIED = {"selftest_tries": 1, "switch_tries": 1}


@pytest.mark.parametrize("state", list(State))
def test_a_restart_goes_on_where_the_disk_says(state: State) -> None:
    before = saved(state, **TRIED)
    after, instructions = step(before, Restarted())
    assert after.state is state
    assert Report() in instructions
    for work in WORK.get(state, []):
        assert work in instructions
    serves = state not in AFTER_SWITCH
    assert (Serve(C) in instructions) is serves


@pytest.mark.parametrize(
    "state", [state for state in State if state not in (State.SELFTEST, State.SHADOW, *AFTER_SWITCH)]
)
def test_a_restart_outside_selftest_and_switch_costs_nothing(state: State) -> None:
    before = saved(state, **TRIED)
    assert step(before, Restarted())[0] == before


def test_a_self_test_that_ends_the_agent_twice_is_unfit() -> None:
    first, _ = step(saved(State.STAGED), Proceed())
    assert first.selftest_tries == 1
    second, _ = step(first, Restarted())
    assert (second.state, second.selftest_tries) == (State.SELFTEST, SELFTEST_TRIES)
    third, instructions = step(second, Restarted())
    assert third.state is State.UNFIT
    assert third.error is not None
    assert third.error.code == "selftest_killed"
    assert not [each for each in instructions if isinstance(each, SelfTest)]
    assert Serve(C) in instructions


@pytest.mark.parametrize("state", [State.SWITCH, State.PROBATION])
def test_a_switch_that_ends_the_agent_three_times_is_rolled_back(state: State) -> None:
    here = saved(state, switch_tries=1, active=A if state is State.PROBATION else C, previous=C)
    for tries in range(2, SWITCH_TRIES + 1):
        here, _ = step(here, Restarted())
        assert (here.state, here.switch_tries) == (state, tries)
    here, instructions = step(here, Restarted())
    assert here.state is State.ROLLBACK
    assert GoBack(T, C) in instructions


def test_the_tries_of_switch_and_probation_are_the_same_ones() -> None:
    here, _ = run(saved(State.SWITCH, switch_tries=1), Restarted(), Switched(T), Restarted())
    assert (here.state, here.switch_tries) == (State.PROBATION, 3)
    assert step(here, Restarted())[0].state is State.ROLLBACK


# --- documents ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", list(State))
def test_a_newer_generation(state: State) -> None:
    """Aborts what has not switched, begins at once at rest, waits behind a switch."""
    newer = desired(6, B)
    after, instructions = step(saved(state), DesiredArrived(newer, FACTS))
    if state in AFTER_SWITCH:
        assert (after.state, after.gen, after.next_desired) == (state, 5, newer)
        assert instructions == [Report()]
    else:
        assert (after.state, after.gen, after.desired, after.attempt) == (State.CHECK, 6, newer, 1)
        assert (Abort() in instructions) is (state in BEFORE_SWITCH)
        assert Check(Ticket(6, 1)) in instructions


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize(("action", "end"), [("hold", State.HELD), ("remove", State.REMOVED)])
def test_hold_and_remove(state: State, action: str, end: State) -> None:
    after, instructions = step(saved(state), DesiredArrived(desired(6, None, action=action), FACTS))
    if state in AFTER_SWITCH:
        assert after.state is state
        assert after.next_desired is not None
        return
    assert (after.state, after.gen) == (end, 6)
    assert after.active == (None if action == "remove" else C)
    assert (Serve(None) in instructions) is (action == "remove")
    assert (Abort() in instructions) is (state in BEFORE_SWITCH)


@pytest.mark.parametrize("state", list(State))
def test_the_same_generation_is_answered_and_an_older_one_refused(state: State) -> None:
    before = saved(state)
    assert step(before, DesiredArrived(desired(5), FACTS)) == (before, [Report()])
    after, instructions = step(before, DesiredArrived(desired(4, B), FACTS))
    assert after == before
    assert [each.reason for each in instructions if isinstance(each, Tell)] == ["old_generation"]


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"device": "barn-2"}, "not_for_us"),
    ({"fleet": "other"}, "not_for_us"),
    ({"workload": "second"}, "not_for_us"),
    ({"epoch": 1}, "old_epoch"),
    ({"epoch": 2, "expires_s": NOW_S - 1}, "expired"),
]


@pytest.mark.parametrize(("changes", "reason"), REFUSED)
def test_a_refused_document_changes_no_state(changes: dict[str, Any], reason: str) -> None:
    before = saved(State.COMMITTED, epoch=2)
    after, instructions = step(before, DesiredArrived(desired(6, **changes), FACTS))
    assert after == before
    assert isinstance(instructions[0], Tell)
    assert (instructions[0].kind, instructions[0].reason, len(instructions)) == ("refused", reason, 1)


def test_a_newer_epoch_fences_the_older_controller_even_in_the_same_generation() -> None:
    here, instructions = step(saved(State.COMMITTED), DesiredArrived(desired(5, epoch=3), FACTS))
    assert (here.epoch, here.state, instructions) == (3, State.COMMITTED, [Report()])
    _, instructions = step(here, DesiredArrived(desired(6, epoch=2), FACTS))
    assert [each.reason for each in instructions if isinstance(each, Tell)] == ["old_epoch"]


def test_the_newest_waiting_document_wins() -> None:
    here, _ = run(
        saved(State.PROBATION, active=A, previous=C),
        DesiredArrived(desired(6, B), FACTS),
        DesiredArrived(desired(8, None, action="hold"), FACTS),
        DesiredArrived(desired(7, B), FACTS),
    )
    assert here.next_desired is not None
    assert here.next_desired.gen == 8
    here, instructions = step(here, ProbationOver(T))
    assert here.state is State.COMMITTED
    assert Continue() in instructions
    here, _ = step(here, Proceed())
    assert (here.state, here.gen, here.active, here.next_desired) == (State.HELD, 8, A, None)


def test_a_waiting_document_survives_a_restart_at_the_end_of_the_older_one() -> None:
    here = saved(State.COMMITTED, next_desired=desired(6, B))
    here, instructions = step(here, Restarted())
    assert Continue() in instructions
    assert step(here, Proceed())[0].gen == 6


def test_what_serves_already_is_committed_at_once() -> None:
    here = saved(State.CHECK, active=A)
    assert step(here, Checked(T, SERVING))[0].state is State.COMMITTED
    assert step(here, Checked(T, FACTS))[0].state is State.WAIT


CHECKS: list[tuple[Facts, str]] = [
    (Facts("farm", "barn-1", frozenset({"litert"}), 10**9, NOW_S), "engine_missing"),
    (Facts("farm", "barn-1", frozenset({"onnxruntime"}), 10**6, NOW_S), "disk_full"),
]


@pytest.mark.parametrize(("facts", "reason"), CHECKS)
def test_a_device_that_cannot_is_incompatible(facts: Facts, reason: str) -> None:
    after, _ = step(saved(State.CHECK), Checked(T, facts))
    assert after.state is State.INCOMPATIBLE
    assert after.error is not None
    assert (after.error.code, after.error.error_class) == (reason, "incompatible")


def test_a_complete_bundle_needs_no_room() -> None:
    facts = Facts("farm", "barn-1", frozenset({"onnxruntime"}), 0, NOW_S, complete=frozenset({A}))
    assert step(saved(State.CHECK), Checked(T, facts))[0].state is State.WAIT


def test_the_window_travels_to_the_shell() -> None:
    window = Window(from_minute=60, to_minute=120)
    here = saved(State.CHECK, desired=desired(5, window=window))
    assert AwaitWindow(T, window) in step(here, Checked(T, FACTS))[1]


# --- slots, rollback, quarantine ---------------------------------------------------------------------------------


def test_a_switch_moves_the_slots() -> None:
    here, _ = step(saved(State.SWITCH, previous=B), Switched(T))
    assert (here.active, here.previous) == (A, C)


def test_switching_to_what_is_active_keeps_the_way_back() -> None:
    here, _ = step(saved(State.SWITCH, active=A, previous=C), Switched(T))
    assert (here.active, here.previous) == (A, C)


ROLLBACKS: list[tuple[State, str | None, str | None, str | None, str | None]] = [
    (State.SWITCH, C, B, C, B),
    (State.SWITCH, None, None, None, None),
    (State.PROBATION, A, C, C, None),
    (State.PROBATION, A, None, None, None),
]


@pytest.mark.parametrize(("state", "active", "previous", "back", "kept"), ROLLBACKS)
def test_a_rollback_serves_what_served_before(
    state: State, active: str | None, previous: str | None, back: str | None, kept: str | None
) -> None:
    here, given = run(saved(state, active=active, previous=previous), WorkFailed(T, error()), WentBack(T))
    assert GoBack(T, back) in given
    assert (here.state, here.active, here.previous) == (State.ROLLED_BACK, back, kept)
    assert here.quarantined == (A,)
    assert here.error == error()


def test_quarantine_needs_a_new_nonce() -> None:
    rolled = saved(State.ROLLED_BACK, quarantined=(A, B), retry_nonce="used")
    for nonce, state in [("", State.FAILED), ("used", State.FAILED), ("new", State.WAIT)]:
        arrived, _ = step(rolled, DesiredArrived(desired(6, retry_nonce=nonce), FACTS))
        checked, _ = step(arrived, Checked(Ticket(6, 1), FACTS))
        assert checked.state is state
    assert (checked.quarantined, checked.retry_nonce) == ((B,), "new")


def test_a_nonce_is_spent_once() -> None:
    here = saved(State.ROLLED_BACK, quarantined=(A,), retry_nonce="")
    here, _ = run(here, DesiredArrived(desired(6, retry_nonce="n"), FACTS), Checked(Ticket(6, 1), FACTS))
    here = here.model_copy(update={"state": State.ROLLED_BACK, "quarantined": (A,)})
    here, _ = run(here, DesiredArrived(desired(7, retry_nonce="n"), FACTS), Checked(Ticket(7, 1), FACTS))
    assert here.state is State.FAILED


def test_a_new_nonce_in_the_same_generation_is_another_attempt() -> None:
    failed = saved(State.UNFIT)
    again, instructions = step(failed, DesiredArrived(desired(5, retry_nonce="n"), FACTS))
    assert (again.state, again.gen, again.attempt) == (State.CHECK, 5, 2)
    assert Check(Ticket(5, 2)) in instructions
    assert step(again, DesiredArrived(desired(5, retry_nonce="n"), FACTS)) == (again, [Report()])
    committed = saved(State.COMMITTED)
    assert step(committed, DesiredArrived(desired(5, retry_nonce="n"), FACTS))[0] == committed


def test_a_lost_saved_state_rolls_back_to_the_previous_slot() -> None:
    lost = Saved(workload="main", state=State.ROLLBACK, active=A, previous=C)
    here, given = run(lost, Restarted(), WentBack(Ticket(0, 1)))
    assert GoBack(Ticket(0, 1), C) in given
    assert (here.state, here.active, here.quarantined) == (State.ROLLED_BACK, C, ())


def test_terminal_states_collect_garbage() -> None:
    for state in TERMINAL:
        assert CollectGarbage() in machine._entry(saved(state))


def test_an_illegal_step_tells_the_last_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(machine._TABLE, (State.WAIT, WindowOpen), lambda s, _: machine._move(s, State.COMMITTED))
    here, _ = run(saved(State.CHECK), Checked(T, FACTS))
    with pytest.raises(IllegalTransition, match=r"wait -> committed.*check: Checked; wait: WindowOpen"):
        step(here, WindowOpen(T))


def test_the_story_keeps_the_last_twenty_events() -> None:
    here = saved(State.DOWNLOAD)
    for _ in range(30):
        here, _ = step(here, WorkFailed(T, error("slow", "retryable")))
    assert len(here.story) == 20


def test_every_state_of_the_protocol_can_be_left_or_is_the_end() -> None:
    with_work = set(machine._WORK) | TERMINAL | {State.IDLE}
    assert with_work == set(State)
    assert set(LEGAL) == set(State)
