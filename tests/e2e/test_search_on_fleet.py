"""A search that a fleet drives, as it is typed: killed while its devices measure, it goes on and repeats nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.compress.search.record import read_record
from controller.deploy.planning.trial_plan import is_repeat
from controller.store import tables
from controller.store.database import Store
from tests.e2e.world import World, environment
from tests.unit.controller.compress.small_models import write_folder

pytestmark = [pytest.mark.e2e, pytest.mark.alone, pytest.mark.long, pytest.mark.timeout(900)]

FLEET, PATIENCE_S = "barn", 240.0
CLASSES = [
    {"name": "single", "match": {"labels": {"board": "a"}}},
    {"name": "empty", "match": {"labels": {"board": "z"}}},
]
RECIPES = ("int8-u8u8-minmax", "int8-u8s8-minmax")


class Yard:
    """One device, a fleet file with a class that has none, and the command line."""

    def __init__(self, world: World) -> None:
        self.world, self.file = world, world.folder / f"{FLEET}.yaml"
        trials = {"grade": "quick", "devices_per_class": 1, "policy": "coexist", "repeats": 1}
        workload = {
            "model": "small@1",
            "goals": {"max_accuracy_drop_ratio": 0.05, "minimise": ["p50_ms"]},
            "trials": trials,
        }
        document = {
            "version": 1, "fleet": FLEET, "broker": {"host": "127.0.0.1", "port": world.broker.port},
            "classes": CLASSES, "workloads": {"main": workload},
        }  # fmt: skip
        self.file.write_text(yaml.safe_dump(document, sort_keys=False))

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "controller", "--workspace", str(self.world.workspace.root), *arguments]

    def search(self, *more: str) -> "subprocess.Popen[str]":
        begin = [word for name in RECIPES for word in ("--recipe", name)]
        limits = ["--variants", "2", "--budget", "5m", "--max-drop", "5", "--folds", "1", "--device-minutes", "6"]
        fleet = ["--fleet", FLEET, "--config", str(self.file)]
        return subprocess.Popen(
            self.command("model", "compress", "small", "--auto", *begin, *limits, *fleet, *more),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
            start_new_session=True,
        )  # fmt: skip

    def trials(self) -> dict[str, tuple[str, bool, str]]:
        """Return trial -> variant, whether it is a control, stage."""
        store = Store.open(self.world.workspace)
        try:
            with store.read() as session:
                rows = session.query(tables.Trial).all()
                return {row.trial: (row.variant, row.control, row.stage) for row in rows}
        finally:
            store.close()

    def until(self, what: str, found: Callable[[], Any]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not found():
            assert time.monotonic() < deadline, f"waited for {what}"
            time.sleep(0.2)


@pytest.fixture
def yard(tmp_path: Path, kernel_cache: Path) -> Iterator[Yard]:
    with World(tmp_path, kernel_cache, FLEET) as world:
        world.agent("pi-1", labels={"board": "a"}, serve={"source": {"kind": "replay", "rate_hz": 1.0}})
        found = Yard(world)
        folder = write_folder(tmp_path / "small")
        subprocess.run(found.command("model", "import", str(folder)), check=True, capture_output=True)
        yield found


def test_a_search_killed_while_devices_measure_goes_on_and_repeats_neither_pass_nor_trial(yard: Yard) -> None:
    first = yard.search("--json")
    yard.until("trials to be asked", lambda: any(not control for _, control, _ in yard.trials().values()))
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    asked = set(yard.trials())

    out, err = yard.search("--json").communicate(timeout=PATIENCE_S * 2)
    part = json.loads(out)["fleet"]
    known = yard.trials()
    assert asked <= set(known), err
    measured = Counter(variant for name, (variant, control, _) in known.items() if not (control or is_repeat(name)))
    assert max(measured.values()) == 1, "a variant was asked of the device twice"
    assert {stage for _, _, stage in known.values()} == {"received"}
    assert part["classes"]["single"]["measured"] == 2
    assert part["classes"]["single"]["devices"] == ["pi-1"]
    assert part["classes"]["empty"]["pick"] is None
    assert "no device of the class" in str(part["classes"]["empty"]["not_measured"])
    assert 0 < part["minutes_spent"] <= 6
    made = [line["key"] for path in yard.world.workspace.searches.glob("*/cache.jsonl") for line in read_record(path)
            if not line["hit"]]  # fmt: skip
    assert max(Counter(made).values()) == 1, "a pass was run twice"

    again = json.loads(yard.search("--json").communicate(timeout=PATIENCE_S)[0])["fleet"]
    assert set(yard.trials()) == set(known), "a search that was over asked again"
    assert again["classes"]["single"]["measured"] == part["classes"]["single"]["measured"]


def test_what_it_would_cost_is_said_and_nothing_is_asked(yard: Yard) -> None:
    out, err = yard.search("--dry-run").communicate(timeout=PATIENCE_S)
    assert "class single: 0 devices, 0 online" in out, err  # nobody has listened to the broker yet
    assert "asks for at most 6 device-minutes" in out
    assert "devices go on serving meanwhile" in out
    assert yard.trials() == {}
