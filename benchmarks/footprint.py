"""How little the agent's control process takes, and how fast the command lines answer.

A real `agent run` is started against a real broker (the embedded one), waits for orders, and is looked at from
outside: its memory in `/proc/PID/smaps_rollup`, what it loaded in `/proc/PID/maps`. numpy, numba and the engines cannot
be loaded without their shared objects standing there. PSS divides a page by the processes that share it, so that other
Python programs on the host make it smaller: RSS is given beside it.

    python -m benchmarks.footprint --quick
"""

import base64
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from benchmarks.common import (
    MEGABYTE,
    Claim,
    at_most,
    below,
    child_environment,
    command_line,
    median_seconds,
    not_measured,
    repository,
    run,
)
from controller.broker.embedded import EmbeddedBroker
from wire.base import decode
from wire.telemetry import Metrics
from wire.topics import Topics

LARGEST_PSS_MB = 50
SLOWEST_HELP_S = 0.3
HEAVY = ("numpy", "numba", "llvmlite", "onnxruntime", "ai_edge_litert", "tflite_runtime", "scipy")
FLEET, DEVICE = "benchmark", "idle-1"
METRICS_INTERVAL_S = 1.0
START_TIMEOUT_S = 30.0
HELP_STARTS = 10

PSS = "agent's control process at idle, PSS"
LOADED = "heavy packages loaded by the control process"


def measure(quick: bool) -> list[Claim]:
    """Return the claims on memory and on the time of `--help`."""
    return [*control_process(idle_s=5.0 if quick else 30.0), *(help_time(name) for name in ("agent", "controller"))]


def control_process(idle_s: float) -> list[Claim]:
    """Start an agent, let it idle, and return the claims on its memory and on what it loaded."""
    with (
        tempfile.TemporaryDirectory(prefix="thresher-footprint-") as folder,
        EmbeddedBroker(folder=Path(folder) / "broker") as broker,
        listening(broker.port) as reports,
        agent(Path(folder), broker.port) as process,
    ):
        if not wait_for_metrics(reports, process):
            why = f"no metrics message within {START_TIMEOUT_S:g} s"
            return [not_measured(PSS, "MB", f"<= {LARGEST_PSS_MB}", why), not_measured(LOADED, "", "<= 0", why)]
        readings = list(read_for(process.pid, idle_s))
        return idle_claims(readings, heavy_objects(process.pid), reports, idle_s)


def read_for(pid: int, idle_s: float) -> Iterator[tuple[int, int]]:
    """Yield (PSS, RSS) of a process [bytes] twice a second, once at least."""
    deadline = time.monotonic() + idle_s
    while True:
        yield memory_of(pid)
        if time.monotonic() >= deadline:
            return
        time.sleep(0.5)


def idle_claims(
    readings: Sequence[tuple[int, int]], heavy: Sequence[str], reports: Sequence[Metrics], idle_s: float
) -> list[Claim]:
    """Return the claims from (PSS, RSS) readings [bytes] and the heavy packages found."""
    pss, rss = max(readings)
    own = max(report.agent_pss_bytes or 0 for report in reports) / MEGABYTE
    how = (
        f"largest of {len(readings)} readings of smaps_rollup in {idle_s:g} s, connected, no workload; "
        f"RSS {rss / MEGABYTE:.1f} MB; the agent's own metrics say {own:.1f} MB"
    )
    named = ", ".join(heavy) or "none of " + ", ".join(HEAVY)
    return [
        at_most(PSS, pss / MEGABYTE, LARGEST_PSS_MB, "MB", how),
        at_most(LOADED, len(heavy), 0, "packages", f"shared objects in /proc/PID/maps: {named}"),
    ]


def help_time(name: str) -> Claim:
    """Return the claim on how fast `NAME --help` answers."""
    command = [*command_line(name), "--help"]

    def start() -> None:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=child_environment(), cwd=repository())

    start()  # the first one may compile the modules
    seconds = median_seconds(start, HELP_STARTS)
    how = f"median of {HELP_STARTS} starts of {' '.join(Path(part).name for part in command)}"
    return below(f"{name} --help", seconds, SLOWEST_HELP_S, "s", how)


def memory_of(pid: int) -> tuple[int, int]:
    """Return (PSS, RSS) of a process [bytes]."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = {key: int(size) * 1024 for key, size in re.findall(r"^(Pss|Rss):\s+(\d+) kB", text, flags=re.MULTILINE)}
    return found["Pss"], found["Rss"]


def heavy_objects(pid: int) -> list[str]:
    """Return the heavy packages of which a shared object is mapped."""
    maps = Path(f"/proc/{pid}/maps").read_text()
    return [name for name in HEAVY if re.search(rf"/{name}[/.]", maps)]


@contextmanager
def agent(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run an agent with a state folder and a key of its own; it is ended by SIGTERM."""
    config = folder / "agent.yaml"
    config.write_text(yaml.safe_dump(configuration(folder, port)))
    with (folder / "agent.log").open("wb") as log:
        command = [*command_line("agent"), "run", "--config", str(config)]
        process = subprocess.Popen(command, stdout=log, stderr=log, env=child_environment(), cwd=folder)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def configuration(folder: Path, port: int) -> dict[str, object]:
    """Return the agent's configuration: a fleet that nobody commands."""
    public = Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return {
        "fleet": FLEET,
        "device": DEVICE,
        "broker": {"host": "127.0.0.1", "port": port},
        "state_dir": str(folder / "state"),
        "trusted_keys": {"benchmark": base64.b64encode(public).decode()},
        "metrics_interval_s": METRICS_INTERVAL_S,
    }


@contextmanager
def listening(port: int) -> Iterator[list[Metrics]]:
    """Collect the device's metrics: the sign that it is connected and past its start."""
    reports: list[Metrics] = []

    def hear(_client: Client, _context: object, message: MQTTMessage) -> None:
        reports.append(decode(Metrics, bytes(message.payload)))

    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    client.on_message = hear
    client.connect("127.0.0.1", port)
    client.subscribe(Topics(FLEET).metrics(DEVICE))
    client.loop_start()
    try:
        yield reports
    finally:
        client.disconnect()
        client.loop_stop()


def wait_for_metrics(reports: Sequence[Metrics], process: subprocess.Popen[bytes]) -> bool:
    """Return whether the agent reported within the time allowed."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while not reports and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    return bool(reports)


if __name__ == "__main__":
    run("footprint", measure)
