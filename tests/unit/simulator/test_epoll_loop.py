"""The loop: sockets, timers and calls each have their turn."""

import socket
from collections.abc import Iterator

import pytest

from simulator.network.link import READ, WRITE
from simulator.network.loop import EpollLoop


@pytest.fixture
def loop() -> Iterator[EpollLoop]:
    made = EpollLoop()
    yield made
    made.close()


def test_a_socket_is_read_when_something_came(loop: EpollLoop) -> None:
    near, far = socket.socketpair()
    heard: list[bytes] = []

    def ready(events: int) -> None:
        assert events == READ
        heard.append(near.recv(10))
        loop.unwatch(near)
        loop.stop()

    loop.watch(near, READ, ready)
    loop.after(0.02, lambda: far.sendall(b"hello"))
    loop.run()
    assert heard == [b"hello"]
    loop.unwatch(near)  # a second time does no harm
    near.close()
    far.close()


def test_what_is_watched_can_change(loop: EpollLoop) -> None:
    near, far = socket.socketpair()
    seen: list[int] = []

    def ready(events: int) -> None:
        seen.append(events)
        loop.watch(near, READ, ready)
        loop.stop()

    loop.watch(near, READ, ready)
    loop.watch(near, READ | WRITE, ready)
    loop.run()
    assert seen == [WRITE]
    near.close()
    far.close()


def test_calls_that_post_themselves_starve_neither_timers_nor_sockets(loop: EpollLoop) -> None:
    near, far = socket.socketpair()
    done: list[str] = []

    def again() -> None:
        loop.post(again)

    def ready(_: int) -> None:
        done.append("socket")
        loop.unwatch(near)

    loop.watch(near, READ, ready)
    loop.post(again)
    loop.after(0.0, lambda: done.append("timer"))
    far.send(b"x")
    loop.run_for(0.1)
    assert sorted(done) == ["socket", "timer"]
    near.close()
    far.close()


def test_timers_that_are_always_due_starve_no_call(loop: EpollLoop) -> None:
    def due() -> None:
        loop.after(0.0, due)

    done: list[str] = []
    due()
    loop.post(lambda: done.append("call"))
    loop.run_for(0.05)
    assert done == ["call"]


def test_a_canceled_timer_is_not_fired(loop: EpollLoop) -> None:
    done: list[int] = []
    loop.after(0.0, lambda: done.append(1)).cancel()
    loop.run_for(0.02)
    assert done == []
