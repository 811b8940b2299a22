"""A fleet on this host for one search: broker, workspace, and one of the demo's devices a class, in one folder.

Decides: that every search begins with devices that know nothing, and that made files are shared by all of them: a
pass that ran once gives the same file again. Leaves out: what is searched (`arms.py`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from benchmarks.common import repository
from benchmarks.compression.fleet.rules import Rules
from controller.broker.embedded import EmbeddedBroker
from controller.config.fleet_file import load_fleet
from controller.demo.agents import Agents, Connection, write_configs
from controller.demo.run import warm
from controller.deploy.fleet_files import FoundFleet
from controller.keys import create_key
from controller.models.folder import ModelFolder
from controller.models.importing import ImportRequest, import_model
from controller.workspace import Workspace

TRIALS = {"devices_per_class": 1, "policy": "pause", "repeats": 2, "timeout_s": 1200.0}


@dataclass(frozen=True)
class Site:
    """A fleet that is up."""

    workspace: Workspace
    found: FoundFleet


@contextmanager
def site(folder: Path, shared: Path, rules: Rules) -> Iterator[Site]:
    """Yield a fleet; its devices end with the block. What the folder holds of a run that was stopped is gone on with.

    Args:
        folder: Of this search.
        shared: Of made files and samples.
        rules: Say which devices there are.
    """
    workspace = Workspace(folder / "workspace")
    _prepare(workspace, shared, rules.model)
    warm(folder)
    key = create_key(workspace.keys)
    with EmbeddedBroker(0, folder / "broker") as broker:
        found = _fleet_file(folder, broker.port, rules)
        configs = write_configs(
            folder, Connection(found.fleet_file.fleet, broker.host, broker.port, dict(key.trusted_keys))
        )
        with Agents({device: configs[device] for device in rules.classes.values()}):
            yield Site(workspace, found)


def _prepare(workspace: Workspace, shared: Path, model: str) -> None:
    workspace.root.mkdir(parents=True, exist_ok=True)
    for place in (workspace.cache, workspace.datasets):
        (shared / place.name).mkdir(parents=True, exist_ok=True)
        if not place.exists():
            place.symlink_to(shared / place.name, target_is_directory=True)
    workspace.create()
    import_model(ImportRequest(repository() / "models" / model), workspace.models)


def _fleet_file(folder: Path, port: int, rules: Rules) -> FoundFleet:
    """Write the demo's fleet with the comparison's classes and trials."""
    shipped = yaml.safe_load((repository() / "configs" / "fleets" / "farm-sensors.yaml").read_text(encoding="utf-8"))
    classes = [each for each in shipped["classes"] if each["name"] in rules.classes]
    model = ModelFolder.load(repository() / "models" / rules.model)
    limit = "max_r2_drop" if model.kind == "regression" else "max_accuracy_drop_ratio"
    goals = {limit: rules.max_drop / 100, "minimise": ["p50_ms", "wire_bytes"]}
    workload = {"model": f"{rules.model}@1", "goals": goals, "trials": {**TRIALS, "grade": rules.grade}}
    document = {
        "version": 1,
        "fleet": shipped["fleet"],
        "broker": {"host": "127.0.0.1", "port": port},
        "classes": classes,
        "workloads": {"main": workload},
    }
    path = folder / f"{shipped['fleet']}.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return FoundFleet(path, load_fleet(path))
