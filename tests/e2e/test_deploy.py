"""`controller deploy` as it is typed: killed, interrupted, carried by `serve`, refused, steered; on two workloads.

The tests of this file share one fleet and build on one another, in order: a fleet lives through all of this, too.
"""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.convert.environments.places import environment as environment_of
from controller.leadership import current_leader
from controller.store.database import Store
from tests.e2e.world import ROOT, World, environment
from wire.device_state import State

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

FLEET = "barn"
RECIPES = ("float32", "int8-u8s8-percentile")
PATIENCE_S = 240.0
"""Other tests run beside these."""


class Site:
    """A fleet of two devices with its fleet file, and the command line."""

    patience_s = PATIENCE_S

    def __init__(self, world: World) -> None:
        self.world = world
        self._started: list[subprocess.Popen[str]] = []
        self.file = world.folder / "barn.yaml"
        self.write({"max_accuracy_drop_ratio": 0.025, "minimise": ["p50_ms", "wire_bytes"]})

    def write(self, goals: dict[str, Any], recipes: Sequence[str] = RECIPES, **rollout: Any) -> None:
        """Write the fleet file; other goals or recipes make another deployment."""
        trials = {"grade": "quick", "devices_per_class": 1, "most_variants": 2}
        steps = {"waves": [{"devices": 1}, {"ratio": 1.0}], "soak_s": 1, "probation_s": 1, "deadline_s": 120, **rollout}
        main = {"model": str(ROOT / "models" / "leaf_outline"), "recipes": list(recipes), "goals": goals}
        soil = {"model": str(ROOT / "models" / "soil_carbon"), "recipes": list(recipes), "goals": {"max_r2_drop": 0.05}}
        document = {
            "version": 1,
            "fleet": FLEET,
            "broker": {"host": "127.0.0.1", "port": self.world.broker.port},
            "classes": [{"name": "small", "match": {"labels": {"board": "a"}}}],
            "workloads": {
                name: {**each, "trials": trials, "rollout": steps}
                for name, each in {"main": main, "soil": soil}.items()
            },
        }
        self.file.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start a command and return its process."""
        command = [sys.executable, "-m", "controller", "--workspace", str(self.world.workspace.root), *arguments]
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
            start_new_session=True,
            cwd=self.world.folder,
        )
        self._started.append(process)
        return process

    def stop(self) -> None:
        """End what a failed test has left running."""
        for process in self._started:
            if process.poll() is None:
                process.kill()
                process.communicate()

    def deploy(self, *arguments: str) -> "subprocess.Popen[str]":
        return self.start("deploy", "--fleet", FLEET, "--config", str(self.file), "--yes", *arguments)

    def run(self, *arguments: str, code: int = 0) -> str:
        """Run a command to its end; return its output, the errors with it where it failed as it should."""
        return self.ended(self.start(*arguments), code)

    def ended(self, process: "subprocess.Popen[str]", code: int = 0) -> str:
        out, err = process.communicate(timeout=self.patience_s)
        assert process.returncode == code, f"exit {process.returncode}, not {code}\n{out[-2000:]}\n{err[-2000:]}"
        return out if code == 0 else out + err

    def read(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--json"))

    def until(self, what: str, found: Callable[[], Any]) -> Any:
        """Ask the database until `found` answers."""
        deadline = time.monotonic() + PATIENCE_S
        while not (answer := found()):
            assert time.monotonic() < deadline, f"waited for {what}"
            time.sleep(0.2)
        return answer

    def led(self) -> bool:
        """Whether a process leads the workspace."""
        store = Store.open(self.world.workspace)
        try:
            return current_leader(store, time.time()) is not None
        finally:
            store.close()

    def newest(self) -> dict[str, Any]:
        report = self.read("report", "latest")
        deployment: dict[str, Any] = report["deployment"]
        return deployment

    def newest_choices(self) -> list[dict[str, Any]]:
        choices: list[dict[str, Any]] = self.read("report", "latest")["choices"]
        return choices

    def active(self, workload: str = "main") -> set[str | None]:
        return {self.world.watcher.last(device, workload).active for device in ("pi-1", "pi-2")}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, kernel_cache: Path) -> Iterator[Site]:
    with World(tmp_path_factory.mktemp("site"), kernel_cache, FLEET) as world:
        for device in ("pi-1", "pi-2"):
            world.agent(device, serve={"source": {"kind": "replay", "rate_hz": 1.0}})
        each = Site(world)
        yield each
        each.stop()


@pytest.fixture(scope="module")
def deployed(site: Site) -> Site:
    """The site with a bundle on both devices: the first test's, or one that is deployed here."""
    said = [site.world.watcher.of(device) for device in ("pi-1", "pi-2")]
    if any(not reports or reports[-1].active is None for reports in said):
        site.ended(site.deploy())
    return site


def started(site: Site) -> Callable[[], bool]:
    """Whether the first deploy has asked for its trials."""

    def asked() -> bool:
        process = site.start("trial", "list", "--json")
        out, _ = process.communicate(timeout=PATIENCE_S)
        assert process.returncode in (0, 4)  # 4: no deployment yet
        return process.returncode == 0 and bool(json.loads(out))

    return asked


