"""How little the agent's control process takes, and how fast the command lines answer.

A real `agent run` is started against a real broker (the embedded one) and looked at from outside: idle, serving a tiny
model, and after a bundle of 40 MB. Its memory stands in `/proc/PID/smaps_rollup`, what it loaded in `/proc/PID/maps`
(numpy, numba and the engines cannot be loaded without their shared objects standing there), what it wrote to the disk
in `/proc/PID/io`. PSS divides a page by the processes that share it, so other Python programs on this host make it
smaller; RSS is what a device sees that runs nothing else.

    python -m benchmarks.footprint --quick
"""

import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

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
from tests.e2e.lone_controller import LoneController, Packed, agent_document, tiny_bundle
from wire.device_state import State

LARGEST_MB = 50
LARGEST_GROWTH_MB = 4
MOST_WRITTEN_KB = 64
SLOWEST_HELP_S = 0.3
HEAVY = ("numpy", "numba", "llvmlite", "onnxruntime", "ai_edge_litert", "tflite_runtime", "scipy", "cryptography")
BALLAST_BYTES = 40 * MEGABYTE
CHUNK_BYTES = 64 * 1024
SETTLE_S = 3.0
HELP_STARTS = 10

LOADED = "heavy packages loaded by the control process"
GROWTH = "agent's control process, growth by a bundle of 40 MB, RSS"
WRITTEN = "agent's control process while serving, written to the disk"


@dataclass(frozen=True)
class Reading:
    """One look at the process [bytes]."""

    pss: int
    rss: int


def measure(quick: bool) -> list[Claim]:
    """Return the claims on memory, on the disk, and on the time of `--help`."""
    try:
        claims = control_process(idle_s=5.0 if quick else 30.0, written_s=15.0 if quick else 60.0)
    except (AssertionError, OSError) as exc:
        claims = [not_measured("agent's control process", "MB", f"<= {LARGEST_MB}", f"{type(exc).__name__}: {exc}")]
    return [*claims, *(help_time(name) for name in ("agent", "controller"))]


def control_process(idle_s: float, written_s: float) -> list[Claim]:
    """Start an agent, look at it idle, serving and after a large download, and return the claims.

    Raises:
        AssertionError: It did not get where it was to be looked at.
    """
    small, large = tiny_bundle(1.0), tiny_bundle(2.0, ballast=os.urandom(BALLAST_BYTES), chunk_bytes=CHUNK_BYTES)
    with (
        tempfile.TemporaryDirectory(prefix="thresher-footprint-") as folder,
        EmbeddedBroker(folder=Path(folder) / "broker") as broker,
        controlling(broker.port, small, large) as controller,
        agent(Path(folder), broker.port, controller) as process,
    ):
        controller.wait("the first metrics", lambda: controller.heard.metrics)
        idle = look(process.pid, idle_s)
        commit(controller, 1, small)
        serving = look(process.pid, idle_s)
        written = written_claim(process.pid, written_s)
        loaded = heavy_objects(process.pid)
        commit(controller, 2, large)
        after = look(process.pid, idle_s)
    return [
        *memory_claims("idle", "connected, no workload", idle),
        *memory_claims("serving", "connected, a bundle was committed and its worker serves", serving),
        growth_claim(serving, after),
        written,
        at_most(LOADED, len(loaded), 0, "packages", f"shared objects in /proc/PID/maps: {', '.join(loaded) or 'none'}"),
    ]


def commit(controller: LoneController, gen: int, bundle: Packed) -> None:
    """Have the device run `bundle`, and wait until it has settled."""
    controller.desired(gen, bundle)
    controller.state(State.COMMITTED, gen)
    time.sleep(SETTLE_S)


def look(pid: int, seconds: float) -> list[Reading]:
    """Return readings of a process twice a second, one at least."""
    readings: list[Reading] = []
    deadline = time.monotonic() + seconds
    while not readings or time.monotonic() < deadline:
        readings.append(memory_of(pid))
        time.sleep(0.5)
    return readings


