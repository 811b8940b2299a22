import pytest

from controller.store import desired, devices, tables
from controller.store.database import Store
from wire.device_state import State
from wire.presence import Presence
from wire.update import Reported


def report(seq: int, boot_id: str = "b1", **fields: object) -> Reported:
    base: dict[str, object] = {
        "fleet": "farm",
        "device": "pi-1",
        "workload": "main",
        "gen": 1,
        "state": State.DOWNLOAD,
        "at_s": 1.0,
    }
    return Reported.model_validate(base | fields | {"boot_id": boot_id, "seq": seq})


def presence(online: bool, boot_id: str) -> Presence:
    return Presence(fleet="farm", device="pi-1", online=online, boot_id=boot_id, agent_version="1")


def stored(store: Store) -> tables.Reported:
    with store.read() as session:
        return session.get_one(tables.Reported, ("farm", "pi-1", "main"))


@pytest.mark.parametrize(
    ("reports", "news", "last"),
    [
        ([report(1), report(2)], [True, True], ("b1", 2)),
        ([report(2), report(2)], [True, False], ("b1", 2)),
        ([report(2), report(1)], [True, False], ("b1", 2)),
        ([report(7), report(1, "b2")], [True, True], ("b2", 1)),  # a restart counts anew
        ([report(7), report(1, "b2"), report(8)], [True, True, False], ("b2", 1)),  # late, of the boot before
        ([report(7), report(1, "b2"), report(1, "b3"), report(9)], [True, True, True, False], ("b3", 1)),
    ],
)
def test_a_report_counts_once_and_never_late(
    store: Store, reports: list[Reported], news: list[bool], last: tuple[str, int]
) -> None:
    with store.begin() as session:
        assert [devices.record_report(session, each, now_s=5.0) for each in reports] == news
    assert (stored(store).boot_id, stored(store).seq) == last


def test_a_terminal_state_stays_but_the_running_digest_is_taken(store: Store) -> None:
    with store.begin() as session:
        devices.record_report(session, report(1, state=State.ROLLED_BACK, active="a" * 64), now_s=5.0)
        devices.record_report(session, report(2, state=State.COMMITTED, active="b" * 64), now_s=6.0)
    assert (stored(store).state, stored(store).active) == ("rolled_back", "b" * 64)
    with store.begin() as session:
        devices.record_report(session, report(3, gen=2, state=State.CHECK), now_s=7.0)
    assert stored(store).state == "check"


def test_the_will_of_an_earlier_boot_does_not_make_a_device_absent(store: Store) -> None:
    with store.begin() as session:
        assert devices.set_presence(session, presence(True, "b2"), now_s=1.0)
        assert not devices.set_presence(session, presence(False, "b1"), now_s=2.0)
        assert devices.online(session) == {("farm", "pi-1")}
        assert devices.set_presence(session, presence(False, "b2"), now_s=3.0)
        assert devices.online(session) == set()


def test_what_the_broker_kept_is_no_sign_of_life(store: Store) -> None:
    with store.begin() as session:
        devices.set_presence(session, presence(False, "b1"), now_s=1.0)
        devices.set_presence(session, presence(False, "b1"), now_s=900.0, live=False)
        devices.record_report(session, report(1), now_s=900.0, live=False)
        row = devices.get(session, "farm", "pi-1")
        assert row is not None
        assert row.last_seen_s == 1.0


def test_a_device_that_never_came_back_is_absent(store: Store) -> None:
    with store.begin() as session:
        devices.set_presence(session, presence(True, "b1"), now_s=1.0)
        assert devices.mark_absent(session, ["farm"], before_s=1.0) == 0
        assert devices.mark_absent(session, ["barn"], before_s=2.0) == 0, "nobody listens to that fleet here"
        assert devices.mark_absent(session, ["farm"], before_s=2.0) == 1
        assert devices.online(session) == set()


@pytest.mark.parametrize(("written", "said", "following"), [(0, 0, 1), (4, 0, 5), (4, 9, 10), (9, 4, 10)])
def test_the_next_generation_is_above_everything_known(store: Store, written: int, said: int, following: int) -> None:
    with store.begin() as session:
        if said:
            devices.record_report(session, report(1, gen=said), now_s=1.0)
        if written:
            session.add(
                tables.Desired(
                    fleet="farm",
                    device="pi-1",
                    workload="main",
                    gen=written,
                    epoch=1,
                    document={},
                    envelope="e",
                    written_s=1.0,
                )
            )
            session.flush()
        assert desired.next_gen(session, "farm", "pi-1", "main") == following
