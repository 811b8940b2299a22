"""Which chunk topics are subscribed to, whenever in a connection's life a fetch begins. The client is a stand-in."""

from typing import Any

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from agent.mqtt import Connected, Disconnected, Inbound, Link
from agent.serve.settings import BrokerConfig
from wire.presence import Presence
from wire.topics import Topics

A = "a" * 64
TOPIC = Topics("farm").chunks(A)
GOOD = ReasonCode(PacketTypes.CONNACK, "Success")
LOST = ReasonCode(PacketTypes.DISCONNECT, "Keep alive timeout")


class StandInClient:
    def __init__(self) -> None:
        self.subscribed: set[str] = set()

    def subscribe(self, topics: Any, **_: Any) -> tuple[int, int]:
        self.subscribed |= {topics} if isinstance(topics, str) else {topic for topic, _ in topics}
        return 0, 7

    def unsubscribe(self, topic: str) -> None:
        self.subscribed.discard(topic)


class Line:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.heard: list[Inbound] = []
        self.client = StandInClient()
        will = Presence(fleet="farm", device="barn-1", online=False, boot_id="1-a", agent_version="1", at_s=1.0)
        self.link = Link(BrokerConfig(), None, will, self.heard.append)
        monkeypatch.setattr(self.link, "_client", self.client)
        monkeypatch.setattr(self.link, "_wait_a_little", lambda: None)

    def connect(self) -> None:
        self.link._connected(self.client, None, None, GOOD, None)  # type: ignore[arg-type]

    def subscribe(self) -> None:
        self.link._subscribed(None, None, 7, [], None)

    def lose(self) -> None:
        self.link._disconnected(None, None, None, LOST, None)
        self.client.subscribed.clear()


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Line:
    return Line(monkeypatch)


@pytest.mark.parametrize("moment", ["before", "between", "after"])
def test_chunks_are_subscribed_to_whenever_the_fetch_begins(line: Line, moment: str) -> None:
    """Between the connection and the word that its subscriptions stand, a fetch once listened to nothing, for ever."""
    for at, happens in (("before", line.connect), ("between", line.subscribe), ("after", lambda: None)):
        if at == moment:
            line.link.listen(A)
        happens()
    assert TOPIC in line.client.subscribed
    assert line.heard == [Connected()]


def test_a_new_connection_subscribes_again_to_what_is_still_listened_to(line: Line) -> None:
    line.connect()
    line.subscribe()
    line.link.listen(A)
    line.lose()
    assert [type(each) for each in line.heard] == [Connected, Disconnected]
    line.connect()
    assert TOPIC in line.client.subscribed
    line.lose()
    line.link.unlisten(A)
    line.connect()
    assert TOPIC not in line.client.subscribed
