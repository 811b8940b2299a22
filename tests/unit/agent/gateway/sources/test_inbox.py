"""Which messages wait, and who hears them."""

import pytest

from agent.gateway.sources.inbox import Inbox, Message, Subscriptions, matches


class Listener:
    def __call__(self, topic: str, payload: bytes) -> None: ...


def test_the_inbox_is_bounded_in_messages_and_bytes() -> None:
    inbox = Inbox(most=3, most_bytes=10)
    a, b, c, huge = (Message(name, b"1" * n_bytes) for name, n_bytes in (("a", 4), ("b", 4), ("c", 4), ("huge", 100)))
    assert [inbox.put(a), inbox.put(b), inbox.put(c)] == [True, False, False]
    assert inbox.take() == ([b, c], 1, False)
    assert inbox.put(huge), "what is too large for all of it still passes alone"
    assert inbox.take(1) == ([huge], 0, False)
    few = [Message(str(number), b"") for number in range(5)]
    for each in few:
        inbox.put(each)
    assert inbox.take(2) == (few[2:4], 2, True)


def test_a_broker_that_numbers_no_copies_sends_one_for_all_filters() -> None:
    first, second, third = Listener(), Listener(), Listener()
    subscriptions = Subscriptions()
    assert subscriptions.add("a/#", 0, first)
    assert subscriptions.add("a/+", 1, second)
    assert not subscriptions.add("a/+", 0, third)
    assert subscriptions.listeners(Message("a/b", b"")) == [first, second, third]
    assert subscriptions.listeners(Message("a/b", b"", (2,))) == [second, third]
    assert subscriptions.listeners(Message("b", b"")) == []
    assert not subscriptions.remove("a/+", second)
    assert subscriptions.remove("a/+", third)
    assert subscriptions.wanted() == [("a/#", 0, 1)]


def test_a_higher_quality_is_asked_for_again() -> None:
    subscriptions = Subscriptions()
    assert subscriptions.add("a", 0, Listener())
    assert subscriptions.add("a", 1, Listener())
    assert subscriptions.wanted("a") == [("a", 1, 1)]


@pytest.mark.parametrize(
    ("topic_filter", "topic", "taken"),
    [
        ("a/b", "a/b", True),
        ("a/b", "a/b/c", False),
        ("a/+", "a/b", True),
        ("a/+", "a/b/c", False),
        ("a/+", "a/", True),
        ("+/b", "a/b", True),
        ("a/#", "a", True),
        ("a/#", "a/b/c", True),
        ("a/#", "ab", False),
        ("#", "a/b", True),
        ("+", "/a", False),
        ("/+", "/a", True),
        ("#", "$SYS/load", False),
        ("+/load", "$SYS/load", False),
    ],
)
def test_filters(topic_filter: str, topic: str, taken: bool) -> None:
    assert matches(topic_filter, topic) == taken
