"""The states of one workload on one device, and which may follow which. Part of the protocol.

Decides: names, legal transitions, which states end a generation and which of those count as failures. Leaves out:
why a device moves (`agent/update/machine.py`).
"""

from enum import StrEnum

from wire.errors import IllegalTransition


class State(StrEnum):
    """Where a workload's update stands. Stored and sent by value."""

    IDLE = "idle"
    CHECK = "check"
    INCOMPATIBLE = "incompatible"
    WAIT = "wait"
    DOWNLOAD = "download"
    VERIFY = "verify"
    STAGED = "staged"
    SELFTEST = "selftest"
    UNFIT = "unfit"
    SHADOW = "shadow"
    SWITCH = "switch"
    PROBATION = "probation"
    COMMITTED = "committed"
    ROLLBACK = "rollback"
    ROLLED_BACK = "rolled_back"
    FAILED = "failed"
    HELD = "held"
    REMOVED = "removed"


TERMINAL = frozenset(
    {
        State.INCOMPATIBLE,
        State.UNFIT,
        State.COMMITTED,
        State.ROLLED_BACK,
        State.FAILED,
        State.HELD,
        State.REMOVED,
    }
)
"""A generation ends in one of these, and never leaves it."""

FAILURES = frozenset({State.UNFIT, State.ROLLED_BACK, State.FAILED})
"""Terminal states that count against a rollout. `incompatible` does not: the device could not even try."""

BEFORE_SWITCH = frozenset(
    {State.CHECK, State.WAIT, State.DOWNLOAD, State.VERIFY, State.STAGED, State.SELFTEST, State.SHADOW}
)
"""A newer generation, or `hold`, aborts these at once; SWITCH, PROBATION and ROLLBACK are finished first."""

_NEW_GENERATION = frozenset({State.CHECK, State.HELD, State.REMOVED})
_WORK: dict[State, frozenset[State]] = {
    State.IDLE: frozenset(),
    State.CHECK: frozenset({State.INCOMPATIBLE, State.WAIT, State.COMMITTED, State.FAILED}),
    State.WAIT: frozenset({State.DOWNLOAD, State.INCOMPATIBLE, State.FAILED}),
    State.DOWNLOAD: frozenset({State.VERIFY, State.INCOMPATIBLE, State.FAILED}),
    State.VERIFY: frozenset({State.STAGED, State.DOWNLOAD, State.INCOMPATIBLE, State.FAILED}),
    State.STAGED: frozenset({State.SELFTEST}),
    State.SELFTEST: frozenset({State.UNFIT, State.SHADOW, State.SWITCH, State.INCOMPATIBLE, State.FAILED}),
    State.SHADOW: frozenset({State.UNFIT, State.SWITCH}),
    State.SWITCH: frozenset({State.PROBATION, State.ROLLBACK}),
    State.PROBATION: frozenset({State.COMMITTED, State.ROLLBACK}),
    State.ROLLBACK: frozenset({State.ROLLED_BACK}),
}
LEGAL: dict[State, frozenset[State]] = {
    state: _WORK.get(state, frozenset())
    | (_NEW_GENERATION if state in BEFORE_SWITCH | TERMINAL | {State.IDLE} else frozenset())
    for state in State
}
"""state -> the states that may follow it. Staying in a state is always legal."""


def check_transition(old: State, new: State, story: str = "") -> None:
    """Refuse a step that the protocol does not allow.

    Args:
        old: State before.
        new: State after.
        story: What happened last, for the message.
    Raises:
        IllegalTransition: `new` may not follow `old`.
    """
    if new is not old and new not in LEGAL[old]:
        raise IllegalTransition(f"{old.value} -> {new.value} is not legal{'; ' + story if story else ''}")
