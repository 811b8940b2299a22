"""ExecuTorch from the deploy to the answers: converted, measured by the device, chosen, switched to, and gone back to.

The agent runs in an environment of its own that has ExecuTorch and no other engine; the controller has none, and runs
programs in its converter environment. The tests build on one another, in order.
"""

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import yaml

from agent.warm import ensure_warm
from controller.convert.environments import environment as converter
from controller.models.folder import ModelFolder
from tests.e2e.test_deploy import Site
from tests.e2e.test_engine_environments import executorch_environment
from tests.e2e.world import ROOT, AgentProcess, World, environment
from wire.device_state import State
from wire.telemetry import WorkloadMetrics

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.alone, pytest.mark.timeout(1800)]

FLEET, DEVICE = "yard", "pi-1"


class Yard(Site):
    """One device with ExecuTorch alone, and the command line. The model's folder is a copy: it gets conversions."""

    patience_s = 900.0  # a first conversion takes minutes

    def __init__(self, world: World, agent: AgentProcess) -> None:
        self.agent = agent
        self.model = world.folder / "leaf_outline"
        shutil.copytree(ROOT / "models/leaf_outline", self.model, ignore=shutil.ignore_patterns("conversions"))
        super().__init__(world)
        self.file = world.folder / "yard.yaml"

    def write(self, goals: dict[str, Any], recipes: Sequence[str] = (), **rollout: Any) -> None:
        main = {
            "model": str(self.model),
            "recipes": list(recipes),
            "goals": goals,
            "trials": {"grade": "quick", "devices_per_class": 1},
            "rollout": {"waves": [{"ratio": 1.0}], "soak_s": 1, "probation_s": 1, "deadline_s": 120, **rollout},
        }
        document = {
            "version": 1,
            "fleet": FLEET,
            "broker": {"host": "127.0.0.1", "port": self.world.broker.port},
            "classes": [{"name": "boards", "match": {"engines": ["executorch"]}}],
            "workloads": {"main": main},
        }
        self.file.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")

    def deploy(self, *arguments: str) -> "subprocess.Popen[str]":
        return self.start("deploy", "--fleet", FLEET, "--config", str(self.file), *arguments)

    def answering(self, bundle: str, after: int = 0) -> WorkloadMetrics:
        """Wait until the device has told of answers of a bundle, in metrics later than the first `after`."""

        def told() -> WorkloadMetrics | None:
            found = (each for metrics in self.world.watcher.metrics[after:] for each in metrics.workloads)
            return next((each for each in found if each.active == bundle and each.answered), None)

        metrics: WorkloadMetrics = self.world.watcher.wait(f"answers of {bundle[:12]}", told)
        return metrics


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    if converter("torch") is None:
        pytest.skip("the converter environment torch is not installed: controller model converters install torch")
    folder = tmp_path_factory.mktemp("yard")
    python, cache = executorch_environment(folder), folder / "cache"
    kernels = ensure_warm()
    shutil.copytree(kernels, cache / "kernels" / kernels.name)
    warm = [str(python), "-m", "agent", "warm", "--cache-dir", str(cache)]  # compiles the bridge
    subprocess.run(warm, env=environment(), check=True, capture_output=True, timeout=900)
    with World(folder / "world", cache, FLEET) as world:
        serve = {"source": {"kind": "replay", "rate_hz": 5.0}}
        each = Yard(world, world.agent(DEVICE, python=python, engines_allowed=["executorch"], serve=serve))
        yield each
        each.stop()


def test_it_is_converted_measured_chosen_and_served(yard: Yard) -> None:
    recipes = ("float32", "tflite-float", "executorch-float", "executorch-int8")
    yard.write({"max_accuracy_drop_ratio": 0.03, "minimise": ["wire_bytes"]}, recipes)
    said = yard.ended(yard.deploy("--yes"))
    assert "not made: onnx-float32: no device has the engine onnxruntime" in said
    report = yard.read("report", "latest")
    rows = {row["variant"]: row for row in report["variants"]}
    assert set(rows) == {"baseline", "executorch-float", "executorch-int8"}
    assert any("converter environment torch" in note for note in rows["executorch-int8"]["offline"]["notes"])
    (choice,) = report["choices"]
    assert choice["variant"] == "executorch-int8"
    measured = {row["variant"]: row for row in choice["measured"]}
    assert set(measured) == {"executorch-float", "executorch-int8"}
    assert measured["executorch-float"]["control"]
    for row in measured.values():
        assert row["p50_ms"] > 0
        assert row["score"] > 0.8
        assert row["peak_memory_bytes"] < 150 * 2**20  # torch alone takes twice as much
    assert {kept.conversion.name for kept in ModelFolder.load(yard.model).conversions()} == {
        "executorch-float",
        "executorch-int8",
    }
    assert yard.world.watcher.last(DEVICE).active == choice["bundle"]
    metrics = yard.answering(choice["bundle"])
    assert metrics.queries > 0
    assert yard.agent.worker_of(choice["bundle"]) is not None


def test_the_same_again_changes_nothing(yard: Yard) -> None:
    """The conversions that the first deploy made do not make it another deploy."""
    assert "the fleet is up to date" in yard.ended(yard.deploy("--yes"))


def test_a_bundle_that_dies_in_probation_is_taken_back_to_executorch(yard: Yard) -> None:
    watcher, before = yard.world.watcher, yard.world.watcher.last(DEVICE)
    yard.write({"max_accuracy_drop_ratio": 0.03, "minimise": ["wire_bytes"]}, ("executorch-float",), probation_s=30)
    deploy = yard.deploy("--yes")
    offered = watcher.wait("a bundle in probation", lambda: in_probation(yard, before.gen), timeout_s=yard.patience_s)
    worker = watcher.wait("its worker", lambda: yard.agent.worker_of(offered))
    worker.kill()
    ended = watcher.ended(DEVICE, before.gen + 1)
    assert (ended.state, ended.active) == (State.ROLLED_BACK, before.active)
    assert offered in ended.quarantined
    assert "rolled back" in yard.ended(deploy, 10)
    assert before.active is not None
    yard.answering(before.active, after=len(watcher.metrics))
    assert yard.agent.worker_of(before.active) is not None


def in_probation(yard: Yard, gen: int) -> str | None:
    found = (each for each in yard.world.watcher.of(DEVICE) if each.gen > gen and each.state is State.PROBATION)
    return next((each.desired for each in found), None)
