"""Who waits, who is dropped: against a naive list."""

from hypothesis import given
from hypothesis import strategies as st

from agent.gateway.waiting import Waiting


def test_the_newest_of_a_source_takes_the_place_of_the_older_one() -> None:
    line: Waiting[str] = Waiting(size=3, drops_older=True)
    assert line.offer("a", replaceable=True).taken
    entry = line.offer("b", replaceable=True)
    assert (entry.taken, entry.dropped) == (True, "a")
    assert [line.next(), line.next()] == ["b", None]


def test_an_application_is_never_dropped_for_a_newer_query() -> None:
    line: Waiting[str] = Waiting(size=3, drops_older=True)
    for name in ("app-1", "app-2"):
        assert line.offer(name, replaceable=False).taken
    assert line.offer("sensor-1", replaceable=True).dropped is None
    assert line.offer("sensor-2", replaceable=True).dropped == "sensor-1"
    assert not line.offer("app-3", replaceable=False).taken
    assert line.clear() == ["app-1", "app-2", "sensor-2"]


def test_what_is_put_back_is_next() -> None:
    line: Waiting[str] = Waiting(size=2, drops_older=False)
    line.offer("a", replaceable=True)
    line.offer("b", replaceable=True)
    first = line.next()
    assert first == "a"
    line.put_back(first)
    assert (line.next(), line.next()) == ("a", "b")


def test_only_what_waits_can_be_removed() -> None:
    line: Waiting[str] = Waiting(size=2, drops_older=False)
    line.offer("a", replaceable=False)
    assert line.remove("a")
    assert not line.remove("a")
    assert len(line) == 0


def test_room_is_what_may_come_in_and_the_newest_always_may() -> None:
    line: Waiting[str] = Waiting(size=2, drops_older=False)
    newest: Waiting[str] = Waiting(size=1, drops_older=True)
    for room in (2, 1, 0, 0):
        assert (line.room, newest.room) == (room, 1)
        line.offer("a", replaceable=True)
        newest.offer("a", replaceable=True)


@given(st.lists(st.sampled_from(["offer", "next"]), max_size=200), st.integers(1, 5))
def test_a_queue_keeps_order_and_bound(steps: list[str], size: int) -> None:
    line: Waiting[int] = Waiting(size, drops_older=False)
    reference: list[int] = []
    for number, step in enumerate(steps):
        if step == "offer":
            taken = line.offer(number, replaceable=True).taken
            assert taken == (len(reference) < size)
            reference += [number] if taken else []
        else:
            assert line.next() == (reference.pop(0) if reference else None)
        assert len(line) == len(reference)
