"""Desired documents, trials, deployments, rollouts and telemetry as rows."""

import pytest

from controller.errors import Busy, ConfigurationError, NotFound
from controller.store import audit, deployments, desired, rollouts, tables, telemetry, trials
from controller.store.database import Store
from wire.artifact import ArtifactRef
from wire.presence import Event
from wire.telemetry import Metrics
from wire.trial import Plan, TrialRequest
from wire.update import Desired, Reported


def document(gen: int, bundle: str = "a", epoch: int = 1) -> Desired:
    ref = ArtifactRef(digest=bundle * 64, index=("c" * 64,), index_bytes=1, size_bytes=1, wire_bytes=1)
    return Desired(
        fleet="farm",
        device="pi-1",
        workload="main",
        gen=gen,
        epoch=epoch,
        action="run",
        bundle=ref,
        engine="onnxruntime",
        issued_s=1.0,
        expires_s=2.0,
    )


def said(gen: int, bundle: str | None = "a") -> Reported:
    digest = bundle * 64 if bundle else None
    return Reported(
        fleet="farm",
        device="pi-1",
        workload="main",
        gen=gen,
        epoch=7,
        state="committed",  # type: ignore[arg-type]
        desired=digest,
        boot_id="b",
        seq=1,
        at_s=1.0,
    )


def deployment(name: str = "d-1", workload: str = "main") -> tables.Deployment:
    return tables.Deployment(id=name, fleet="farm", workload=workload, model="leaf", model_version="1", settings={})


@pytest.mark.parametrize(
    ("known", "retained", "adopted"),
    [
        (None, document(1), True),
        (document(3), document(4), True),
        (document(3), document(3), False),
        (document(3), document(2), False),
        (document(3), document(3, "b"), True),  # the number was given away twice
        (document(3), document(2**60), False),
    ],
)
def test_a_retained_document_that_is_newer_is_adopted(
    store: Store, known: Desired | None, retained: Desired, adopted: bool
) -> None:
    with store.begin() as session:
        if known:
            desired.write(session, known, "known", now_s=1.0)
        assert desired.adopt_document(session, retained, "retained", now_s=2.0) is adopted
        row = desired.get(session, "farm", "pi-1", "main")
        assert row is not None
        assert (row.envelope, row.adopted) == (("retained", True) if adopted else ("known", False))
        assert list(desired.unpublished(session, ["farm"])) == ([] if adopted else [row])


@pytest.mark.parametrize(
    ("known", "report", "adopted"),
    [
        (None, said(1), True),
        (document(3), said(4), True),
        (document(3), said(3), False),
        (document(3), said(3, "b"), True),
        (document(3), said(3, None), False),
        (document(3), said(2, "b"), False),
        (None, said(0), False),
    ],
)
def test_a_reported_generation_that_is_newer_is_adopted(
    store: Store, known: Desired | None, report: Reported, adopted: bool
) -> None:
    with store.begin() as session:
        if known:
            desired.write(session, known, "known", now_s=1.0)
        assert desired.adopt_report(session, report, now_s=2.0) is adopted
        if adopted:
            row = desired.get(session, "farm", "pi-1", "main")
            assert row is not None
            assert (row.gen, row.epoch, row.bundle) == (report.gen, 7, report.desired)
            assert list(desired.unpublished(session, ["farm"])) == [], "there is no document to publish"
            assert desired.largest_epoch(session) == 7


def test_a_row_written_anew_while_it_was_published_stays_unpublished(store: Store) -> None:
    with store.begin() as session:
        desired.write(session, document(1), "first", now_s=1.0)
    with store.read() as session:
        (sent,) = desired.unpublished(session, ["farm"])
    with store.begin() as session:
        desired.write(session, document(2), "second", now_s=2.0)
    with store.begin() as session:
        desired.mark_published(session, sent, now_s=3.0)
    with store.read() as session:
        assert [row.envelope for row in desired.unpublished(session, ["farm"])] == ["second"]


def test_plans_rise_over_the_last_one_and_over_the_clock(store: Store) -> None:
    with store.begin() as session:
        assert desired.next_plan_gen(session, "farm", "pi-1", now_s=1000.7) == 1000
        plan = Plan(fleet="farm", device="pi-1", plan_gen=2000, epoch=1, issued_s=1.0, expires_s=2.0)
        desired.write_plan(session, plan, "e", now_s=1.0)
        assert desired.next_plan_gen(session, "farm", "pi-1", now_s=1001.0) == 2001
        desired.mark_published(session, desired.get_plan(session, "farm", "pi-1"), now_s=1.0)  # type: ignore[arg-type]
        assert list(desired.unpublished_plans(session, ["farm"])) == []
        desired.ask_again(session, "farm", "pi-1")
        assert len(desired.unpublished_plans(session, ["farm"])) == 1


def test_one_deployment_at_a_time_for_a_fleet_and_workload(store: Store) -> None:
    with store.begin() as session:
        deployments.create(session, deployment("d-1"), now_s=1.0)
        deployments.create(session, deployment("d-2", "soil"), now_s=1.0)
    with pytest.raises(Busy, match="d-1"), store.begin() as session:
        deployments.create(session, deployment("d-3"), now_s=2.0)
    with store.begin() as session:
        deployments.set_stage(session, "d-1", "completed", now_s=3.0)
        deployments.create(session, deployment("d-3"), now_s=4.0)
        assert next(iter(deployments.listed(session, "farm", "main"))).id == "d-3"


