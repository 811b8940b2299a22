"""Whatever happens in whatever order: legal steps only, ended generations stay ended, tries are bounded."""

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.update.machine import MOST_RETRIES, SELFTEST_TRIES, SWITCH_TRIES, step
from agent.update.vocabulary import (
    Checked,
    DesiredArrived,
    Event,
    Facts,
    Fetched,
    ProbationOver,
    Proceed,
    Restarted,
    Saved,
    SelfTested,
    Switched,
    Ticket,
    Verified,
    WentBack,
    WindowOpen,
    WorkFailed,
)
from tests.unit.agent.update.samples import NOW_S, A, B, C, desired
from wire.device_state import FAILURES, LEGAL, TERMINAL, State
from wire.update import ReportedError

ENGINES = frozenset({"onnxruntime"})
gens = st.integers(1, 6)
tickets = st.builds(Ticket, gens, st.integers(1, 2))
errors = st.builds(
    ReportedError, code=st.just("broken"), error_class=st.sampled_from(["incompatible", "retryable", "terminal"])
)
facts = st.builds(
    Facts,
    fleet=st.just("farm"),
    device=st.just("barn-1"),
    engines=st.sampled_from([ENGINES, frozenset[str]()]),
    disk_free_bytes=st.sampled_from([0, 10**9]),
    now_s=st.just(NOW_S),
    serving=st.booleans(),
)
documents = st.builds(
    lambda gen, bundle, action, epoch, nonce: desired(
        gen, bundle if action == "run" else None, action=action, epoch=epoch, retry_nonce=nonce
    ),
    gens,
    st.sampled_from([A, B, C]),
    st.sampled_from(["run", "run", "run", "hold", "remove"]),
    st.integers(1, 2),
    st.sampled_from(["", "n1", "n2"]),
)
events: st.SearchStrategy[Event] = st.one_of(
    st.builds(DesiredArrived, documents, facts),
    st.just(Restarted()),
    st.just(Proceed()),
    st.builds(Checked, tickets, facts),
    st.builds(WindowOpen, tickets),
    st.builds(Fetched, tickets),
    st.builds(Verified, tickets, st.just("onnxruntime"), st.just(ENGINES)),
    st.builds(SelfTested, tickets, st.one_of(st.none(), errors)),
    st.builds(Switched, tickets),
    st.builds(ProbationOver, tickets),
    st.builds(WentBack, tickets),
    st.builds(WorkFailed, tickets, errors),
)


def answer_of(here: Saved, choice: int) -> Event:
    """Return an event that the present state waits for, so that random walks get far."""
    ticket = here.ticket
    waited: dict[State, list[Event]] = {
        State.CHECK: [Checked(ticket, Facts("farm", "barn-1", ENGINES, 10**9, NOW_S))],
        State.WAIT: [WindowOpen(ticket)],
        State.DOWNLOAD: [Fetched(ticket)],
        State.VERIFY: [Verified(ticket, "onnxruntime", ENGINES)],
        State.STAGED: [Proceed()],
        State.SELFTEST: [SelfTested(ticket)],
        State.SWITCH: [Switched(ticket), WorkFailed(ticket, ReportedError(code="x", error_class="terminal"))],
        State.PROBATION: [ProbationOver(ticket), WorkFailed(ticket, ReportedError(code="x", error_class="terminal"))],
        State.ROLLBACK: [WentBack(ticket)],
    }
    here_waited = waited.get(here.state, [Restarted()])
    return here_waited[choice % len(here_waited)]


walks = st.lists(st.one_of(events, st.integers(0, 1)), max_size=60)


@settings(max_examples=400, deadline=None)
@given(walks)
def test_no_sequence_of_events_breaks_the_protocol(walk: list[Event | int]) -> None:
    here = Saved(workload="main")
    ended: dict[tuple[int, int], State] = {}
    for each in walk:
        event = answer_of(here, each) if isinstance(each, int) else each
        after, _ = step(here, event)
        assert after.state is here.state or after.state in LEGAL[here.state]
        assert (after.gen, after.attempt) >= (here.gen, here.attempt)
        assert after.epoch >= here.epoch
        assert after.selftest_tries <= SELFTEST_TRIES
        assert after.switch_tries <= SWITCH_TRIES
        assert after.retries <= MOST_RETRIES
        if after.state in TERMINAL:
            assert ended.setdefault((after.gen, after.attempt), after.state) is after.state
        else:
            assert (after.gen, after.attempt) not in ended
        here = after


@settings(max_examples=200, deadline=None)
@given(walks)
def test_a_state_that_was_saved_is_read_back_the_same(walk: list[Event | int]) -> None:
    here = Saved(workload="main")
    for each in walk:
        here, _ = step(here, answer_of(here, each) if isinstance(each, int) else each)
        assert Saved.model_validate_json(here.model_dump_json(exclude_none=True)) == here


@settings(max_examples=200, deadline=None)
@given(walks)
def test_what_is_active_was_proven_by_a_switch_or_served_before(walk: list[Event | int]) -> None:
    here = Saved(workload="main")
    for each in walk:
        event = answer_of(here, each) if isinstance(each, int) else each
        after, _ = step(here, event)
        if after.active != here.active:
            switched = (here.state, after.state) == (State.SWITCH, State.PROBATION) and after.active == here.candidate
            went_back = (here.state, after.state) == (State.ROLLBACK, State.ROLLED_BACK)
            removed = after.state is State.REMOVED and after.active is None
            assert switched or went_back or removed
        if after.state in FAILURES and here.state not in FAILURES:
            assert after.active is None or after.active != after.candidate or after.candidate == here.active
        here = after


@settings(max_examples=200, deadline=None)
@given(walks, events)
def test_every_event_may_come_twice(walk: list[Event | int], last: Event) -> None:
    """QoS 1 delivers twice: documents and answers change nothing the second time; restarts cost another try."""
    here = Saved(workload="main")
    for each in walk:
        here, _ = step(here, answer_of(here, each) if isinstance(each, int) else each)
    if isinstance(last, Restarted | Proceed):
        return
    once, _ = step(here, last)
    if isinstance(last, WorkFailed) and last.error.error_class == "retryable":
        return  # each failed try counts
    if once.state is not here.state or isinstance(last, DesiredArrived):
        twice, _ = step(once, last)
        assert twice.model_copy(update={"story": ()}) == once.model_copy(update={"story": ()})
