"""The loop around `decide`, on a real database; devices are the reports that the test writes."""

import time
from typing import Any

import pytest

from controller.distribute.documents import Documents
from controller.errors import ConfigurationError, NotFound
from controller.keys import load_key
from controller.leadership import Leadership, LeadershipLost
from controller.mqtt import Publication
from controller.rollout.engine import RolloutEngine
from controller.rollout.policy import RolloutPolicy, Wave
from controller.rollout.spec import Member, RolloutSpec
from controller.store import audit, deployments, desired, devices, rollouts, tables
from controller.store.database import Store
from controller.workspace import Workspace
from wire.artifact import ArtifactRef, FileEntry
from wire.device_state import State
from wire.manifest import BundleManifest, GoldenSpec
from wire.presence import Presence
from wire.spec import ClassificationPost, Pipeline, TensorPre, TensorSpec
from wire.update import Desired, Limits, Reported

OLD, NEW = "a" * 64, "b" * 64
TENSOR = TensorSpec(name="x", shape=(-1, 4))


class Bundles:
    """A store of bundles that knows the given digests."""

    def __init__(self, *digests: str) -> None:
        self.known = set(digests)

    def ref(self, digest: str) -> ArtifactRef:
        return ArtifactRef(digest=digest, index=("c" * 64,), index_bytes=1, size_bytes=1, wire_bytes=1)

    def manifest(self, digest: str) -> BundleManifest:
        if digest not in self.known:
            raise NotFound(f"no artifact {digest}")
        return BundleManifest(
            model="leaf",
            model_version="1",
            kind="classification",
            variant="v",
            format="onnx",
            engine="onnxruntime",
            model_file="m",
            pipeline=Pipeline(pre=TensorPre(input=TENSOR), post=ClassificationPost(output=TENSOR)),
            golden=GoldenSpec(samples=1),
            files=(FileEntry(path="m", size_bytes=1, sha256="d" * 64),),
        )


class Silent:
    """A client without a broker."""

    connected = False

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> Publication:
        raise AssertionError(f"the engine writes, it does not publish: {topic}, {payload!r}, {retain}")


class Bench:
    """An engine with its database and a clock that the test turns."""

    def __init__(self, store: Store, workspace: Workspace, *digests: str) -> None:
        self.store, self.now_s, self.seq = store, 1_000_000.0, 0
        self.bundles = Bundles(*digests)
        self.leadership = Leadership(store, self.clock)
        self.leadership.take()
        documents = Documents(store, load_key(workspace.keys), Silent(), self.clock)
        self.engine = RolloutEngine(store, self.bundles, documents, self.leadership, self.clock)

    def clock(self) -> float:
        return self.now_s

    def says(self, device: str, state: State, gen: int, active: str | None) -> None:
        self.seq += 1
        report = Reported(
            fleet="farm",
            device=device,
            workload="main",
            gen=gen,
            state=state,
            desired=NEW,
            active=active,
            boot_id="b",
            seq=self.seq,
            at_s=1.0,
        )
        presence = Presence(fleet="farm", device=device, online=True, boot_id="b", agent_version="1")
        with self.store.begin() as session:
            devices.set_presence(session, presence, now_s=self.now_s)
            devices.record_report(session, report, now_s=self.now_s)

    def document(self, device: str) -> Desired | None:
        with self.store.read() as session:
            row = desired.get(session, "farm", device, "main")
            return Desired.model_validate(row.document) if row else None

    def rollout(self, rollout: str) -> tables.Rollout:
        with self.store.read() as session:
            return rollouts.get(session, rollout)

    def wish(self, rollout: str, wish: str) -> None:
        with self.store.begin() as session:
            rollouts.wish(session, rollout, wish, "operator:ann", now_s=self.now_s)
        self.engine.tick(["farm"])

    def pass_time(self, seconds: float) -> None:
        self.now_s += seconds
        self.leadership.beat()
        self.engine.tick(["farm"])


@pytest.fixture
def bench(store: Store, workspace: Workspace) -> Bench:
    return Bench(store, workspace, OLD, NEW)


def spec(*names: str, bundle: str = NEW, deployment: str | None = None, **policy: Any) -> RolloutSpec:
    quick = {"waves": (Wave(devices=1), Wave(ratio=1.0)), "soak_s": 5.0, "probation_s": 3.0} | policy
    members = tuple(Member(name, "c", bundle) for name in names)
    limits = {"c": Limits(memory_bytes=1000)}
    return RolloutSpec("farm", "main", RolloutPolicy.model_validate(quick), members, deployment, limits)