def memory_claims(when: str, state: str, readings: Sequence[Reading]) -> list[Claim]:
    """Return the claims on PSS and RSS, each by its largest reading."""
    pss, rss = max(each.pss for each in readings), max(each.rss for each in readings)
    how = f"largest of {len(readings)} readings of smaps_rollup, {state}"
    alone = f"what a device that runs nothing else would see; {rss / 2**20:.1f} MiB"
    name = f"agent's control process, {when}"
    return [
        at_most(f"{name}, PSS", pss / MEGABYTE, LARGEST_MB, "MB", how),
        at_most(f"{name}, RSS", rss / MEGABYTE, LARGEST_MB, "MB", f"{how}; {alone}"),
    ]


def growth_claim(before: Sequence[Reading], after: Sequence[Reading]) -> Claim:
    """Return the claim that a large download leaves little behind; how high memory rose meanwhile is no part of it."""
    grown = max(each.rss for each in after) - max(each.rss for each in before)
    how = f"largest RSS after a bundle of {BALLAST_BYTES // MEGABYTE} MB was fetched and committed, less that before"
    return at_most(GROWTH, grown / MEGABYTE, LARGEST_GROWTH_MB, "MB", how)


def written_claim(pid: int, seconds: float) -> Claim:
    """Return the claim on what wears the device's card while nothing changes."""
    start = written_bytes(pid)
    if start == 0:
        return not_measured(WRITTEN, "kB/min", f"<= {MOST_WRITTEN_KB}", "the kernel counts no writes on this disk")
    time.sleep(seconds)
    each_minute = (written_bytes(pid) - start) * 60 / seconds
    how = f"write_bytes of /proc/PID/io over {seconds:g} s; {start / 1000:.0f} kB were written to get here"
    return at_most(WRITTEN, each_minute / 1000, MOST_WRITTEN_KB, "kB/min", how)


def help_time(name: str) -> Claim:
    """Return the claim on how fast `NAME --help` answers."""
    command = [*command_line(name), "--help"]

    def start() -> None:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=child_environment(), cwd=repository())

    start()  # the first one may compile the modules
    seconds = median_seconds(start, HELP_STARTS)
    how = f"median of {HELP_STARTS} starts of {' '.join(Path(part).name for part in command)}"
    return below(f"{name} --help", seconds, SLOWEST_HELP_S, "s", how)


def memory_of(pid: int) -> Reading:
    """Return what a process takes now."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = {key: int(size) * 1024 for key, size in re.findall(r"^(Pss|Rss):\s+(\d+) kB", text, flags=re.MULTILINE)}
    return Reading(found["Pss"], found["Rss"])


def written_bytes(pid: int) -> int:
    """Return what a process has sent to the disk since its start [bytes]."""
    found = re.search(r"^write_bytes: (\d+)$", Path(f"/proc/{pid}/io").read_text(), flags=re.MULTILINE)
    return int(found[1]) if found is not None else 0


def heavy_objects(pid: int) -> list[str]:
    """Return the heavy packages of which a shared object is mapped."""
    maps = Path(f"/proc/{pid}/maps").read_text()
    return [name for name in HEAVY if re.search(rf"/{name}[/.]", maps)]


@contextmanager
def controlling(port: int, *bundles: Packed) -> Iterator[LoneController]:
    """Command one device, and listen to it."""
    controller = LoneController(port, *bundles)
    try:
        yield controller
    finally:
        controller.close()


@contextmanager
def agent(folder: Path, port: int, controller: LoneController) -> Iterator[subprocess.Popen[bytes]]:
    """Run an agent with a state folder of its own; it is ended by SIGTERM."""
    config = folder / "agent.yaml"
    config.write_text(yaml.safe_dump(agent_document(port, folder, controller)))
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


if __name__ == "__main__":
    run("footprint", measure)
