"""The update machine: event in, saved state and instructions out, nothing else.

Decides: which state follows, what is asked of the shell, when tries are spent. Leaves out: doing any of it, and time.
Every step moves by at most one state, so that each state is saved and reported before its work starts. The shell saves
what `step` returns, then carries the instructions out, then sends their answers back as events.

>>> from agent.update.vocabulary import Restarted, Saved
>>> step(Saved(workload="main"), Restarted())[1]
[Serve(bundle=None), Report()]
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from agent.update.judge import ENGINE_MISSING, check_document, is_new_attempt, refusal
from agent.update.vocabulary import (
    MOST_QUARANTINED,
    STORY_LENGTH,
    Abort,
    AwaitWindow,
    Check,
    Checked,
    CollectGarbage,
    Continue,
    DesiredArrived,
    Event,
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
    Verified,
    Verify,
    Watch,
    WentBack,
    WindowOpen,
    WorkFailed,
)
from wire.artifact import ArtifactRef
from wire.device_state import BEFORE_SWITCH, TERMINAL, State, check_transition
from wire.update import Desired, ReportedError

SELFTEST_TRIES = 2
"""A model that browns out the board must not loop."""

SWITCH_TRIES = 3
MOST_RETRIES = 32
LONGEST_RETRY_DELAY_S = 60.0

Step = tuple[Saved, list[Instruction]]


def step(saved: Saved, event: Event) -> Step:
    """Return the workload's next saved state and what to do now.

    Args:
        saved: As it lies on disk.
        event: What happened. An answer to work that was aborted, or that came twice, changes nothing.
    Raises:
        IllegalTransition: A fault of this module: the message carries the last 20 events.
    """
    story = (*saved.story, f"{saved.state.value}: {_label(event)}")[-STORY_LENGTH:]
    after, instructions = _react(saved, event)
    check_transition(saved.state, after.state, "last events: " + "; ".join(story))
    if after is saved:
        return saved, instructions
    return after.model_copy(update={"story": story}), instructions


def _react(saved: Saved, event: Event) -> Step:
    if isinstance(event, DesiredArrived):
        return _desired(saved, event)
    if isinstance(event, Restarted):
        return _restarted(saved)
    if not isinstance(event, Proceed) and event.ticket != saved.ticket:
        return saved, []
    reaction = _TABLE.get((saved.state, type(event)))
    if reaction is None and isinstance(event, Proceed) and saved.state in TERMINAL:
        reaction = _take_next
    return reaction(saved, event) if reaction is not None else (saved, [])


def _move(saved: Saved, state: State, *, reason: str | None = None, detail: str = "", **changes: Any) -> Step:
    """Enter `state`: report it, then start its work."""
    after = saved.model_copy(update={"state": state, **changes})
    tell = Tell("state", after.gen, saved.state, state, reason, detail)
    return after, [Report(), tell, *_entry(after)]


def _end(saved: Saved, state: State, error: ReportedError, **changes: Any) -> Step:
    return _move(saved, state, reason=error.code, detail=error.detail, error=error, **changes)


def _entry(saved: Saved) -> list[Instruction]:
    """Return the work of the state that was entered, or found on disk after a restart."""
    work = _WORK.get(saved.state)
    if work is not None:
        return work(saved)
    follow: list[Instruction] = [Continue()] if saved.next_desired is not None else []
    stop: list[Instruction] = [Serve(None)] if saved.state is State.REMOVED else []
    return [*stop, CollectGarbage(), *follow] if saved.state in TERMINAL else []


# --- documents ---------------------------------------------------------------------------------------------------


def _desired(saved: Saved, event: DesiredArrived) -> Step:
    desired = event.desired
    refused = refusal(saved, desired, event.facts)
    if refused is not None:
        return saved, [Tell("refused", desired.gen, reason=refused.code, detail=refused.detail)]
    if desired.gen == _newest_gen(saved):
        if is_new_attempt(saved, desired):
            return _begin(saved, desired, attempt=saved.attempt + 1)
        newer_epoch = desired.epoch > saved.epoch
        return saved.model_copy(update={"epoch": desired.epoch}) if newer_epoch else saved, [Report()]
    if saved.state in BEFORE_SWITCH:
        after, instructions = _begin(saved, desired)
        return after, [Abort(), *instructions]
    if saved.state in TERMINAL or saved.state is State.IDLE:
        return _begin(saved, desired)
    return saved.model_copy(update={"next_desired": desired, "epoch": desired.epoch}), [Report()]


def _newest_gen(saved: Saved) -> int:
    return saved.next_desired.gen if saved.next_desired is not None else saved.gen


def _begin(saved: Saved, desired: Desired, attempt: int = 1) -> Step:
    fresh = saved.model_copy(
        update={
            "gen": desired.gen,
            "epoch": desired.epoch,
            "attempt": attempt,
            "desired": desired,
            "next_desired": None,
            "selftest_tries": 0,
            "switch_tries": 0,
            "retries": 0,
            "error": None,
        }
    )
    after, instructions = _first_state(fresh, desired)
    return after, instructions


def _first_state(saved: Saved, desired: Desired) -> Step:
    if desired.action == "hold":
        return _move(saved, State.HELD, reason="hold_asked")
    if desired.action == "remove":
        return _move(saved, State.REMOVED, reason="remove_asked", active=None, previous=None)
    return _move(saved, State.CHECK)


def _take_next(saved: Saved, _: Event) -> Step:
    if saved.next_desired is None:
        return saved, []
    return _begin(saved, saved.next_desired)


# --- answers -----------------------------------------------------------------------------------------------------


def _checked(saved: Saved, event: Checked) -> Step:
    desired, _ = _asked(saved)
    fault = check_document(saved, desired, event.facts)
    if fault is not None:
        return _end(saved, State.INCOMPATIBLE if fault.error_class == "incompatible" else State.FAILED, fault)
    released = _released(saved, desired)
    if saved.active == saved.candidate and event.facts.serving:
        return _move(saved, State.COMMITTED, reason="already_active", **released)
    return _move(saved, State.WAIT, **released)


def _released(saved: Saved, desired: Desired) -> dict[str, Any]:
    """Return what a new nonce changes: the digest leaves quarantine, and the nonce is spent."""
    if desired.retry_nonce in ("", saved.retry_nonce):
        return {}
    kept = tuple(digest for digest in saved.quarantined if digest != saved.candidate)
    return {"retry_nonce": desired.retry_nonce, "quarantined": kept}


def _work_failed(saved: Saved, event: WorkFailed) -> Step:
    """DOWNLOAD or VERIFY failed: fetch again, or end."""
    if event.error.error_class == "retryable":
        return _try_again(saved, State.DOWNLOAD, event.error)
    incompatible = event.error.error_class == "incompatible"
    return _end(saved, State.INCOMPATIBLE if incompatible else State.FAILED, event.error)


def _try_again(saved: Saved, state: State, error: ReportedError) -> Step:
    """Do the work of `state` again, a little later, for one of the generation's retries."""
    if saved.retries >= MOST_RETRIES:
        detail = f"{MOST_RETRIES} retries are spent; the last: {error.code}: {error.detail}"
        return _end(saved, State.FAILED, ReportedError(code="retries_spent", error_class="terminal", detail=detail))
    return _move(saved, state, reason=error.code, detail=error.detail, retries=saved.retries + 1)


