"""Every topic is taken apart as it was put together, and no name smuggles in a level or a wildcard."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.errors import BadTopic
from wire.topics import SHARDS, Address, Topics, parse

NAMES = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,62}", fullmatch=True)
DIGESTS = st.from_regex(r"[0-9a-f]{64}", fullmatch=True)
OF_A_DEVICE = ("plan", "ack", "presence", "inventory", "event", "metrics", "sync", "claim", "claimed", "raw")


@given(fleet=NAMES, device=NAMES, workload=NAMES)
def test_topics_of_a_workload_come_back(fleet: str, device: str, workload: str) -> None:
    topics = Topics(fleet)
    assert parse(topics.desired(device, workload)) == Address(fleet, "desired", device, workload)
    assert parse(topics.reported(device, workload)) == Address(fleet, "reported", device, workload)


@pytest.mark.parametrize("kind", OF_A_DEVICE)
@given(fleet=NAMES, device=NAMES)
def test_topics_of_a_device_come_back(kind: str, fleet: str, device: str) -> None:
    assert parse(getattr(Topics(fleet), kind)(device)) == Address(fleet, kind, device)


@given(fleet=NAMES, device=NAMES, trial=NAMES, bundle=DIGESTS, chunk=DIGESTS)
def test_topics_with_an_item_come_back(fleet: str, device: str, trial: str, bundle: str, chunk: str) -> None:
    topics = Topics(fleet)
    assert parse(topics.trial(device, trial)) == Address(fleet, "trial", device, item=trial)
    assert parse(topics.sample(device, trial)) == Address(fleet, "sample", device, item=trial)
    assert parse(topics.raw_part(device, trial)) == Address(fleet, "raw_part", device, item=trial)
    assert parse(topics.chunk(bundle, chunk)) == Address(fleet, "chunk", item=chunk, bundle=bundle)
    assert parse(topics.want(bundle)) == Address(fleet, "want", item=bundle[0])


def test_a_bundle_always_has_the_same_one_of_sixteen_shards() -> None:
    topics = {Topics("f").want(digit + "0" * 63) for digit in "0123456789abcdef"}
    assert len(topics) == SHARDS


@pytest.mark.parametrize(
    "name", ["", "#", "a/b", "a+", "/a", "A", "ä", "a b", "-a", ".a", "..", "a\n", "a\0", "a" * 64, "$sys"]
)
def test_a_name_that_would_change_the_topic_is_refused(name: str) -> None:
    with pytest.raises(BadTopic, match="cannot stand in a topic"):
        Topics(name)
    for make in (Topics("f").plan, lambda device: Topics("f").desired(device, "main")):
        with pytest.raises(BadTopic):
            make(name)
    with pytest.raises(BadTopic):
        Topics("f").desired("d", name)
    with pytest.raises(BadTopic):
        Topics("f").trial("d", name)


def test_a_fleet_is_never_a_wildcard() -> None:
    with pytest.raises(BadTopic):
        Topics("+")


def test_a_plus_stands_for_all_devices_in_a_subscription_and_is_no_address() -> None:
    every = Topics("f").reported("+", "+")
    assert every == "thresher/1/f/d/+/w/+/reported"
    with pytest.raises(BadTopic):
        parse(every)


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "thresher/2/f/d/d/plan",
        "thresher/1/f/d/d/plan/",
        "/thresher/1/f/d/d/plan",
        "thresher/1/f/d/d/plan\n",
        "thresher/1/f/d/d",
        "thresher/1/f/d//plan",
        "thresher/1/f/want/g",
        "thresher/1/f/want/00",
        "thresher/1/f/b/" + "a" * 63 + "/c/" + "b" * 64,
        "thresher/1/f/b/" + "A" * 64 + "/c/" + "b" * 64,
        "x" * 70_000,
    ],
)
def test_what_is_no_topic_of_the_protocol_is_refused(topic: str) -> None:
    with pytest.raises(BadTopic, match="not a topic of protocol 1"):
        parse(topic)