def test_killed_while_measuring_it_goes_on_and_a_second_deploy_is_refused(site: Site) -> None:
    first = site.deploy()
    site.until("trials to be asked", started(site))
    second = site.ended(site.deploy("--model", str(ROOT / "models" / "soil_carbon")), 9)
    assert "deploy" in second
    asked = {trial["trial"] for trial in site.read("trial", "list")}
    name = site.newest()["id"]
    first.kill()
    first.wait()
    out = site.ended(site.deploy())
    assert name in out
    report = site.read("report", "latest")
    assert report["deployment"]["id"] == name
    assert {trial["trial"].partition(".")[0] for trial in report["trials"]} == asked
    assert [row["as_chosen"] for row in report["attested"]] == [True, True]
    (choice,) = report["choices"]
    (row,) = (row for row in choice["measured"] if row["variant"] == choice["variant"])
    assert row["bundle"] == choice["bundle"]
    assert row["samples"] > 0


@pytest.mark.long
def test_interrupted_in_a_wave_the_same_rollout_goes_on(deployed: Site) -> None:
    site = deployed
    site.write({"max_accuracy_drop_ratio": 0.025, "minimise": ["wire_bytes"]}, soak_s=6)
    process = site.deploy()
    site.until("a wave", lambda: any(row["state"] in ("offer", "soak") for row in site.read("rollout", "list")))
    (rollout,) = (row["rollout"] for row in site.read("rollout", "list") if row["state"] in ("offer", "soak"))
    process.send_signal(signal.SIGINT)
    said = site.ended(process, 130)
    assert "goes on" in said
    assert None not in site.active()
    site.ended(site.deploy())
    assert site.read("report", "latest")["deployment"]["rollout"]["id"] == rollout
    assert site.read("rollout", "show", rollout)["state"] == "completed"


@pytest.mark.long
def test_a_second_workload_of_another_kind_runs_beside_the_first(deployed: Site) -> None:
    site = deployed
    before = site.active()
    site.ended(site.deploy("--workload", "soil"))
    report = site.read("report", "latest")
    assert report["baseline"]["offline"]["metrics"]["r2"] > 0.8
    assert [row["as_chosen"] for row in report["attested"]] == [True, True]
    assert None not in site.active("soil")
    assert site.active() == before
    (choice,) = report["choices"]
    assert choice["because"]


@pytest.mark.long
def test_no_feasible_variant_names_the_tightest_limit_and_changes_nothing(deployed: Site) -> None:
    site = deployed
    before = site.active()
    site.write({"max_accuracy_drop_ratio": 0.025, "max_memory_bytes": 1_000_000, "minimise": ["p50_ms"]})
    said = site.ended(site.deploy(), 8)
    assert "max_memory_bytes" in said
    assert "times the limit" in said
    assert site.active() == before
    site.write({"max_accuracy_drop_ratio": 0.001, "minimise": ["p50_ms"]})
    said = site.ended(site.deploy(), 3)
    assert "1.23 points" in said  # what 242 samples can show


@pytest.mark.long
def test_a_limit_under_attack_takes_part_in_the_choice(deployed: Site) -> None:
    if environment_of("torch") is None:
        pytest.skip("attacks run in the converter environment `torch`: controller model converters install torch")
    site = deployed
    attack = {"max_attacked_drop_ratio": 0.9, "attack_epsilon": 0.05}
    site.write({"max_accuracy_drop_ratio": 0.025, "minimise": ["wire_bytes"], **attack})
    site.ended(site.deploy())
    (choice,) = site.newest_choices()
    under_attack = {row["variant"]: row["attacked"]["pgd_accuracy"] for row in choice["measured"]}
    plain = {row["variant"]: row["score"] for row in choice["measured"]}
    assert len(under_attack) == 2
    assert all(under_attack[name] < plain[name] for name in plain), "an attack that changes nothing is none"
    site.write(
        {"max_accuracy_drop_ratio": 0.025, "minimise": ["wire_bytes"], **attack, "max_attacked_drop_ratio": 1e-3}
    )
    assert "attacked samples" in site.ended(site.deploy(), 3)


@pytest.mark.long
def test_serve_carries_a_deploy_and_an_operator_pauses_resumes_and_takes_it_back(deployed: Site) -> None:
    site = deployed
    before = site.active()
    # The smallest is chosen whatever the speed, and is exact on every processor: another bundle in any case.
    smallest = {"max_accuracy_drop_ratio": 0.025, "minimise": ["wire_bytes"]}
    site.write(smallest, ["int8-u8u8-minmax"], soak_s=8)
    serve = site.start("serve", "--fleet", FLEET, "--config", str(site.file))
    try:
        site.until("serve to lead", site.led)
        process = site.deploy("--watch")
        site.until("a wave", lambda: rollouts_in(site, "soak"))
        (rollout,) = rollouts_in(site, "soak")
        site.run("rollout", "pause", rollout)
        site.until("the pause", lambda: rollouts_in(site, "paused"))
        site.run("rollout", "resume", rollout)
        site.ended(process)
        after = site.active()
        assert after != before
    finally:
        serve.terminate()
        serve.communicate(timeout=30)
    assert "rolled back" in site.run("rollout", "rollback", rollout)  # nobody leads now: the command does it itself
    assert site.active() == before
    assert all(site.world.watcher.last(device).state is State.COMMITTED for device in ("pi-1", "pi-2"))
    assert site.run("audit", "verify")


def rollouts_in(site: Site, state: str) -> list[str]:
    return [row["rollout"] for row in site.read("rollout", "list") if row["state"] == state]
