"""The order of a leader's turn, and what it looks after."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from controller.lead import LeadLoop
from controller.leadership import Leadership, LeadershipLost
from controller.store.database import Store


class Noted:
    """Stands for the documents, the engine and the retained state, and notes the order of the calls."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.connected = self.settled = True
        self.due = False
        self.connected_at_s = 0.0
        self.decides = False

    def publish_due(self, fleets: tuple[str, ...]) -> int:
        self.calls.append(f"publish {','.join(fleets)}")
        return 0

    def tick(self, fleets: tuple[str, ...]) -> bool:
        self.calls.append(f"decide {','.join(fleets)}")
        return self.decides

    def mark_missing(self, _session: object, _fleets: object) -> int:
        self.calls.append("compare")
        self.due = False
        return 1

    def __getattr__(self, name: str) -> Any:
        return lambda *_args, **_kwargs: self.calls.append(name)


@contextmanager
def loop(store: Store, noted: Any, leadership: Leadership | None = None) -> Iterator[LeadLoop]:
    if leadership is None:
        leadership = Leadership(store, lambda: 1000.0)
        leadership.take()
    lost: list[LeadershipLost] = []
    yield LeadLoop(
        store,
        leadership,
        noted,
        noted,
        noted,
        fleets=lambda: ("farm",),
        changed=lambda: None,
        lost=lost.append,
        clock=lambda: 1000.0,
    )


def test_what_was_written_goes_out_before_and_after_deciding(store: Store) -> None:
    noted = Noted()
    with loop(store, noted) as lead:
        assert not lead.turn()
    assert noted.calls[-3:] == ["publish farm", "decide farm", "publish farm"]


@pytest.mark.parametrize(("connected", "settled"), [(False, True), (True, False)])
def test_nothing_is_decided_while_nothing_is_known_of_the_devices(store: Store, connected: bool, settled: bool) -> None:
    noted = Noted()
    noted.connected, noted.settled = connected, settled
    with loop(store, noted) as lead:
        lead.turn()
    assert "decide farm" not in noted.calls


def test_after_a_reconnection_documents_are_compared_once(store: Store) -> None:
    noted = Noted()
    noted.due = True
    with loop(store, noted) as lead:
        lead.turn()
        lead.turn()
    assert noted.calls.count("compare") == 1
    assert noted.calls.index("compare") < noted.calls.index("publish farm")


def test_documents_are_looked_after_but_not_at_every_turn(store: Store) -> None:
    noted = Noted()
    with loop(store, noted) as lead:
        lead.turn()
        lead.turn()
    assert noted.calls.count("reissue_expiring") == 1
    assert noted.calls.count("clear_done_plans") == 1


def test_a_leader_that_was_replaced_neither_publishes_nor_decides(store: Store) -> None:
    noted, former = Noted(), Leadership(store, lambda: 1000.0, "elsewhere:1:1:a")
    former.take()
    Leadership(store, lambda: 2000.0).take()
    with loop(store, noted, former) as lead, pytest.raises(LeadershipLost):
        lead.turn()
    assert noted.calls == []