def _verified(saved: Saved, event: Verified) -> Step:
    if event.engine not in event.engines:
        detail = f"the bundle asks for the engine {event.engine}; here: {', '.join(sorted(event.engines)) or 'none'}"
        return _end(saved, State.INCOMPATIBLE, ENGINE_MISSING.model_copy(update={"detail": detail}))
    return _move(saved, State.STAGED)


def _staged(saved: Saved, _: Event) -> Step:
    return _move(saved, State.SELFTEST, selftest_tries=saved.selftest_tries + 1)


def _self_tested(saved: Saved, event: SelfTested) -> Step:
    if event.error is None:
        return _switch(saved, event)
    match event.error.error_class:
        case "incompatible":
            return _end(saved, State.INCOMPATIBLE, event.error)
        case "retryable":
            return _self_test_again(saved, event.error)
        case _:
            return _end(saved, State.UNFIT, event.error)


def _self_test_again(saved: Saved, error: ReportedError) -> Step:
    """Nothing is known of the bundle yet: its test could not be started."""
    after, instructions = _try_again(saved, State.SELFTEST, error)
    wait_s = _delay_s(after)
    return after, [replace(each, after_s=wait_s) if isinstance(each, SelfTest) else each for each in instructions]


def _switch(saved: Saved, _: Event) -> Step:
    return _move(saved, State.SWITCH, switch_tries=1)


def _switched(saved: Saved, _: Event) -> Step:
    previous = saved.previous if saved.active == saved.candidate else saved.active
    return _move(saved, State.PROBATION, active=saved.candidate, previous=previous)


def _roll_back(saved: Saved, event: WorkFailed) -> Step:
    return _end(saved, State.ROLLBACK, event.error)


def _went_back(saved: Saved, _: Event) -> Step:
    """The digest is quarantined, unless its worker could not even be started: that says nothing about the bundle."""
    active = _way_back(saved)
    previous = saved.previous if saved.previous != active else None
    quarantined = saved.quarantined
    is_at_fault = saved.error is None or saved.error.error_class != "retryable"
    if is_at_fault and saved.candidate is not None and saved.candidate not in quarantined:
        quarantined = (*quarantined, saved.candidate)[-MOST_QUARANTINED:]
    return _move(saved, State.ROLLED_BACK, active=active, previous=previous, quarantined=quarantined)


def _way_back(saved: Saved) -> str | None:
    """Return what served before the candidate; without a candidate (the saved state was lost) the previous slot."""
    if saved.candidate is not None and saved.active != saved.candidate:
        return saved.active
    return saved.previous if saved.candidate is not None else saved.previous or saved.active


