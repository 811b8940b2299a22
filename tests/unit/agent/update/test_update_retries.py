"""Retries: counted, ever later, ended; and what says nothing about a bundle is never held against it."""

from agent.update import machine
from agent.update.machine import MOST_RETRIES, step
from agent.update.vocabulary import Fetch, GoBack, Proceed, SelfTest, SelfTested, Ticket, WentBack, WorkFailed
from tests.unit.agent.update.samples import A, C, error, run, saved
from wire.device_state import State
from wire.update import Limits

T = Ticket(5, 1)


def test_retries_are_counted_wait_longer_and_end() -> None:
    here = saved(State.DOWNLOAD)
    delays: list[float] = []
    for _ in range(MOST_RETRIES):
        here, instructions = step(here, WorkFailed(T, error("slow", "retryable")))
        delays += [each.after_s for each in instructions if isinstance(each, Fetch)]
    assert here.state is State.DOWNLOAD
    assert delays == sorted(delays)
    assert delays[0] > 0
    assert max(delays) <= machine.LONGEST_RETRY_DELAY_S
    here, _ = step(here, WorkFailed(T, error("slow", "retryable")))
    assert here.state is State.FAILED
    assert here.error is not None
    assert here.error.code == "retries_spent"


def test_a_self_test_that_could_not_be_started_is_tried_again_and_never_unfit() -> None:
    here = saved(State.SELFTEST, selftest_tries=1)
    delays: list[float] = []
    for _ in range(MOST_RETRIES):
        here, instructions = step(here, SelfTested(T, error("selftest_not_started", "retryable")))
        delays += [each.after_s for each in instructions if isinstance(each, SelfTest)]
    assert (here.state, here.selftest_tries, len(delays)) == (State.SELFTEST, 1, MOST_RETRIES)
    assert delays == sorted(delays)
    assert delays[0] > 0
    passed, _ = step(here, SelfTested(T))
    assert passed.state is State.SWITCH
    here, _ = step(here, SelfTested(T, error("selftest_not_started", "retryable")))
    assert (here.state, here.error and here.error.code) == (State.FAILED, "retries_spent")


def test_a_self_test_after_a_hard_download_begins_at_once() -> None:
    _, instructions = step(saved(State.STAGED, retries=9), Proceed())
    assert SelfTest(T, A, Limits()) in instructions


def test_a_worker_that_could_not_be_started_rolls_back_without_quarantine() -> None:
    failed = WorkFailed(T, error("worker_not_started", "retryable"))
    here, given = run(saved(State.SWITCH), failed, WentBack(T))
    assert GoBack(T, C) in given
    assert (here.state, here.active, here.quarantined) == (State.ROLLED_BACK, C, ())