def test_a_wave_is_offered_at_once_with_all_that_the_device_needs(bench: Bench) -> None:
    bench.says("pi-1", State.COMMITTED, 4, OLD)
    rollout = bench.engine.create(spec("pi-1"))
    assert bench.engine.tick(["farm"])
    document = bench.document("pi-1")
    assert document is not None
    assert (document.gen, document.epoch, document.action, document.rollout, document.wave) == (5, 1, "run", rollout, 0)
    assert (document.bundle, document.previous) == (bench.bundles.ref(NEW), OLD)
    assert (document.format, document.engine, document.probation_s) == ("onnx", "onnxruntime", 3.0)
    assert document.limits.memory_bytes == 1000
    assert not bench.engine.tick(["farm"]), "nothing is decided twice"


def test_outcomes_waves_and_the_audit_are_written_as_it_goes(bench: Bench) -> None:
    for name in ("pi-1", "pi-2"):
        bench.says(name, State.COMMITTED, 1, OLD)
    rollout = bench.engine.create(spec("pi-1", "pi-2"))
    bench.engine.tick(["farm"])
    first, second = sorted(("pi-1", "pi-2"), key=lambda name: (bench.document(name) is None, name))
    assert bench.document(second) is None
    bench.says(first, State.COMMITTED, 2, NEW)
    bench.engine.tick(["farm"])
    bench.pass_time(6.0)
    bench.says(second, State.COMMITTED, 2, NEW)
    bench.engine.tick(["farm"])
    bench.pass_time(6.0)
    assert bench.rollout(rollout).state == "completed"
    assert bench.rollout(rollout).finished_s == bench.now_s
    with bench.store.read() as session:
        waves = rollouts.waves(session, rollout)
        assert [(wave.soak_from_s, wave.ended_s) for wave in waves] == [
            (1_000_000.0, 1_000_006.0),
            (1_000_006.0, 1_000_012.0),
        ]
        assert all(wave.ruling for wave in waves)
        assert {member.outcome for member in rollouts.devices(session, rollout)} == {"committed"}
        assert audit.verify(session).holds


@pytest.mark.parametrize(
    ("previous", "known", "action", "bundle"),
    [
        (OLD, {OLD, NEW}, "run", OLD),
        (None, {NEW}, "remove", None),
        (OLD, {NEW}, "hold", None),  # the bundle is lost here: the device keeps what it runs
    ],
)
def test_a_rollback_is_a_new_generation_that_names_what_ran_before(
    bench: Bench, previous: str | None, known: set[str], action: str, bundle: str | None
) -> None:
    bench.says("pi-1", State.COMMITTED if previous else State.IDLE, 1 if previous else 0, previous)
    rollout = bench.engine.create(spec("pi-1"))
    bench.engine.tick(["farm"])
    offered = bench.document("pi-1")
    assert offered is not None
    bench.says("pi-1", State.COMMITTED, offered.gen, NEW)
    bench.bundles.known = known
    bench.wish(rollout, "rollback")
    document = bench.document("pi-1")
    assert document is not None
    assert (document.gen, document.action) == (offered.gen + 1, action)
    assert (document.bundle.digest if document.bundle else None) == bundle
    assert bench.rollout(rollout).wish is None
    with bench.store.read() as session:
        assert "operator:ann" in [row.actor for row in audit.entries(session, rollout)][1:]


def test_the_document_that_named_the_previous_bundle_is_enough_to_go_back(bench: Bench) -> None:
    bench.engine.create(spec("pi-1", bundle=OLD))
    bench.engine.tick(["farm"])
    bench.says("pi-1", State.COMMITTED, 1, OLD)
    bench.pass_time(6.0)
    rollout = bench.engine.create(spec("pi-1"))
    bench.engine.tick(["farm"])
    bench.says("pi-1", State.COMMITTED, 2, NEW)
    bench.bundles.known = {NEW}  # the old artifact was cleared away
    bench.wish(rollout, "rollback")
    document = bench.document("pi-1")
    assert document is not None
    assert document.action == "run"
    assert document.bundle == bench.bundles.ref(OLD)