# --- restarts ----------------------------------------------------------------------------------------------------


def _restarted(saved: Saved) -> Step:
    """Go on where the disk says: for free before SELFTEST, for one of the tries in and after it."""
    if saved.state in (State.SELFTEST, State.SHADOW):
        after, instructions = _try_selftest_again(saved)
    elif saved.state in (State.SWITCH, State.PROBATION):
        return _try_switch_again(saved)
    else:
        after, instructions = saved, [Report(), *_entry(saved)]
    serve = [] if saved.state is State.ROLLBACK else [Serve(saved.active)]
    return after, [*serve, *instructions]


def _try_selftest_again(saved: Saved) -> Step:
    if saved.selftest_tries >= SELFTEST_TRIES:
        detail = f"the agent ended {saved.selftest_tries} times while the bundle was tested"
        return _end(saved, State.UNFIT, ReportedError(code="selftest_killed", error_class="terminal", detail=detail))
    after = saved.model_copy(update={"selftest_tries": saved.selftest_tries + 1})
    return after, [Report(), *_entry(after)]


def _try_switch_again(saved: Saved) -> Step:
    if saved.switch_tries >= SWITCH_TRIES:
        detail = f"the agent ended {saved.switch_tries} times in {saved.state.value}"
        return _end(saved, State.ROLLBACK, ReportedError(code="switch_killed", error_class="terminal", detail=detail))
    after = saved.model_copy(update={"switch_tries": saved.switch_tries + 1})
    return after, [Report(), *_entry(after)]


# --- tables ------------------------------------------------------------------------------------------------------


def _asked(saved: Saved) -> tuple[Desired, ArtifactRef]:
    """Return the document in hand and its bundle: no work is begun without (`Saved` refuses such a state)."""
    assert saved.desired is not None
    assert saved.desired.bundle is not None
    return saved.desired, saved.desired.bundle


def _fetch(saved: Saved) -> list[Instruction]:
    return [Fetch(saved.ticket, _asked(saved)[1], _delay_s(saved))]


def _delay_s(saved: Saved) -> float:
    return min(LONGEST_RETRY_DELAY_S, 0.5 * 2.0**saved.retries) if saved.retries else 0.0


def _test(saved: Saved) -> list[Instruction]:
    desired, bundle = _asked(saved)
    return [SelfTest(saved.ticket, bundle.digest, desired.limits)]


def _watch(saved: Saved) -> list[Instruction]:
    desired, bundle = _asked(saved)
    return [Watch(saved.ticket, bundle.digest, desired.probation_s)]


_WORK: dict[State, Callable[[Saved], list[Instruction]]] = {
    State.CHECK: lambda saved: [Check(saved.ticket)],
    State.WAIT: lambda saved: [AwaitWindow(saved.ticket, _asked(saved)[0].window)],
    State.DOWNLOAD: _fetch,
    State.VERIFY: lambda saved: [Verify(saved.ticket, _asked(saved)[1])],
    State.STAGED: lambda _: [Continue()],
    State.SELFTEST: _test,
    State.SHADOW: lambda _: [Continue()],  # no document can ask for shadowing yet: a bundle found here has passed
    State.SWITCH: lambda saved: [Switch(saved.ticket, _asked(saved)[1].digest, saved.active)],
    State.PROBATION: _watch,
    State.ROLLBACK: lambda saved: [GoBack(saved.ticket, _way_back(saved))],
}
"""state -> its work, asked for when the state is entered and again after a restart."""

_TABLE: dict[tuple[State, type], Callable[[Saved, Any], Step]] = {
    (State.CHECK, Checked): _checked,
    (State.WAIT, WindowOpen): lambda saved, _: _move(saved, State.DOWNLOAD),
    (State.DOWNLOAD, Fetched): lambda saved, _: _move(saved, State.VERIFY),
    (State.DOWNLOAD, WorkFailed): _work_failed,
    (State.VERIFY, Verified): _verified,
    (State.VERIFY, WorkFailed): _work_failed,
    (State.STAGED, Proceed): _staged,
    (State.SELFTEST, SelfTested): _self_tested,
    (State.SHADOW, Proceed): _switch,
    (State.SWITCH, Switched): _switched,
    (State.SWITCH, WorkFailed): _roll_back,
    (State.PROBATION, ProbationOver): lambda saved, _: _move(saved, State.COMMITTED),
    (State.PROBATION, WorkFailed): _roll_back,
    (State.ROLLBACK, WentBack): _went_back,
}
"""(state, event) -> the reaction. What stands in no row changes nothing: QoS 1 may deliver twice, answers come late."""


def _label(event: Event) -> str:
    match event:
        case DesiredArrived(desired=desired):
            return f"DesiredArrived gen {desired.gen} {desired.action}"
        case WorkFailed(error=error):
            return f"WorkFailed {error.code}"
        case SelfTested(error=ReportedError(code=code)):
            return f"SelfTested {code}"
        case _:
            return type(event).__name__
