"""A request for single queries: on record, signed, published once; parts are kept once; a refusal has its meaning."""

from collections.abc import Callable

import pytest

from controller.errors import Busy, ControllerError, NoDevice, NotFound
from controller.keys import SigningKey, load_key
from controller.mqtt import Publication
from controller.store import audit, devices, tables
from controller.store.database import Store
from controller.telemetry import raw_collect, raw_rows
from controller.telemetry.raw_publish import VALID_S, publish_requests
from controller.workspace import Workspace
from wire.base import decode, encode
from wire.device_state import State
from wire.envelope import Envelope, open_envelope, seal
from wire.errors import MalformedMessage
from wire.presence import Presence
from wire.raw import RawPart, RawRequest, pack_records
from wire.update import Reported

NOW_S = 1_795_500_000.0
RECORDS = [{"at_ms": 1, "label": "ash"}, {"at_ms": 2, "reason": "query_timeout"}]


class Client:
    """A broker's client that takes or refuses everything."""

    takes = True

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes, bool]] = []

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> Publication:
        self.sent.append((topic, payload, retain))
        publication = Publication()
        publication.finish("" if self.takes else "Quota exceeded")
        return publication


@pytest.fixture
def key(workspace: Workspace) -> SigningKey:
    return load_key(workspace.keys)


@pytest.fixture
def known(store: Store) -> Store:
    """A database that knows barn-1 with workload main."""
    presence = Presence(fleet="farm", device="barn-1", online=True, boot_id="b", agent_version="1", at_s=1.0)
    report = Reported(
        fleet="farm", device="barn-1", workload="main", gen=1, state=State.COMMITTED, boot_id="b", seq=1, at_s=1.0
    )
    with store.begin() as session:
        devices.set_presence(session, presence, now_s=NOW_S, live=True)
        devices.record_report(session, report, now_s=NOW_S)
    return store


def request(name: str = "raw-1", **changed: object) -> RawRequest:
    fields: dict[str, object] = {
        "fleet": "farm",
        "device": "barn-1",
        "workload": "main",
        "request": name,
        "seconds": 30.0,
        "most_records": 100,
        "issued_s": NOW_S,
        "expires_s": NOW_S + VALID_S,
    }
    return RawRequest.model_validate(fields | changed)


def part(number: int, *, last: bool = False, reason: str | None = None, **changed: object) -> RawPart:
    fields: dict[str, object] = {
        "fleet": "farm",
        "device": "barn-1",
        "workload": "main",
        "request": "raw-1",
        "part": number,
        "records": 0 if last else len(RECORDS),
        "data": "" if last else pack_records(RECORDS),
        "last": last,
        "reason": reason,
    }
    return RawPart.model_validate(fields | changed)


def ask(store: Store, **changed: object) -> None:
    with store.begin() as session:
        raw_rows.ask(session, request(**changed), "operator:eve")  # type: ignore[arg-type]


@pytest.fixture
def publish(known: Store, key: SigningKey) -> Callable[[Client, float], int]:
    def sealed(asked: RawRequest) -> str:
        return encode(seal("raw", asked, key.key_id, key.sign)).decode()

    return lambda client, now_s: publish_requests(known, client, sealed, ["farm"], now_s)


def test_who_asked_stands_in_the_audit(known: Store) -> None:
    ask(known)
    with known.read() as session:
        (row,) = audit.entries(session)
    assert (row.actor, row.action, row.subject) == ("operator:eve", "raw.asked", "farm/barn-1/main")
    assert row.detail == {"request": "raw-1", "seconds": 30.0, "most_records": 100}


@pytest.mark.parametrize(
    ("changed", "named"), [({"device": "barn-2"}, "barn-2"), ({"workload": "soil"}, "it has: main")]
)
def test_what_nobody_has_cannot_be_asked(known: Store, changed: dict[str, str], named: str) -> None:
    with pytest.raises(NotFound, match=named):
        ask(known, **changed)
    with known.read() as session:
        assert audit.entries(session) == []


