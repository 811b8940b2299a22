"""This host's side of the deploy to the emulated device: workspace, broker, controller.

    python -m tests.device.arm64_site token FOLDER      a new workspace; prints a claim token for the device
    python -m tests.device.arm64_site configure FOLDER  adds to the configuration that was installed: emulated
    python -m tests.device.arm64_site deploy FOLDER     starts the installed agent in FOLDER's root and deploys to it

Decides: that the deploy ends well and the device itself says that it serves what was chosen. Leaves out: installing the
agent (`arm64.sh`). The choice is by size: no speed of an emulator decides anything.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from controller.broker.embedded import EmbeddedBroker, free_port

MODEL = Path(__file__).resolve().parents[2] / "models" / "soil_carbon"
"""Small enough for an emulator: it is answered hundreds of times while it is measured."""

RECIPES = ("int8-u8s8-percentile", "tflite-float", "tflite-int8-static")
FLEET, DEVICE = "emulated", "emulated-arm64"
CONFIG = "/etc/thresher/agent.yaml"
AGENT = "/opt/thresher/current/bin/agent"
BESIDES = {"emulated": True, "labels": {"board": DEVICE}, "metrics_interval_s": 2.0}
"""What the configuration says besides: every output must call this device emulated."""

GENEROUS_S = {"deadline_s": 900, "silence_s": 300}
START_S, STOP_S, DEPLOY_S = 120.0, 60.0, 1800.0
"""Patience with an emulator on a busy host."""


def main(arguments: Sequence[str]) -> int:
    """Make a token or deploy; return the exit code."""
    what, folder = arguments
    site = Site(Path(folder))
    if what == "token":
        print(site.token())
    elif what == "configure":
        site.configure()
    else:
        return site.deploy()
    return 0


class Site:
    """The workspace in FOLDER/site, and the device in FOLDER/root."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._place = folder / "site"
        self._file = self._place / f"{FLEET}.yaml"

    def token(self) -> str:
        """Make the site anew and return a claim token for the device."""
        shutil.rmtree(self._place, ignore_errors=True)
        self._place.mkdir(parents=True)
        port = free_port()
        self._file.write_text(yaml.safe_dump(fleet_document(port), sort_keys=False))
        self._controller("init")
        enrolled = self._controller("fleet", "enrol", FLEET, "--device", DEVICE, "--config", str(self._file), "--json")
        return str(json.loads(enrolled)["token"])

    def configure(self) -> None:
        """Add to the configuration that `agent install` wrote, as somebody with an editor would."""
        path = self._folder / "root" / CONFIG.lstrip("/")
        path.write_text(path.read_text() + yaml.safe_dump(BESIDES))

    def deploy(self) -> int:
        """Deploy to the device while its agent runs; print what came of it."""
        port = yaml.safe_load(self._file.read_text())["broker"]["port"]
        with EmbeddedBroker(port, self._place / "broker"), self._agent():
            self._controller("deploy", "--fleet", FLEET, "--config", str(self._file), "--yes")
            report = json.loads(self._controller("report", "latest", "--json"))
            shown = json.loads(self._controller("fleet", "show", FLEET, "--config", str(self._file), "--json"))
            status = self._status()
        return _judged(report, shown["devices"], status)

    @contextmanager
    def _agent(self) -> Iterator[None]:
        """Run the agent. It is asked to end by its own process id: the emulator would only be killed."""
        with (self._folder / "logs" / "agent.log").open("wb") as log:
            command = [str(self._folder / "enter"), AGENT, "run", "--config", CONFIG]
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            try:
                deadline = time.monotonic() + START_S
                while not self._status()["running"]:
                    if process.poll() is not None or time.monotonic() > deadline:
                        raise SystemExit(f"the agent does not run; see {log.name}")
                yield
                os.kill(self._status()["pid"], signal.SIGTERM)
                if code := process.wait(STOP_S):
                    raise SystemExit(f"the agent was asked to end and ended with {code}; see {log.name}")
            finally:
                process.send_signal(signal.SIGQUIT)  # proot's word for ending itself and all that it emulates
                process.wait()

    def _status(self) -> dict[str, Any]:
        command = [str(self._folder / "enter"), AGENT, "status", "--config", CONFIG, "--json"]
        found: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        return found

    def _controller(self, *arguments: str) -> str:
        """Run a command of the controller and return what it printed.

        Its progress goes to a log of its own: it tells how fast the device was, which nobody should read here.
        """
        command = [sys.executable, "-m", "controller", "--workspace", str(self._place / "workspace"), *arguments]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=DEPLOY_S)
        with (self._folder / "logs" / "controller.log").open("a") as log:
            print("$ controller", *arguments, done.stderr, sep="\n", file=log)
        if done.returncode:
            errors = [line for line in done.stderr.splitlines() if line.startswith("error")]
            raise SystemExit(
                "\n".join([f"controller {arguments[0]} ended with {done.returncode}; see {log.name}", *errors])
            )
        return done.stdout


def fleet_document(port: int) -> dict[str, Any]:
    """Return the fleet file: one class of one device, a small model, variants for both engines."""
    workload = {
        "model": str(MODEL),
        "recipes": list(RECIPES),
        "goals": {"max_r2_drop": 0.05, "minimise": ["wire_bytes"]},
        "trials": {"grade": "quick", "devices_per_class": 1, "most_variants": 3},
        "rollout": {"waves": [{"ratio": 1.0}], "soak_s": 6, "probation_s": 2, **GENEROUS_S},
    }
    return {
        "version": 1,
        "fleet": FLEET,
        "broker": {"host": "127.0.0.1", "port": port},
        "classes": [{"name": "arm64", "match": {"labels": {"board": DEVICE}}}],
        "workloads": {"main": workload},
    }


def _judged(report: dict[str, Any], devices: Sequence[dict[str, Any]], status: dict[str, Any]) -> int:
    """Tell what came of the deploy; return 0 where the controller and the device both say that it went all its way."""
    (choice,), (attested,), (device,), (local,) = report["choices"], report["attested"], devices, status["workloads"]
    (serving,) = device["workloads"]
    facts = device["inventory"]
    outcomes = {trial["variant"]: trial["outcome"] for trial in report["trials"]}
    chosen = next((row["bundle"] for row in choice["measured"] if row["variant"] == choice["variant"]), None)
    is_expected = {
        f"{facts['machine']}, {', '.join(facts['engines'])}": facts["machine"] == "aarch64",
        f"enrolled: {device['enrolled']}; emulated: {device['emulated']}": device["enrolled"] and device["emulated"],
        f"measured there: {', '.join(f'{name} ({end})' for name, end in sorted(outcomes.items()))}": (
            len(outcomes) == len(RECIPES) + 1 and set(outcomes.values()) == {"measured"}
        ),
        f"chosen by size: {choice['variant']}; serves it: {attested['as_chosen']}": attested["as_chosen"],
        f"the device: {local['state']}, {(local['active'] or 'nothing')[:12]}": (
            local["state"] == "committed" and local["active"] == chosen
        ),
        f"answered there: {serving['queries']} queries, {serving['errors']} errors": (
            serving["queries"] > 0 and serving["errors"] == 0
        ),
    }
    for text, is_well in is_expected.items():
        print(f"| {text}" + ("" if is_well else "   <- this is wrong"))
    return 0 if all(is_expected.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
