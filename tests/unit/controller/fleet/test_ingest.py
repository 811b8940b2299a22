"""What devices say, as bytes on topics, into a real database."""

from collections.abc import Sequence

import pytest

from controller.fleet.ahead import end_all
from controller.fleet.ingest import Effects, Ingest
from controller.fleet.samples import SampleFolder
from controller.fleet.views import device_views
from controller.keys import create_key, load_key
from controller.mqtt import Received
from controller.store import audit, deployments, desired, rollouts, tables
from controller.store.database import Store
from controller.workspace import Workspace
from wire.artifact import ArtifactRef, Want
from wire.base import Message, encode
from wire.canonical import sha256_hex
from wire.device_state import State
from wire.envelope import seal
from wire.presence import Event, Presence, Sync
from wire.raw import RawPart
from wire.topics import Topics
from wire.update import Desired, Reported

TOPICS = Topics("farm")
NOW_S = 5000.0


@pytest.fixture
def ingest(store: Store, workspace: Workspace) -> Ingest:
    return Ingest(store, load_key(workspace.keys), SampleFolder(workspace.samples), lambda: NOW_S)


def got(topic: str, message: Message | bytes, retained: bool = False) -> Received:
    return Received(topic, message if isinstance(message, bytes) else encode(message), retained)


def report(**fields: object) -> Reported:
    base: dict[str, object] = {
        "fleet": "farm",
        "device": "pi-1",
        "workload": "main",
        "gen": 0,
        "state": State.IDLE,
        "boot_id": "b",
        "seq": 1,
        "at_s": 1.0,
    }
    return Reported.model_validate(base | fields)


def document(gen: int, *, issued_s: float = 1000.0, epoch: int = 3, device: str = "pi-1") -> Desired:
    ref = ArtifactRef(digest="a" * 64, index=("c" * 64,), index_bytes=1, size_bytes=1, wire_bytes=1)
    return Desired(
        fleet="farm",
        device=device,
        workload="main",
        gen=gen,
        epoch=epoch,
        action="run",
        bundle=ref,
        engine="onnxruntime",
        issued_s=issued_s,
        expires_s=issued_s + 100,
    )


def sealed(workspace: Workspace, text: Desired) -> bytes:
    key = load_key(workspace.keys)
    return encode(seal("desired", text, key.key_id, key.sign))


def begun(store: Store, created_s: float) -> None:
    """A rollout and a deployment that this database thinks are going on."""
    with store.begin() as session:
        row = tables.Deployment(id="d-1", fleet="farm", workload="main", model="m", model_version="1", settings={})
        deployments.create(session, row, now_s=created_s)
        session.add(
            tables.Rollout(
                id="r-1",
                fleet="farm",
                workload="main",
                policy={},
                state="offer",
                memory={},
                created_s=created_s,
                updated_s=created_s,
            )
        )


def states(store: Store) -> tuple[str, str]:
    with store.read() as session:
        return rollouts.get(session, "r-1").state, deployments.get(session, "d-1").stage


def test_presence_and_a_report_make_a_device(ingest: Ingest, store: Store) -> None:
    presence = Presence(fleet="farm", device="pi-1", online=True, boot_id="b", agent_version="0.1")
    effects = ingest.batch(
        [got(TOPICS.presence("pi-1"), presence), got(TOPICS.reported("pi-1", "main"), report(active="f" * 64))]
    )
    assert effects.changed
    assert effects.heard == {("farm", "pi-1")}
    with store.read() as session:
        (view,) = device_views(session, "farm")
    assert (view.online, view.agent_version, view.workload("main").active) == (True, "0.1", "f" * 64)
    assert view.workload("soil").state is State.IDLE


