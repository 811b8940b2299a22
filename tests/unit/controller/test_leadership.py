import os
import socket
import subprocess
import sys

import pytest

from controller.errors import Busy
from controller.leadership import STALE_S, Leadership, LeadershipLost, current_leader
from controller.owner import new_owner
from controller.store.database import Store

ELSEWHERE = "another-host:1:1:aaaa"


def test_a_second_leader_is_refused_while_the_first_lives(store: Store) -> None:
    first, second = Leadership(store, lambda: 100.0), Leadership(store, lambda: 101.0)
    assert first.take() == 1
    with pytest.raises(Busy, match=first.owner):
        second.take()
    assert current_leader(store, 101.0) == first.owner


def test_a_leader_that_stepped_down_is_followed_at_once_by_a_higher_epoch(store: Store) -> None:
    first, second = Leadership(store, lambda: 100.0), Leadership(store, lambda: 101.0)
    first.take()
    first.release()
    assert current_leader(store, 101.0) is None
    assert second.take() == 2
    assert second.former_life_s == 100.0


@pytest.mark.parametrize(("later_s", "taken"), [(STALE_S - 1, False), (STALE_S + 1, True)])
def test_a_leader_elsewhere_is_gone_when_its_heartbeat_is_old(store: Store, later_s: float, taken: bool) -> None:
    Leadership(store, lambda: 100.0, ELSEWHERE).take()
    second = Leadership(store, lambda: 100.0 + later_s)
    if taken:
        assert second.take() == 2
    else:
        with pytest.raises(Busy):
            second.take()


def test_a_leader_whose_process_ended_here_is_gone_at_once(store: Store) -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    Leadership(store, lambda: 100.0, f"{socket.gethostname()}:{child.pid}:123:aaaa").take()
    assert Leadership(store, lambda: 100.5).take() == 2


def test_a_process_id_that_was_given_out_again_is_not_the_leader(store: Store) -> None:
    Leadership(store, lambda: 100.0, f"{socket.gethostname()}:{os.getpid()}:123:aaaa").take()
    assert Leadership(store, lambda: 100.5).take() == 2


def test_a_leader_that_was_replaced_may_write_nothing_more(store: Store) -> None:
    first = Leadership(store, lambda: 100.0, ELSEWHERE)
    first.take()
    Leadership(store, lambda: 200.0).take()
    with pytest.raises(LeadershipLost, match="lost to"):
        first.beat()
    first.release()
    assert current_leader(store, 200.0) is not None, "the former leader cannot depose the new one"


@pytest.mark.parametrize(("seen", "epoch"), [(0, 1), (1, 2), (41, 42)])
def test_the_epoch_rises_above_what_the_fleet_has_seen(store: Store, seen: int, epoch: int) -> None:
    leader = Leadership(store, lambda: 100.0)
    leader.take()
    assert leader.rise_above(seen) == (epoch > 1)
    assert leader.epoch == epoch
    leader.beat()


def test_owners_differ() -> None:
    assert new_owner() != new_owner()
