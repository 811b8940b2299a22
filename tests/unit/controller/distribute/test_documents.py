"""Documents on their way out, against a client that says what it was given."""

from collections.abc import Callable

import pytest

from controller.distribute.documents import REISSUE_BEFORE_S, UNHEARD_S, VALID_S, Documents
from controller.distribute.reconcile import QUIET_S, RetainedState
from controller.keys import SigningKey, load_key
from controller.mqtt import Publication
from controller.store import deployments, desired, devices, tables, trials
from controller.store.database import Store
from controller.workspace import Workspace
from wire.artifact import ArtifactRef
from wire.base import decode
from wire.canonical import sha256_hex
from wire.device_state import State
from wire.envelope import Envelope, open_envelope
from wire.presence import Presence
from wire.trial import Plan, PlanPolicy, TrialRequest
from wire.update import Desired, Reported

REF = ArtifactRef(digest="a" * 64, index=("c" * 64,), index_bytes=1, size_bytes=1, wire_bytes=1)


class Client:
    """A broker's client that takes or refuses everything."""

    def __init__(self) -> None:
        self.connected = True
        self.takes = True
        self.sent: list[tuple[str, bytes, bool]] = []

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> Publication:
        self.sent.append((topic, payload, retain))
        publication = Publication()
        publication.finish("" if self.takes else "Quota exceeded")
        return publication


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def client() -> Client:
    return Client()


@pytest.fixture
def key(workspace: Workspace) -> SigningKey:
    return load_key(workspace.keys)


@pytest.fixture
def documents(store: Store, key: SigningKey, client: Client, clock: Clock) -> Documents:
    return Documents(store, key, client, clock)


@pytest.fixture
def write(store: Store, documents: Documents, clock: Clock) -> Callable[[int], None]:
    def write_one(gen: int) -> None:
        document = Desired(
            fleet="farm",
            device="pi-1",
            workload="main",
            gen=gen,
            epoch=1,
            action="run",
            bundle=REF,
            engine="onnxruntime",
            issued_s=clock(),
            expires_s=clock() + VALID_S,
        )
        with store.begin() as session:
            documents.write_desired(session, document)

    return write_one


def test_what_is_written_goes_out_signed_retained_and_once(
    documents: Documents, client: Client, key: SigningKey, write: Callable[[int], None]
) -> None:
    write(1)
    assert documents.publish_due(["farm"]) == 1
    assert documents.publish_due(["farm"]) == 0
    ((topic, payload, retain),) = client.sent
    assert (topic, retain) == ("thresher/1/farm/d/pi-1/w/main/desired", True)
    document = open_envelope("desired", decode(Envelope, payload), Desired, key.verify)
    assert (document.gen, document.bundle) == (1, REF)


def test_another_fleet_may_have_another_broker(
    documents: Documents, client: Client, write: Callable[[int], None]
) -> None:
    write(1)
    assert documents.publish_due(["barn"]) == 0
    assert client.sent == []
    assert documents.publish_due(["farm", "barn"]) == 1


@pytest.mark.parametrize("trouble", ["away", "refuses"])
def test_what_no_broker_took_goes_out_later(
    documents: Documents, client: Client, write: Callable[[int], None], trouble: str
) -> None:
    write(1)
    client.connected, client.takes = trouble != "away", trouble != "refuses"
    assert documents.publish_due(["farm"]) == 0
    client.connected = client.takes = True
    assert documents.publish_due(["farm"]) == 1


def test_a_document_about_to_expire_is_issued_anew_with_its_generation(
    documents: Documents, client: Client, key: SigningKey, store: Store, clock: Clock, write: Callable[[int], None]
) -> None:
    write(3)
    documents.publish_due(["farm"])
    clock.now_s += VALID_S - REISSUE_BEFORE_S - 1
    with store.begin() as session:
        assert documents.reissue_expiring(session, epoch=5) == 0
    clock.now_s += 2
    with store.begin() as session:
        assert documents.reissue_expiring(session, epoch=5) == 1
    documents.publish_due(["farm"])
    fresh = open_envelope("desired", decode(Envelope, client.sent[-1][1]), Desired, key.verify)
    assert (fresh.gen, fresh.epoch, fresh.expires_s) == (3, 5, clock() + VALID_S)
    with store.begin() as session:
        assert documents.reissue_expiring(session, epoch=5) == 0


def report(gen: int, seq: int = 1) -> Reported:
    return Reported(
        fleet="farm", device="pi-1", workload="main", gen=gen, state=State.CHECK, boot_id="b", seq=seq, at_s=1.0
    )