@pytest.mark.parametrize(
    ("topic", "message"),
    [
        (TOPICS.reported("pi-1", "main"), report(device="pi-2")),
        (TOPICS.reported("pi-1", "main"), report(fleet="other")),
        (TOPICS.reported("pi-1", "soil"), report()),
        (TOPICS.reported("pi-1", "main"), report(gen=2**60)),
        (TOPICS.reported("pi-1", "main"), b"\xff\xfe"),
        (TOPICS.reported("pi-1", "main"), b"[" * 100_000),
        (TOPICS.presence("pi-1"), b"{}"),
        (TOPICS.event("pi-1"), Event(fleet="farm", device="pi-2", kind="agent", boot_id="b", seq=1, at_s=1.0)),
        (TOPICS.metrics("pi-1"), b"x" * (1024 * 1024 + 1)),
        (TOPICS.want("a" * 64), Want(device="pi-1", artifact="b" * 64)),
        (TOPICS.sync("pi-1"), Sync(fleet="farm", device="pi-2", boot_id="b")),
        ("thresher/1/farm/d/pi-1/surprise", b"{}"),
        (TOPICS.ack("pi-1"), b"{}"),
    ],
)
def test_what_does_not_follow_the_protocol_is_counted_and_changes_nothing(
    ingest: Ingest, store: Store, topic: str, message: Message | bytes
) -> None:
    effects = ingest.batch([got(topic, message)])
    assert effects == Effects()
    assert sum(number for kind, number in ingest.counts.items() if kind.endswith(".malformed")) == 1
    with store.read() as session:
        assert device_views(session, "farm") == []


def test_bad_messages_do_not_spoil_the_batch(ingest: Ingest, store: Store) -> None:
    good = got(TOPICS.reported("pi-1", "main"), report())
    ingest.batch([got(TOPICS.presence("pi-2"), b"nonsense"), good, got("elsewhere", b"")])
    with store.read() as session:
        assert [view.device for view in device_views(session, "farm")] == ["pi-1"]


def test_a_message_that_breaks_the_store_costs_only_itself(
    ingest: Ingest, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: object, **__: object) -> bool:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr("controller.store.telemetry.add_event", breaks)
    event = Event(fleet="farm", device="pi-1", kind="agent", boot_id="b", seq=1, at_s=1.0)
    ingest.batch([got(TOPICS.event("pi-1"), event), got(TOPICS.reported("pi-2", "main"), report(device="pi-2"))])
    with store.read() as session:
        assert [view.device for view in device_views(session, "farm")] == ["pi-2"]
    assert ingest.counts["failed"] == 1


def test_our_own_newer_retained_document_is_adopted_and_ends_what_it_overtook(
    ingest: Ingest, store: Store, workspace: Workspace
) -> None:
    begun(store, created_s=500.0)
    payload = sealed(workspace, document(7))
    effects = ingest.batch([got(TOPICS.desired("pi-1", "main"), payload, retained=True)])
    assert effects.retained == {("farm", "pi-1", "main"): sha256_hex(payload)}
    assert effects.epoch_seen == 3
    with store.read() as session:
        row = desired.get(session, "farm", "pi-1", "main")
        assert row is not None
        assert (row.gen, row.adopted, row.envelope) == (7, True, payload.decode())
        assert audit.verify(session).holds
    assert states(store) == ("superseded", "failed")


def test_what_was_begun_after_the_newer_document_goes_on(ingest: Ingest, store: Store, workspace: Workspace) -> None:
    begun(store, created_s=2000.0)
    ingest.batch([got(TOPICS.desired("pi-1", "main"), sealed(workspace, document(7)), retained=True)])
    assert states(store) == ("offer", "requested")


def test_after_a_restore_nothing_of_the_past_goes_on(store: Store) -> None:
    begun(store, created_s=500.0)
    with store.begin() as session:
        assert end_all(session, "a backup was restored", now_s=NOW_S) == 2
        assert end_all(session, "a backup was restored", now_s=NOW_S) == 0
        assert audit.verify(session).holds
    assert states(store) == ("superseded", "failed")


@pytest.mark.parametrize(("created_s", "ended"), [(500.0, True), (1500.0, False)])
def test_a_report_ahead_of_us_ends_what_an_earlier_leader_began(
    ingest: Ingest, store: Store, created_s: float, ended: bool
) -> None:
    ingest.former_life_s = 1000.0
    begun(store, created_s)
    ingest.batch([got(TOPICS.reported("pi-1", "main"), report(gen=9, epoch=4, desired="b" * 64, active="b" * 64))])
    assert states(store) == (("superseded", "failed") if ended else ("offer", "requested"))
    with store.read() as session:
        assert desired.next_gen(session, "farm", "pi-1", "main") == 10


