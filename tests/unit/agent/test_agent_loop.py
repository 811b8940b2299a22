"""The consumer thread: order, timers, faults, other threads."""

import threading
from collections.abc import Callable

from agent.loop import Loop


class FakeClock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_calls_are_made_in_the_order_they_were_posted() -> None:
    loop, seen = Loop(), list[int]()
    for number in range(5):
        loop.post(lambda number=number: seen.append(number))  # type: ignore[misc]
    loop.post(loop.stop)
    loop.run()
    assert seen == [0, 1, 2, 3, 4]


def test_timers_fire_by_due_time_and_cancelled_ones_do_not() -> None:
    clock = FakeClock()
    loop, seen = Loop(clock), list[str]()
    loop.after(3.0, lambda: seen.append("three"))
    loop.after(1.0, lambda: seen.append("one"))
    cancelled = loop.after(2.0, lambda: seen.append("two"))
    loop.after(4.0, loop.stop)
    cancelled.cancel()
    clock.now_s = 10.0
    loop.run()
    assert seen == ["one", "three"]


def test_a_timer_fires_once() -> None:
    clock = FakeClock()
    loop, seen = Loop(clock), list[int]()
    timer = loop.after(0.0, lambda: seen.append(1))
    loop.after(1.0, loop.stop)
    clock.now_s = 5.0
    loop.run()
    timer.fire()
    assert seen == [1]
    assert not timer.waiting


def test_a_call_that_fails_ends_nothing() -> None:
    loop, seen = Loop(), list[str]()

    def fail() -> None:
        raise ValueError("a fault")

    loop.post(fail)
    loop.post(lambda: seen.append("after"))
    loop.post(loop.stop)
    loop.run()
    assert seen == ["after"]


def test_other_threads_may_post() -> None:
    loop, seen = Loop(), list[threading.Thread]()
    consumer = threading.current_thread()

    def from_elsewhere(post: Callable[[Callable[[], None]], None]) -> None:
        post(lambda: seen.append(threading.current_thread()))
        post(loop.stop)

    threading.Thread(target=from_elsewhere, args=(loop.post,)).start()
    loop.run()
    assert seen == [consumer]


def test_a_stopped_loop_runs_again_for_what_is_left() -> None:
    loop, seen = Loop(), list[int]()
    loop.stop()
    loop.run()
    loop.post(lambda: seen.append(1))
    loop.run_for(0.01)
    assert seen == [1]