@pytest.mark.parametrize(
    ("online", "reported_gen", "later_s", "repeated"),
    [
        (True, 0, UNHEARD_S + 1, 1),
        (True, 1, UNHEARD_S + 1, 0),  # answered
        (False, 0, UNHEARD_S + 1, 0),  # not there: it asks when it comes
        (True, 0, UNHEARD_S - 1, 0),  # too early
    ],
)
def test_a_document_that_a_present_device_does_not_answer_goes_out_again(
    documents: Documents,
    store: Store,
    clock: Clock,
    write: Callable[[int], None],
    online: bool,
    reported_gen: int,
    later_s: float,
    repeated: int,
) -> None:
    write(1)
    documents.publish_due(["farm"])
    clock.now_s += later_s
    presence = Presence(fleet="farm", device="pi-1", online=online, boot_id="b", agent_version="1")
    with store.begin() as session:
        devices.set_presence(session, presence, now_s=clock())
        devices.record_report(session, report(reported_gen), now_s=clock())
        assert documents.repeat_unheard(session, since_s=0.0) == repeated
        assert documents.repeat_unheard(session, since_s=clock() + 1) == 0, "not heard since the connection"


def test_a_plan_lists_what_is_open_and_is_emptied_when_all_came_back(
    documents: Documents, client: Client, key: SigningKey, store: Store
) -> None:
    with store.begin() as session:
        row = tables.Deployment(id="d-1", fleet="farm", workload="main", model="m", model_version="1", settings={})
        deployments.create(session, row, now_s=1.0)
        for name in ("t-1", "t-2"):
            request = TrialRequest(trial=name, workload="main", bundle=REF, variant=name, format="onnx", engine="e")
            trials.ask(session, row, "pi-1", "c", request, now_s=1.0)
        documents.write_plan(session, "farm", "pi-1", PlanPolicy(serving="coexist"), 1)
    documents.publish_due(["farm"])
    with store.begin() as session:
        trials.receive(session, session.get_one(tables.Trial, "t-1"), b"r", "measured", now_s=1.0)
        assert documents.clear_done_plans(session, 1) == 0
        trials.receive(session, session.get_one(tables.Trial, "t-2"), b"r", "measured", now_s=1.0)
        assert documents.clear_done_plans(session, 1) == 1
        assert documents.clear_done_plans(session, 1) == 0
    documents.publish_due(["farm"])
    plans = [open_envelope("plan", decode(Envelope, sent[1]), Plan, key.verify) for sent in client.sent]
    assert [[trial.trial for trial in plan.trials] for plan in plans] == [["t-1", "t-2"], []]
    assert plans[1].plan_gen > plans[0].plan_gen
    assert plans[1].policy.serving == "coexist"


def retained(client: Client) -> dict[tuple[str, str, str], str]:
    return {("farm", "pi-1", "main"): sha256_hex(client.sent[-1][1])}


@pytest.mark.parametrize(
    ("heard", "holds", "marked"),
    [
        ([], False, 0),  # it may be ahead of us: an older document must not go out
        ([("farm", "pi-1")], False, 1),
        ([("farm", "pi-1")], True, 0),
    ],
)
def test_what_a_broker_lost_goes_out_again_once_its_device_was_heard(
    documents: Documents,
    client: Client,
    store: Store,
    clock: Clock,
    write: Callable[[int], None],
    heard: list[tuple[str, str]],
    holds: bool,
    marked: int,
) -> None:
    write(1)
    documents.publish_due(["farm"])
    clock.now_s += 10
    monotonic = Clock()
    state = RetainedState(clock, monotonic)
    state.connected()
    state.saw(retained(client) if holds else {}, heard)
    assert not state.due, "more may come"
    monotonic.now_s += QUIET_S
    assert state.due is bool(heard)
    with store.begin() as session:
        assert state.mark_missing(session, ["farm"]) == marked
        assert state.mark_missing(session, ["farm"]) == 0
    assert not state.due


def test_a_document_published_since_the_connection_is_not_missing(
    documents: Documents, store: Store, clock: Clock, write: Callable[[int], None]
) -> None:
    state = RetainedState(clock)
    state.connected()
    write(1)
    documents.publish_due(["farm"])
    state.saw({}, [("farm", "pi-1")])
    with store.begin() as session:
        assert state.mark_missing(session, ["farm"]) == 0
        assert desired.unpublished(session, ["farm"]) == []