def test_a_failed_device_names_its_reason_and_takes_the_wave_back(bench: Bench) -> None:
    bench.says("pi-1", State.COMMITTED, 1, OLD)
    rollout = bench.engine.create(spec("pi-1"))
    bench.engine.tick(["farm"])
    bench.says("pi-1", State.ROLLED_BACK, 2, OLD)
    bench.engine.tick(["farm"])
    assert bench.rollout(rollout).state in ("rolling_back", "rolled_back")
    with bench.store.read() as session:
        (member,) = rollouts.devices(session, rollout)
    assert member.outcome == "failed"


def test_a_newer_rollout_of_the_workload_supersedes(bench: Bench) -> None:
    bench.says("pi-1", State.COMMITTED, 1, OLD)
    first = bench.engine.create(spec("pi-1", approval="first_wave"))
    bench.engine.tick(["farm"])
    bench.now_s += 1
    bench.engine.create(spec("pi-1"))
    bench.engine.tick(["farm"])
    assert bench.rollout(first).state == "superseded"


def test_a_deployment_starts_its_rollout_once(bench: Bench) -> None:
    with bench.store.begin() as session:
        row = tables.Deployment(id="d-1", fleet="farm", workload="main", model="m", model_version="1", settings={})
        deployments.create(session, row, now_s=1.0)
    wanted = spec("pi-1", deployment="d-1")
    assert bench.engine.create(wanted) == bench.engine.create(wanted)


def test_what_cannot_be_rolled_out_is_refused_before_anything_is_written(bench: Bench) -> None:
    with pytest.raises(ConfigurationError, match="at least one"):
        bench.engine.create(spec())
    with pytest.raises(ConfigurationError, match="pi-1, pi-1"):
        bench.engine.create(spec("pi-1", "pi-1"))
    with pytest.raises(NotFound):
        bench.engine.create(spec("pi-1", bundle="e" * 64))
    with bench.store.read() as session:
        assert rollouts.listed(session) == []


def test_a_bundle_that_went_missing_stops_only_its_own_rollout(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("pi-1", "pi-2"):
        bench.says(name, State.COMMITTED, 1, OLD)
    lost = bench.engine.create(spec("pi-1"))
    bench.bundles.known = {OLD}
    for _ in range(3):
        bench.engine.tick(["farm"])
    assert caplog.text.count("cannot go on") == 1, "said once, not at every turn"
    assert bench.document("pi-1") is None
    bench.bundles.known = {NEW}
    bench.engine.tick(["farm"])
    assert bench.document("pi-1") is not None, f"{lost} goes on once the cause is gone"


def test_a_leader_that_was_replaced_decides_nothing_more(bench: Bench) -> None:
    bench.says("pi-1", State.COMMITTED, 1, OLD)
    bench.engine.create(spec("pi-1"))
    Leadership(bench.store, lambda: bench.now_s + 1000, "elsewhere:1:1:x").take()
    with pytest.raises(LeadershipLost):
        bench.engine.tick(["farm"])
    assert bench.document("pi-1") is None


def test_an_engine_made_anew_goes_on_where_the_former_one_was(bench: Bench, store: Store, workspace: Workspace) -> None:
    bench.says("pi-1", State.COMMITTED, 1, OLD)
    rollout = bench.engine.create(spec("pi-1"))
    bench.engine.tick(["farm"])
    before = bench.document("pi-1")
    bench.leadership.release()
    later = Bench(store, workspace, OLD, NEW)
    later.seq = bench.seq
    later.engine.tick(["farm"])
    assert later.document("pi-1") == before, "what was offered is not offered anew"
    later.says("pi-1", State.COMMITTED, 2, NEW)
    later.engine.tick(["farm"])
    later.pass_time(6.0)
    assert later.rollout(rollout).state == "completed"


def test_a_rollout_of_a_fleet_that_is_not_listened_to_waits(bench: Bench) -> None:
    bench.says("pi-1", State.COMMITTED, 1, OLD)
    rollout = bench.engine.create(spec("pi-1"))
    assert not bench.engine.tick(["barn"])
    assert bench.rollout(rollout).state == "draft"
    assert bench.engine.tick(["barn", "farm"])


def test_ids_sort_by_time(bench: Bench) -> None:
    bench.now_s = 1_700_000_000.0
    assert bench.engine.create(spec("pi-1")).startswith(time.strftime("r-%Y%m%d-", time.gmtime(1_700_000_000)))
