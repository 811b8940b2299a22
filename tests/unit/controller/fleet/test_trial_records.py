import base64
import zlib
from collections.abc import Iterator

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from controller.fleet.records import collect
from controller.fleet.views import trial_views
from controller.store import deployments, tables, trials
from controller.store.database import Store
from wire.artifact import ArtifactRef
from wire.base import encode
from wire.canonical import sha256_hex
from wire.errors import WireError
from wire.topics import Address
from wire.trial import TrialPart, TrialRecord, TrialRequest

PI_1 = Address("farm", "trial", "pi-1", item="t-1")


@pytest.fixture
def session(store: Store) -> Iterator[Session]:
    ref = ArtifactRef(digest="a" * 64, index=("c" * 64,), index_bytes=1, size_bytes=1, wire_bytes=1)
    with store.begin() as opened:
        row = tables.Deployment(id="d-1", fleet="farm", workload="main", model="m", model_version="1", settings={})
        deployments.create(opened, row, now_s=1.0)
        request = TrialRequest(trial="t-1", workload="main", bundle=ref, variant="v", format="onnx", engine="e")
        trials.ask(opened, row, "pi-1", "c", request, now_s=1.0)
        yield opened


def record(**fields: object) -> TrialRecord:
    base: dict[str, object] = {
        "fleet": "farm",
        "device": "pi-1",
        "trial": "t-1",
        "plan_gen": 1,
        "workload": "main",
        "bundle": "a" * 64,
        "variant": "v",
        "engine": "e",
        "outcome": "measured",
        "conditions": {"note": "n" * 300},
    }
    return TrialRecord.model_validate(base | fields)


def parts(whole: bytes, count: int = 3, digest: str | None = None) -> list[TrialPart]:
    size = -(-len(whole) // count)
    slices = [whole[start : start + size] for start in range(0, len(whole), size)]
    return [
        TrialPart(
            trial="t-1",
            part=number,
            parts=len(slices),
            sha256=digest or sha256_hex(whole),
            data=base64.b64encode(content).decode(),
        )
        for number, content in enumerate(slices)
    ]


def packed(message: TrialRecord) -> bytes:
    return zlib.compress(encode(message))


def kept(session: Session) -> int:
    return session.scalar(select(func.count()).select_from(tables.TrialPart)) or 0


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 1, 0, 2, 2)])
def test_parts_in_any_order_and_twice_make_one_record(session: Session, order: tuple[int, ...]) -> None:
    sent = parts(packed(record()))
    assert [collect(session, PI_1, sent[number], now_s=2.0) for number in order[:3]].count(True) <= 1
    for number in order[3:]:
        collect(session, PI_1, sent[number], now_s=2.0)
    (view,) = trial_views(session, "d-1")
    assert view.record == record()
    assert (view.stage, view.outcome, view.received_s) == ("received", "measured", 2.0)
    assert kept(session) == 0


def test_a_record_that_is_stored_is_acknowledged_again_and_not_changed(session: Session) -> None:
    for part in parts(packed(record())):
        collect(session, PI_1, part, now_s=2.0)
    other = parts(packed(record(outcome="failed")))
    assert [collect(session, PI_1, part, now_s=9.0) for part in other] == [True] * len(other)
    (view,) = trial_views(session, "d-1")
    assert (view.outcome, view.received_s) == ("measured", 2.0)


def test_parts_of_two_tries_are_not_mixed(session: Session) -> None:
    first, second = parts(packed(record(threads=2))), parts(packed(record(threads=4)))
    assert not collect(session, PI_1, first[0], now_s=2.0)
    assert [collect(session, PI_1, part, now_s=3.0) for part in second] == [False, False, True]
    view = trial_views(session, "d-1")[0]
    assert view.record is not None
    assert view.record.threads == 4
    assert kept(session) == 0, "what was left of the first try is gone"


BROKEN = packed(record())[:-6] + b"broken"


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (parts(packed(record()), digest="f" * 64), "digest"),
        (parts(BROKEN), "unpacked|cut short"),
        (parts(zlib.compress(b"{}")), "TrialRecord"),
        (parts(zlib.compress(b"0" * (65 * 1024 * 1024), 9), 5), "above"),
        (parts(packed(record(device="pi-2"))), "not what was asked"),
        (parts(packed(record(bundle="b" * 64))), "not what was asked"),
    ],
)
def test_a_record_that_is_not_what_was_asked_for_is_refused(session: Session, sent: list[TrialPart], said: str) -> None:
    for part in sent[:-1]:
        assert not collect(session, PI_1, part, now_s=2.0)
    with pytest.raises(WireError, match=said):
        collect(session, PI_1, sent[-1], now_s=2.0)
    assert trial_views(session, "d-1")[0].stage == "asked"
    assert kept(session) == 0, "the device sends all of it again"


def test_another_device_cannot_answer(session: Session) -> None:
    (part,) = parts(packed(record()), 1)
    with pytest.raises(WireError, match="asked of pi-1, not of pi-2"):
        collect(session, Address("farm", "trial", "pi-2", item="t-1"), part, now_s=2.0)


def test_a_record_nobody_here_asked_for_is_acknowledged_unstored(session: Session) -> None:
    (part,) = parts(packed(record()), 1)
    unknown = part.model_copy(update={"trial": "t-9"})
    assert collect(session, PI_1, unknown, now_s=2.0)
    assert kept(session) == 0


def test_parts_that_never_become_a_record_do_not_fill_the_disk(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "MOST_PARTS_OF_A_DEVICE", 10)
    for number in range(40):
        part = TrialPart(trial="t-1", part=0, parts=2, sha256=f"{number:064x}", data="AAAA")
        collect(session, PI_1, part, now_s=float(number))
    assert kept(session) <= 10