def test_a_request_is_signed_and_published_once(known: Store, key: SigningKey, publish: Callable[..., int]) -> None:
    ask(known)
    client = Client()
    assert (publish(client, NOW_S + 1), publish(client, NOW_S + 2)) == (1, 0)
    ((topic, payload, retained),) = client.sent
    assert (topic, retained) == ("thresher/1/farm/d/barn-1/raw", False)
    assert open_envelope("raw", decode(Envelope, payload), RawRequest, key.verify) == request()


def test_a_request_that_the_broker_refused_is_published_again(known: Store, publish: Callable[..., int]) -> None:
    ask(known)
    client = Client()
    client.takes = False
    assert publish(client, NOW_S) == 0
    client.takes = True
    assert publish(client, NOW_S) == 1


def test_a_request_that_waited_too_long_is_not_published(known: Store, publish: Callable[..., int]) -> None:
    ask(known)
    client = Client()
    assert publish(client, NOW_S + VALID_S + 1) == 0
    assert client.sent == []
    with known.read() as session:
        assert raw_rows.get(session, "raw-1").reason == "expired"


def add(store: Store, told: RawPart) -> bool:
    with store.begin() as session:
        return raw_rows.add_part(session, told, now_s=NOW_S + 5)


def test_parts_are_kept_once_and_in_order(known: Store) -> None:
    ask(known)
    assert [add(known, told) for told in (part(1), part(0), part(0), part(2, last=True, reason="over"))] == [
        True,
        True,
        False,
        True,
    ]
    assert not add(known, part(3))  # it has ended
    collected = raw_collect.wait_for(known, request())
    assert (collected.records, collected.ended) == (RECORDS * 2, "over")


@pytest.mark.parametrize("changed", [{"request": "raw-2"}, {"workload": "soil"}, {"device": "barn-2"}])
def test_parts_that_nobody_asked_for_are_dropped(known: Store, changed: dict[str, str]) -> None:
    ask(known)
    assert not add(known, part(0).model_copy(update=changed))


def test_a_part_that_cannot_be_read_is_refused(known: Store) -> None:
    ask(known)
    with pytest.raises(MalformedMessage):
        add(known, part(0, data="AAAA"))


@pytest.mark.parametrize(
    ("reason", "kind"),
    [("busy", Busy), ("not_served", NotFound), ("expired", NoDevice), ("something_new", ControllerError)],
)
def test_a_refusal_of_the_device_is_the_commands_failure(
    known: Store, reason: str, kind: type[ControllerError]
) -> None:
    ask(known)
    add(known, part(0, last=True, reason=reason, detail="because"))
    with pytest.raises(kind, match=rf"barn-1 .*\({reason}\): because"):
        raw_collect.wait_for(known, request())


def test_a_device_that_says_nothing_is_not_waited_for_forever(known: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(known, seconds=0.001)
    monkeypatch.setattr(raw_collect, "PATIENCE_S", 0.0)
    with pytest.raises(NoDevice, match="does not answer"):
        raw_collect.wait_for(known, request(seconds=0.001), lambda _: None)


def test_what_came_before_the_silence_is_not_lost(known: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(known)
    add(known, part(0))
    monkeypatch.setattr(raw_collect, "PATIENCE_S", 0.0)
    collected = raw_collect.wait_for(known, request(seconds=0.001), lambda _: None)
    assert (collected.records, collected.ended, collected.detail) == (RECORDS, "over", "the last part is missing")


def test_records_are_kept_for_a_day(known: Store) -> None:
    ask(known)
    add(known, part(0))
    with known.begin() as session:
        assert raw_rows.prune(session, now_s=NOW_S + raw_rows.KEPT_S - 1) == 0
        assert raw_rows.prune(session, now_s=NOW_S + raw_rows.KEPT_S + 1) == 1
    with known.read() as session:
        assert session.query(tables.RawPart).count() == 0
        with pytest.raises(NotFound):
            raw_rows.get(session, "raw-1")