def test_a_retained_document_of_another_key_or_device_is_not_believed(
    ingest: Ingest, store: Store, workspace: Workspace
) -> None:
    stranger = create_key(workspace.root / "stranger")
    forged = encode(seal("desired", document(7), stranger.key_id, stranger.sign))
    misplaced = sealed(workspace, document(7, device="pi-2"))
    for payload in (forged, misplaced):
        ingest.batch([got(TOPICS.desired("pi-1", "main"), payload, retained=True)])
    assert ingest.counts["desired.malformed"] == 2
    with store.read() as session:
        assert desired.get(session, "farm", "pi-1", "main") is None


def test_our_own_publication_passed_on_is_no_news(ingest: Ingest, workspace: Workspace) -> None:
    effects = ingest.batch([got(TOPICS.desired("pi-1", "main"), sealed(workspace, document(7)))])
    assert effects == Effects()


def test_a_plea_for_documents_marks_them_for_publication(ingest: Ingest, store: Store) -> None:
    with store.begin() as session:
        desired.write(session, document(1), "envelope", now_s=1.0)
        desired.mark_published(session, desired.unpublished(session, ["farm"])[0], now_s=2.0)
    effects = ingest.batch([got(TOPICS.sync("pi-1"), Sync(fleet="farm", device="pi-1", boot_id="b"))])
    assert effects.changed
    with store.read() as session:
        assert len(desired.unpublished(session, ["farm"])) == 1


def test_a_generation_that_we_reached_ourselves_is_believed(ingest: Ingest, store: Store) -> None:
    far = desired.LARGEST_GENERATION
    ingest.batch([got(TOPICS.reported("pi-1", "main"), report(gen=far))])
    with store.begin() as session:
        assert desired.next_gen(session, "farm", "pi-1", "main") == far + 1
        desired.write(session, document(far + 1), "envelope", now_s=1.0)
    ingest.batch([got(TOPICS.reported("pi-1", "main"), report(gen=far + 1, seq=2))])
    assert ingest.counts["reported.malformed"] == 0
    with store.read() as session:
        (view,) = device_views(session, "farm")
    assert view.workload("main").reported == report(gen=far + 1, seq=2)


def test_a_want_is_passed_on(ingest: Ingest) -> None:
    want = Want(device="pi-1", artifact="a" * 64, missing="AQ==")
    assert ingest.batch([got(TOPICS.want("a" * 64), want)]).wants == [("farm", want)]


def test_effects_of_a_batch_are_put_together() -> None:
    parts: Sequence[Effects] = (
        Effects(acknowledge={("farm", "pi-1"): ["t-1"]}, epoch_seen=4),
        Effects(acknowledge={("farm", "pi-1"): ["t-1", "t-2"]}, changed=True, epoch_seen=2),
    )
    whole = Effects()
    for part in parts:
        whole.add(part)
    assert whole.acknowledge == {("farm", "pi-1"): ["t-1", "t-2"]}
    assert (whole.changed, whole.epoch_seen) == (True, 4)


def test_a_part_of_single_queries_speaks_of_the_request_of_its_topic(ingest: Ingest, store: Store) -> None:
    said = {"fleet": "farm", "device": "pi-1", "workload": "main", "request": "raw-1", "part": 0, "records": 0}
    part = RawPart.model_validate({**said, "last": True, "reason": "over"})
    with store.begin() as session:
        names = {"fleet": "farm", "device": "pi-1", "workload": "main"}
        session.add(tables.RawRequest(id="raw-1", seconds=1.0, most_records=1, asked_s=NOW_S, **names))
    assert not ingest.batch([got(TOPICS.raw_part("pi-1", "raw-2"), part)]).changed
    assert not ingest.batch([got(TOPICS.raw_part("pi-2", "raw-1"), part)]).changed
    assert ingest.counts["raw_part.malformed"] == 2
    assert ingest.batch([got(TOPICS.raw_part("pi-1", "raw-1"), part)]).changed
    with store.read() as session:
        assert session.get_one(tables.RawRequest, "raw-1").reason == "over"
