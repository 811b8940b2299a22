"""The demo's run: everything that a deploy needs is set up in one folder, then the ordinary deploy happens.

Decides: the set-up. Leaves out: the deploy itself, which is the one of `controller deploy`; nothing in it knows that it
is a demo.
"""

import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from controller.broker.embedded import EmbeddedBroker
from controller.config.fleet_file import load_fleet
from controller.demo.agents import DEVICES, Agents, Connection, environment, kernel_cache, write_configs
from controller.deploy.fleet_files import FoundFleet, broker_settings
from controller.deploy.pipeline import run_deploy
from controller.deploy.progress import Progress
from controller.deploy.request import request_deploy
from controller.deploy.settings import read_settings
from controller.errors import ConfigurationError, NoDevice, UnusableModel
from controller.keys import create_key
from controller.report.write import ReportFiles, write_report
from controller.service import Service
from controller.store.database import Store
from controller.workspace import Workspace

ONLINE_TIMEOUT_S = 60.0
WARM_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class DemoPlan:
    """Where the demo lives and what it deploys. `keep`: stay until interrupted, with broker and agents running."""

    workspace: Workspace
    folder: Path
    fleet_file: Path
    models: Path
    port: int = 0
    keep: bool = False


@dataclass(frozen=True)
class DemoResult:
    """How it ended: the deployment, its last stage, its report, and how long it took after the set-up [s]."""

    deployment: str
    stage: str
    files: ReportFiles
    wall_s: float


def run_demo(plan: DemoPlan, progress: Progress, when_kept: Callable[[FoundFleet, Service], None]) -> DemoResult:
    """Set up, deploy, and end every process that was started.

    Args:
        plan: Where and what.
        progress: Told of every step.
        when_kept: With `plan.keep`: called once the deploy is done; the fleet lives until it returns.
    Raises:
        ControllerError: As `run_deploy`; whatever was started is stopped.
    """
    model = set_up(plan, progress)
    started = time.monotonic()
    with EmbeddedBroker(plan.port, plan.folder / "broker") as broker:
        found = place_fleet_file(plan, broker.port)
        key = create_key(plan.workspace.keys)
        configs = write_configs(
            plan.folder, Connection(found.fleet_file.fleet, broker.host, broker.port, key.trusted_keys)
        )
        settings = read_settings(found, "main", model, plan.workspace)
        began_s = time.time()
        with Agents(configs) as agents, _service(plan, found) as service:
            progress.say(f"broker on {broker.host}:{broker.port}, {len(configs)} agents started: {', '.join(configs)}")
            _wait_online(service, found.fleet_file.fleet, agents, began_s)
            request = request_deploy(service.store, settings, time.time())
            stage = run_deploy(service, request.deployment, progress)
            files = write_report(service.store, plan.workspace, _reported(service.store, request.deployment))
            wall_s = time.monotonic() - started
            if plan.keep:
                when_kept(found, service)
            agents.stop()
    return DemoResult(files.json.parent.name, stage, files, wall_s)


def set_up(plan: DemoPlan, progress: Progress) -> str | None:
    """Make what lasts from run to run: workspace, model, compiled kernels.

    Returns:
        None where the workspace has the model; else its folder, which is deployed as it lies: another content of the
        same version was imported before, and stays as it was.
    """
    from controller.models.importing import ImportRequest, import_model

    plan.workspace.create()
    create_key(plan.workspace.keys)
    plan.folder.mkdir(parents=True, exist_ok=True)
    folder = plan.models / "leaf_outline"
    try:
        import_model(ImportRequest(folder), plan.workspace.models)
        model = None
    except UnusableModel as exc:
        progress.say(f"{exc}; deploying {folder}")
        model = str(folder)
    progress.say("compiling the agents' kernels, unless they are")
    warm(plan.folder)
    return model


def warm(folder: Path) -> None:
    """Compile the kernels of pre- and post-processing, unless `agent warm` has done so at installation.

    Raises:
        ConfigurationError: It failed; the text holds its last line.
    """
    done = subprocess.run(
        [sys.executable, "-m", "agent", "warm", "--cache-dir", str(kernel_cache())],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=WARM_TIMEOUT_S,
        check=False,
    )
    (folder / "warm.log").write_text(done.stdout + done.stderr, encoding="utf-8")
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise ConfigurationError(f"`agent warm` ended with {done.returncode}: {last} (log: {folder / 'warm.log'})")


def place_fleet_file(plan: DemoPlan, port: int) -> FoundFleet:
    """Copy the fleet file into the demo's folder with the broker's port in it, and read it.

    Raises:
        ConfigurationError: The file is malformed, or says nothing of a broker on one line.
    """
    text, count = re.subn(
        r"(?m)^broker:.*$", f"broker: {{host: 127.0.0.1, port: {port}}}", plan.fleet_file.read_text(encoding="utf-8")
    )
    if count != 1:
        raise ConfigurationError(f"{plan.fleet_file}: the demo needs `broker: {{…}}` on one line")
    path = plan.folder / plan.fleet_file.name
    path.write_text(text, encoding="utf-8")
    return FoundFleet(path, load_fleet(path))


def _service(plan: DemoPlan, found: FoundFleet) -> Service:
    return Service(plan.workspace, broker_settings(found, {}), [found.fleet_file.fleet])


def _wait_online(service: Service, fleet: str, agents: Agents, since_s: float) -> None:
    def there() -> set[str]:
        return {
            view.device
            for view in service.devices(fleet)
            if view.online and view.last_seen_s >= since_s and view.inventory
        }

    service.wait_for_devices(fleet, lambda _: there() >= set(DEVICES) or bool(agents.ended()), ONLINE_TIMEOUT_S)
    if missing := sorted(set(DEVICES) - there()):
        ended = ", ".join(f"{device} ended with {code}" for device, code in agents.ended().items())
        raise NoDevice(
            f"agents {', '.join(missing)} did not come online ({ended or 'still starting'}): see their agent.log"
        )


def _reported(store: Store, deployment: str) -> str:
    """Return the deployment whose report tells what runs: the earlier one where the fleet was up to date."""
    from controller.store import deployments

    with store.read() as session:
        row = deployments.get(session, deployment)
        return str((row.result or {}).get("same_as", deployment))
