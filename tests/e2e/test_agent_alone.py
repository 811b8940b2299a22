"""One real agent process, a real broker and a controller in miniature: the agent's own contract, end to end."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.update.fetch import WINDOW_CHUNKS
from controller.broker.embedded import EmbeddedBroker
from tests.e2e.lone_controller import DEVICE, FLEET, LoneController, Packed, agent_document, tiny_bundle
from tests.e2e.world import AgentProcess
from wire.device_state import State
from wire.trial import Plan, PlanPolicy, TrialRequest
from wire.update import Desired

pytestmark = [pytest.mark.e2e]

LARGEST_RSS_BYTES = 50_000_000
GOOD, BETTER, WRONG = tiny_bundle(1.0), tiny_bundle(2.0), tiny_bundle(3.0, wrong_golden=True)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker(folder=tmp_path / "broker") as each:
        yield each


@pytest.fixture
def controller(broker: EmbeddedBroker) -> Iterator[LoneController]:
    each = LoneController(broker.port, GOOD, BETTER, WRONG)
    yield each
    each.close()


Start = Callable[..., AgentProcess]


@pytest.fixture
def start(tmp_path: Path, broker: EmbeddedBroker, controller: LoneController, kernel_cache: Path) -> Iterator[Start]:
    """Start the agent; its state folder is the same in every start of a test."""
    started: list[AgentProcess] = []

    def begin(**changes: Any) -> AgentProcess:
        document = agent_document(broker.port, tmp_path, controller, cache_dir=str(kernel_cache), **changes)
        agent = AgentProcess(tmp_path, document)
        started.append(agent)
        return agent.start()

    yield begin
    for agent in started:
        agent.stop()


def test_the_straight_way_reports_every_state_and_serves(start: Start, controller: LoneController) -> None:
    start()
    controller.desired(1, GOOD)
    report = controller.state(State.COMMITTED, 1)
    assert report.active == GOOD.ref.digest
    assert report.error is None
    assert controller.states(1) == [
        "check",
        "wait",
        "download",
        "verify",
        "staged",
        "selftest",
        "switch",
        "probation",
        "committed",
    ]
    metrics = controller.wait(
        "metrics with answered queries",
        lambda: next((each for each in controller.heard.metrics if each.workloads and each.workloads[0].queries), None),
    )
    counted = metrics.workloads[0]
    assert counted.active == GOOD.ref.digest
    assert counted.latency_ms.count == counted.queries
    assert controller.heard.syncs[0].device == DEVICE
    assert controller.heard.presence[-1].online


def test_the_control_process_is_light(start: Start, controller: LoneController) -> None:
    agent = start()
    controller.desired(1, GOOD)
    controller.state(State.COMMITTED, 1)
    assert agent.process is not None
    mapped = Path(f"/proc/{agent.process.pid}/maps").read_text()
    heavy = ("numpy", "numba", "llvmlite", "onnxruntime", "ai_edge_litert", "cryptography")
    assert [name for name in heavy if name in mapped] == []
    rollup = Path(f"/proc/{agent.process.pid}/smaps_rollup").read_text()
    rss_kib = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Rss:"))
    assert rss_kib * 1024 <= LARGEST_RSS_BYTES  # what a device sees that runs nothing else: PSS would be less


def test_wrong_golden_outputs_are_unfit_and_the_old_bundle_serves_on(start: Start, controller: LoneController) -> None:
    start()
    controller.desired(1, GOOD)
    controller.state(State.COMMITTED, 1)
    controller.desired(2, WRONG)
    report = controller.state(State.UNFIT, 2)
    assert report.error is not None
    assert report.error.code == "golden_mismatch"
    assert report.active == GOOD.ref.digest
    assert "switch" not in controller.states(2)


def test_a_damaged_and_a_lost_chunk_are_asked_for_again(start: Start, controller: LoneController) -> None:
    spoiled: list[str] = []

    def spoil(digest: str, payload: bytes) -> bytes | None:
        if digest in GOOD.ref.index or len(spoiled) >= 2 or digest in spoiled:
            return payload
        spoiled.append(digest)
        return payload[:-1] + bytes([payload[-1] ^ 1]) if len(spoiled) == 1 else None

    controller.spoil = spoil
    start()
    controller.desired(1, GOOD)
    assert controller.state(State.COMMITTED, 1).active == GOOD.ref.digest
    assert len(spoiled) == 2
    assert {"chunk_corrupted", "fetched"} <= {event.reason for event in controller.heard.events}


@pytest.mark.long
def test_a_broker_that_restarts_in_a_download_loses_nothing(
    start: Start, controller: LoneController, broker: EmbeddedBroker, tmp_path: Path
) -> None:
    sent: list[str] = []

    def spoil(digest: str, payload: bytes) -> bytes | None:
        sent.append(digest)
        return payload if len(sent) <= WINDOW_CHUNKS + 2 else None

    controller.spoil = spoil
    start()
    controller.desired(1, GOOD)
    bitmap = tmp_path / "state" / "incoming" / GOOD.ref.digest / "bitmap"
    controller.wait("chunks that are safe, and then silence", lambda: bitmap.exists() and len(sent) > 2 * WINDOW_CHUNKS)
    safe = len([each for each in set(sent) if (bitmap.parent / "chunks" / each).exists()])
    broker.kill()
    asked: list[str] = []

    def count(digest: str, payload: bytes) -> bytes:
        asked.append(digest)
        return payload

    controller.spoil = count
    broker.start()
    assert controller.state(State.COMMITTED, 1).active == GOOD.ref.digest
    assert 0 < len(set(asked)) <= len(GOOD.parts) - safe


def test_a_crash_in_probation_goes_back_and_quarantines(start: Start, controller: LoneController) -> None:
    agent = start()
    controller.desired(1, GOOD)
    controller.state(State.COMMITTED, 1)
    controller.desired(2, BETTER, probation_s=30.0)
    controller.state(State.PROBATION, 2)
    for child in agent.children():
        child.kill()
    report = controller.state(State.ROLLED_BACK, 2)
    assert report.active == GOOD.ref.digest
    assert report.quarantined == (BETTER.ref.digest,)
    assert report.error is not None
    assert report.error.code == "worker_crashed"
    controller.desired(3, BETTER)
    refused = controller.state(State.FAILED, 3)
    assert refused.error is not None
    assert refused.error.code == "quarantined"
    controller.desired(4, BETTER, retry_nonce="again")
    assert controller.state(State.COMMITTED, 4).active == BETTER.ref.digest


def test_a_worker_that_crashes_after_its_probation_is_started_again(start: Start, controller: LoneController) -> None:
    agent = start()
    controller.desired(1, GOOD)
    controller.state(State.COMMITTED, 1)
    (worker,) = agent.children()
    worker.kill()
    controller.wait(
        "a metrics message that counts the restart",
        lambda: any(each.restarts for metrics in controller.heard.metrics for each in metrics.workloads),
    )
    controller.wait("another worker", lambda: [child for child in agent.children() if child.pid != worker.pid])
    assert controller.heard.reports[-1].state is State.COMMITTED


def test_a_killed_agent_takes_its_children_along_and_serves_again(start: Start, controller: LoneController) -> None:
    agent = start()
    controller.desired(1, GOOD)
    controller.state(State.COMMITTED, 1)
    (worker,) = agent.children()
    agent.kill()
    worker.wait(20)
    controller.wait("the will", lambda: not controller.heard.presence[-1].online)
    boots = {each.boot_id for each in controller.heard.reports}
    again = start()
    report = controller.wait(
        "a report of the new boot", lambda: next((r for r in controller.heard.reports if r.boot_id not in boots), None)
    )
    assert (report.state, report.active) == (State.COMMITTED, GOOD.ref.digest)
    controller.wait("a worker", lambda: again.children())


@pytest.mark.long
def test_a_gateway_that_is_killed_comes_back_and_serves_through_the_same_worker(
    start: Start, controller: LoneController
) -> None:
    agent = start()
    controller.desired(1, GOOD)
    controller.state(State.COMMITTED, 1)
    (worker,), (gateway,) = agent.children(), agent.children("agent.gateway.main")
    gateway.kill()
    controller.wait(
        "another gateway", lambda: [each for each in agent.children("agent.gateway.main") if each != gateway]
    )
    controller.wait("an event", lambda: any(event.reason == "gateway_ended" for event in controller.heard.events))
    seen = len(controller.heard.metrics)
    controller.wait(
        "queries that are answered again",
        lambda: sum(each.queries for metrics in controller.heard.metrics[seen + 2 :] for each in metrics.workloads) > 5,
    )
    assert agent.children() == [worker]  # the worker was given a new channel, and not started again


def test_stopping_ends_the_children_and_says_goodbye(start: Start, controller: LoneController) -> None:
    agent = start()
    controller.desired(1, GOOD)
    controller.state(State.COMMITTED, 1)
    (worker,), (gateway,) = agent.children(), agent.children("agent.gateway.main")
    assert agent.process is not None
    agent.process.send_signal(signal.SIGTERM)
    assert agent.process.wait(20) == 0
    agent.process = None
    assert not worker.is_running()
    assert not gateway.is_running()
    controller.wait("offline presence", lambda: not controller.heard.presence[-1].online)


def test_refusals_change_nothing(start: Start, controller: LoneController) -> None:
    start()
    good = controller.desired(5, GOOD)
    controller.state(State.COMMITTED, 5)
    topic = controller.topics.desired(DEVICE, "main")
    now_s = time.time()
    wrong: list[tuple[str, Desired, Ed25519PrivateKey | None]] = [
        ("bad_signature", good.model_copy(update={"gen": 6}), Ed25519PrivateKey.generate()),
        ("not_for_us", good.model_copy(update={"gen": 6, "device": "dev-2"}), None),
        ("old_generation", good.model_copy(update={"gen": 4}), None),
        ("old_epoch", good.model_copy(update={"gen": 6, "epoch": 1}), None),
        ("expired", good.model_copy(update={"gen": 6, "epoch": 2, "expires_s": now_s - 1}), None),
    ]
    controller.publish(topic, controller.sealed("desired", good.model_copy(update={"epoch": 2})), retain=True)

    def seen(reason: str) -> bool:
        return any(event.kind == "refused" and event.reason == reason for event in controller.heard.events)

    for reason, document, key in wrong:
        controller.publish(topic, controller.sealed("desired", document, key), retain=True)
        controller.wait(reason, partial(seen, reason))
    controller.publish(topic, controller.sealed("plan", Plan.model_validate(_plan_fields(1))), retain=True)
    controller.wait(
        "a plan in place of a desired", lambda: sum(e.reason == "bad_signature" for e in controller.heard.events) > 1
    )
    assert {report.gen for report in controller.heard.reports} == {5}
    assert controller.heard.reports[-1].active == GOOD.ref.digest


def test_hold_and_remove(start: Start, controller: LoneController, tmp_path: Path) -> None:
    agent = start()
    controller.desired(1, GOOD)
    controller.state(State.COMMITTED, 1)
    controller.desired(2, action="hold")
    assert controller.state(State.HELD, 2).active == GOOD.ref.digest
    assert agent.children()
    controller.desired(3, action="remove")
    assert controller.state(State.REMOVED, 3).active is None
    controller.wait("no children", lambda: not agent.children())
    assert list((tmp_path / "state" / "artifacts").iterdir()) == []


def test_a_missing_engine_is_incompatible(start: Start, controller: LoneController) -> None:
    start(engines_allowed=["litert"])
    controller.desired(1, GOOD)
    report = controller.state(State.INCOMPATIBLE, 1)
    assert report.error is not None
    assert report.error.code == "engine_missing"


def test_a_plan_is_measured_once_and_sent_until_acknowledged(start: Start, controller: LoneController) -> None:
    agent = start()
    controller.desired(1, GOOD)
    controller.state(State.COMMITTED, 1)
    controller.plan(Plan.model_validate(_plan_fields(1, ("t-good", GOOD, "onnxruntime"), ("t-none", BETTER, "none"))))
    record = controller.wait("a record", lambda: controller.heard.record("t-good"))
    assert record.outcome == "measured", record.error
    assert record.bundle == GOOD.ref.digest
    assert sum(replicate.total_ns.count for replicate in record.replicates) >= 90
    assert record.serving_lost_s > 0
    absent = controller.wait("the other record", lambda: controller.heard.record("t-none"))
    assert absent.outcome == "incompatible"
    agent.kill()
    controller.heard.parts.clear()
    again = start()
    resent = controller.wait("the record, sent again", lambda: controller.heard.record("t-good"))
    assert resent == record
    controller.acknowledge("t-good", "t-none")
    outbox = again.state_dir / "outbox"
    controller.wait("an empty outbox", lambda: not list(outbox.iterdir()))


@pytest.mark.long
def test_an_agent_that_starts_before_its_broker_serves_and_connects_later(
    start: Start, controller: LoneController, broker: EmbeddedBroker
) -> None:
    agent = start()
    controller.desired(1, GOOD)
    controller.state(State.COMMITTED, 1)
    agent.stop()
    broker.stop()
    again = start()
    controller.wait("a worker without a broker", lambda: again.children())
    assert "no broker answers" in again.log()
    broker.start()
    seen = len(controller.heard.reports)
    controller.wait("a report", lambda: len(controller.heard.reports) > seen)
    assert controller.heard.reports[-1].active == GOOD.ref.digest


def test_wrong_credentials_are_named_and_right_ones_connect(
    start: Start, tmp_path: Path, controller: LoneController
) -> None:
    with EmbeddedBroker(folder=tmp_path / "closed", logins={"barn": "secret"}) as closed:
        settings = {"port": closed.port, "username": "barn", "keepalive_s": 5}
        agent = start(broker=settings)
        controller.wait("a word about credentials", lambda: "broker.username" in agent.log())
        assert "connected to" not in agent.log()
        agent.stop()
        password = tmp_path / "password"
        password.write_text("secret\n")
        again = start(broker={**settings, "password_file": str(password)})
        controller.wait("a connection", lambda: "connected to" in again.log())


@pytest.mark.long
def test_status_tells_the_same_with_and_without_the_agent(start: Start, controller: LoneController) -> None:
    agent = start()
    controller.desired(1, GOOD)
    controller.state(State.COMMITTED, 1)
    running = yaml.safe_load(_agent_command("status", "--config", str(agent.config), "--json"))
    assert running["running"] is True
    assert running["workloads"][0]["state"] == "committed"
    again = [sys.executable, "-m", "agent", "run", "--config", str(agent.config)]
    second = subprocess.run(again, capture_output=True, timeout=60, check=False)
    assert second.returncode == 9
    agent.stop()
    stopped = yaml.safe_load(_agent_command("status", "--config", str(agent.config), "--json"))
    assert stopped["running"] is False
    assert stopped["workloads"] == running["workloads"]


def _agent_command(*arguments: str) -> str:
    command = [sys.executable, "-m", "agent", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ, timeout=60).stdout


def _plan_fields(plan_gen: int, *trials: tuple[str, Packed, str]) -> dict[str, Any]:
    now_s = time.time()
    requests = [
        TrialRequest(
            trial=name,
            workload="main",
            bundle=bundle.ref,
            variant=name,
            format="onnx",
            engine=engine,
            grade="quick",
            group="g",
        )
        for name, bundle, engine in trials
    ]
    return {
        "fleet": FLEET,
        "device": DEVICE,
        "plan_gen": plan_gen,
        "epoch": 1,
        "trials": requests,
        "policy": PlanPolicy(),
        "issued_s": now_s,
        "expires_s": now_s + 3600,
    }
