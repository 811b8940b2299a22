"""Claims against a real database: which are accepted, what is written of them, what a replay is worth."""

import base64

import pytest

from controller import enrolment
from controller.enrolment import Invitation
from controller.errors import ConfigurationError, NotFound
from controller.fleet.ingest import Ingest
from controller.fleet.samples import SampleFolder
from controller.keys import load_key
from controller.mqtt import Received
from controller.store import audit, devices
from controller.store.database import Store
from controller.workspace import Workspace
from wire.base import encode
from wire.claim import Claim, Claimed, ClaimToken, TokenBroker, claim_mac
from wire.topics import Topics

KEYS = {"k1": base64.b64encode(b"k" * 32).decode()}
ONE, TWO = (base64.b64encode(letter * 32).decode() for letter in (b"1", b"2"))
NOW_S = 1000.0


def token(store: Store, **changes: object) -> ClaimToken:
    asked = {"fleet": "farm", "broker": TokenBroker(host="b"), "hours": 1.0, **changes}
    with store.begin() as session:
        return enrolment.hand_out(session, Invitation(**asked), KEYS, "operator:t", now_s=NOW_S)  # type: ignore[arg-type]


def claim_of(token: ClaimToken, device: str = "pi-1", key: str = ONE, secret: str = "") -> Claim:
    claim = Claim(fleet="farm", device=device, claim=token.claim, public_key=key, mac="0" * 64)
    return claim.model_copy(update={"mac": claim_mac(secret or token.secret, claim)})


def take(store: Store, claim: Claim, now_s: float = NOW_S) -> Claimed:
    with store.begin() as session:
        return enrolment.take_claim(session, claim, now_s=now_s)


def actions(store: Store) -> list[str]:
    with store.read() as session:
        return [row.action for row in audit.entries(session)]


def test_a_claim_enrols_its_device_once(store: Store) -> None:
    given = token(store, device="pi-1")
    answer = take(store, claim_of(given))
    assert (answer.accepted, answer.reason, answer.public_key) == (True, None, ONE)
    with store.read() as session:
        row = devices.get(session, "farm", "pi-1")
    assert row is not None
    assert (row.enrolled_s, row.public_key, row.claim) == (NOW_S, ONE, given.claim)
    assert actions(store) == ["claim.handed_out", "claim.accepted"]


def test_the_same_claim_again_is_accepted_and_costs_nothing(store: Store) -> None:
    given = token(store, uses=2)
    for now_s in (NOW_S, NOW_S + 10, NOW_S + 1e6):  # the answer was lost, and once more after the token's time
        assert take(store, claim_of(given), now_s).accepted
    assert take(store, claim_of(given, "pi-2", TWO)).accepted
    assert actions(store).count("claim.accepted") == 2


@pytest.mark.parametrize(
    ("changes", "device", "now_s", "reason"),
    [
        ({"device": "pi-2"}, "pi-1", NOW_S, "claim_other_device"),
        ({"fleet": "yard"}, "pi-1", NOW_S, "claim_other_device"),
        ({}, "pi-1", NOW_S + 3601, "claim_expired"),
    ],
)
def test_a_claim_that_the_token_is_not_good_for(
    store: Store, changes: dict[str, object], device: str, now_s: float, reason: str
) -> None:
    answer = take(store, claim_of(token(store, **changes), device), now_s)
    assert (answer.accepted, answer.reason) == (False, reason)
    with store.read() as session:
        assert devices.get(session, "farm", "pi-1") is None


def test_a_token_that_is_used_up_or_taken_back(store: Store) -> None:
    spent, revoked = token(store), token(store)
    assert take(store, claim_of(spent)).accepted
    assert take(store, claim_of(spent, "pi-2", TWO)).reason == "claim_spent"
    with store.begin() as session:
        enrolment.revoke(session, revoked.claim, "operator:t", now_s=NOW_S)
        enrolment.revoke(session, revoked.claim, "operator:t", now_s=NOW_S)
    assert take(store, claim_of(revoked, "pi-2", TWO)).reason == "claim_revoked"
    assert actions(store).count("claim.revoked") == 1
    with store.begin() as session, pytest.raises(NotFound, match="--list"):
        enrolment.revoke(session, "c-none", "operator:t", now_s=NOW_S)


def test_a_claim_without_the_secret_changes_nothing_and_fills_no_audit(store: Store) -> None:
    given = token(store)
    assert take(store, claim_of(given, secret=ONE)).reason == "claim_forged"
    assert take(store, claim_of(given.model_copy(update={"claim": "c-none"}))).reason == "claim_unknown"
    changed = claim_of(given).model_copy(update={"public_key": TWO})
    assert take(store, changed).reason == "claim_forged"
    assert actions(store) == ["claim.handed_out"]


def test_only_a_token_of_its_name_takes_a_device_over(store: Store) -> None:
    assert take(store, claim_of(token(store))).accepted
    assert take(store, claim_of(token(store), key=TWO)).reason == "claim_name_taken"
    bound = token(store, device="pi-1")
    assert take(store, claim_of(bound, key=TWO)).accepted
    with store.read() as session:
        row = devices.get(session, "farm", "pi-1")
        assert row is not None
        assert row.public_key == TWO
        last = audit.entries(session)[-1]
    assert last.detail["former_key"] == ONE
    # What was overheard of the first claim brings the first key back neither.
    assert take(store, claim_of(bound, key=ONE)).reason == "claim_spent"


def test_the_list_tells_states_and_never_secrets(store: Store) -> None:
    open_, spent = token(store, uses=3), token(store, device="pi-1")
    take(store, claim_of(spent))
    with store.read() as session:
        rows = {row["claim"]: row for row in enrolment.listed(session, "farm", NOW_S)}
        later = enrolment.listed(session, "farm", NOW_S + 1e5)
    assert (rows[open_.claim]["state"], rows[open_.claim]["uses_left"]) == ("open", 3)
    assert (rows[spent.claim]["state"], rows[spent.claim]["enrolled"]) == ("spent", ["pi-1"])
    assert {row["state"] for row in later} == {"expired", "spent"}
    assert not any("secret" in row for row in rows.values())


@pytest.mark.parametrize("changes", [{"uses": 0}, {"uses": 10**6}, {"hours": 0.0}, {"hours": 1e9}])
def test_an_invitation_that_makes_no_sense(store: Store, changes: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match="can be asked for"):
        token(store, **changes)


def test_a_claim_comes_in_over_its_topic_and_speaks_for_its_own_device(store: Store, workspace: Workspace) -> None:
    ingest = Ingest(store, load_key(workspace.keys), SampleFolder(workspace.samples), lambda: NOW_S)
    claim = claim_of(token(store, device="pi-1"))
    stray = ingest.batch([Received(Topics("farm").claim("pi-2"), encode(claim), False)])
    assert (stray.claimed, ingest.counts["claim.malformed"]) == ([], 1)
    effects = ingest.batch([Received(Topics("farm").claim("pi-1"), encode(claim), False)])
    assert [answer.accepted for answer in effects.claimed] == [True]
    assert effects.changed