def test_a_lease_keeps_others_off_until_it_runs_out(store: Store) -> None:
    with store.begin() as session:
        deployments.create(session, deployment(), now_s=1.0)
        assert [row.id for row in deployments.unowned(session, now_s=1.0)] == ["d-1"]
        deployments.claim(session, "d-1", "one", now_s=1.0)
        deployments.claim(session, "d-1", "one", now_s=2.0)
        assert list(deployments.unowned(session, now_s=2.0 + deployments.LEASE_S)) == []
        with pytest.raises(Busy, match="one"):
            deployments.claim(session, "d-1", "two", now_s=2.0 + deployments.LEASE_S)
        deployments.claim(session, "d-1", "two", now_s=3.0 + deployments.LEASE_S)
        deployments.fail(session, "d-1", "no_device", "none there", now_s=20.0)
        row = deployments.get(session, "d-1")
        assert (row.active_key, row.owner, row.error) == (None, None, {"reason": "no_device", "detail": "none there"})


def test_a_trial_is_asked_once_and_leaves_the_open_ones_when_it_came_back(store: Store) -> None:
    ref = ArtifactRef(digest="a" * 64, index=("c" * 64,), index_bytes=1, size_bytes=1, wire_bytes=1)
    requests = [
        TrialRequest(trial=name, workload="main", bundle=ref, variant=name, format="onnx", engine="e")
        for name in ("t-1", "t-2", "t-3")
    ]
    with store.begin() as session:
        row = deployments.create(session, deployment(), now_s=1.0)
        assert [trials.ask(session, row, "pi-1", "c", each, now_s=1.0) for each in requests] == [True] * 3
        assert [trials.ask(session, row, "pi-1", "c", each, now_s=2.0) for each in requests] == [False] * 3
        trials.receive(session, session.get_one(tables.Trial, "t-2"), b"record", "measured", now_s=3.0)
        assert [each.trial for each in trials.open_requests(session, "farm", "pi-1")] == ["t-1", "t-3"]
        assert {each.trial for each in trials.cancel(session, "d-1")} == {"t-1", "t-3"}
        assert trials.open_requests(session, "farm", "pi-1") == []
        assert [each.stage for each in trials.of_deployment(session, "d-1")] == ["canceled", "received", "canceled"]


def rollout(store: Store, state: str) -> None:
    with store.begin() as session:
        session.add(
            tables.Rollout(
                id="r-1",
                fleet="farm",
                workload="main",
                policy={},
                state=state,
                memory={},
                created_s=1.0,
                updated_s=1.0,
                finished_s=2.0 if state in rollouts.ENDED else None,
            )
        )


@pytest.mark.parametrize(
    ("state", "wish", "taken"),
    [
        ("offer", "pause", True),
        ("offer", "explode", False),
        ("completed", "rollback", True),
        ("completed", "pause", False),
        ("rolled_back", "rollback", False),
        ("superseded", "rollback", False),
    ],
)
def test_a_wish_is_taken_where_it_can_still_be_granted(store: Store, state: str, wish: str, taken: bool) -> None:
    rollout(store, state)
    if not taken:
        with pytest.raises(ConfigurationError), store.begin() as session:
            rollouts.wish(session, "r-1", wish, "operator:ann", now_s=3.0)
        return
    with store.begin() as session:
        rollouts.wish(session, "r-1", wish, "operator:ann", now_s=3.0)
        assert [row.id for row in rollouts.active(session)] == ["r-1"], "the engine looks at it"
        assert [row.actor for row in audit.entries(session, "r-1")] == ["operator:ann"]


def test_what_is_not_there_is_named(store: Store) -> None:
    with store.begin() as session:
        with pytest.raises(NotFound, match="d-9"):
            deployments.get(session, "d-9")
        with pytest.raises(NotFound, match="r-9"):
            rollouts.wish(session, "r-9", "pause", "operator:ann", now_s=1.0)


def event(seq: int) -> Event:
    return Event(fleet="farm", device="pi-1", kind="agent", boot_id="b", seq=seq, at_s=1.0)


def test_events_and_metrics_are_kept_once_and_not_for_ever(store: Store) -> None:
    interval = Metrics(fleet="farm", device="pi-1", boot_id="b", seq=1, at_s=1.0, interval_s=10.0)
    with store.begin() as session:
        assert [telemetry.add_event(session, event(seq), now_s=100.0) for seq in (1, 2, 2)] == [True, True, False]
        assert [telemetry.add_metrics(session, interval, now_s=100.0) for _ in range(2)] == [True, False]
        assert [row.seq for row in telemetry.events(session, "farm", limit=1)] == [2]
        assert telemetry.prune(session, now_s=200.0) == 0
        assert telemetry.prune(session, now_s=100.5 + telemetry.METRICS_KEPT_S) == 1
        assert list(telemetry.intervals(session, "farm", "pi-1")) == []
        assert telemetry.prune(session, now_s=200.0, most_rows=1) == 1
        assert [row.seq for row in telemetry.events(session, "farm")] == [2]
