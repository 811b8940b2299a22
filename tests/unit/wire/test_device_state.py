"""The table of states is closed: all are reachable, endings end, and nothing after the switch is aborted half way."""

import itertools

import pytest

from wire.device_state import BEFORE_SWITCH, FAILURES, LEGAL, TERMINAL, State, check_transition
from wire.errors import IllegalTransition

NEW_GENERATION = {State.CHECK, State.HELD, State.REMOVED}
AFTER_SWITCH = {State.SWITCH, State.PROBATION, State.ROLLBACK}


def reachable(start: State) -> set[State]:
    seen, new = {start}, {start}
    while new := set().union(*(LEGAL[state] for state in new)) - seen:
        seen |= new
    return seen


def test_every_state_is_in_the_table_and_reachable_from_idle() -> None:
    assert set(LEGAL) == set(State) == reachable(State.IDLE)


def test_every_state_is_of_one_sort() -> None:
    sorts = [TERMINAL, BEFORE_SWITCH, AFTER_SWITCH, {State.IDLE}]
    assert sum(map(len, sorts)) == len(State)
    assert set().union(*sorts) == set(State)


def test_a_generation_ends_for_good() -> None:
    assert {state for state in TERMINAL if LEGAL[state] != NEW_GENERATION} == set()


def test_from_every_state_a_generation_can_end() -> None:
    assert [state for state in State if state is not State.IDLE and not TERMINAL & reachable(state)] == []


def test_a_newer_generation_aborts_anything_before_the_switch_and_nothing_after_it() -> None:
    assert all(LEGAL[state] >= NEW_GENERATION for state in BEFORE_SWITCH)
    assert all(not LEGAL[state] & NEW_GENERATION for state in AFTER_SWITCH)


def test_after_the_switch_it_is_finished_or_rolled_back() -> None:
    assert reachable_within(State.SWITCH, AFTER_SWITCH) == {State.COMMITTED, State.ROLLED_BACK}


def reachable_within(start: State, inside: set[State]) -> set[State]:
    """Return the states in which a walk from `start` leaves `inside`."""
    seen, edge, exits = {start}, [start], set()
    while edge:
        for state in LEGAL[edge.pop()]:
            if state not in inside:
                exits.add(state)
            elif state not in seen:
                seen.add(state)
                edge.append(state)
    return exits


def test_nothing_serves_without_having_been_tested() -> None:
    into_switch = {state for state in State if State.SWITCH in LEGAL[state]}
    assert into_switch == {State.SELFTEST, State.SHADOW}
    assert {state for state in State if State.SELFTEST in LEGAL[state]} == {State.STAGED}


def test_committed_is_reached_by_probation_or_because_it_serves_already() -> None:
    assert {state for state in State if State.COMMITTED in LEGAL[state]} == {State.PROBATION, State.CHECK}


def test_failures_are_endings_and_incompatible_is_not_counted() -> None:
    assert FAILURES < TERMINAL
    assert State.INCOMPATIBLE not in FAILURES


@pytest.mark.parametrize(("old", "new"), list(itertools.product(State, State)))
def test_the_check_follows_the_table(old: State, new: State) -> None:
    if new is old or new in LEGAL[old]:
        check_transition(old, new)
        return
    with pytest.raises(IllegalTransition, match=f"{old.value} -> {new.value} is not legal; power was cut"):
        check_transition(old, new, "power was cut")


def test_states_cross_the_wire_by_these_names() -> None:
    assert " ".join(State) == (
        "idle check incompatible wait download verify staged selftest unfit shadow switch probation committed "
        "rollback rolled_back failed held removed"
    )
