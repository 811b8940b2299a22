"""A device that serves an int8 model: all three of its processes, how soon it is there, and what it writes while idle.

Idle means connected and serving at the default rate, with the default interval of telemetry, while nothing is deployed.
"""

import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.common import MEGABYTE, Claim, at_most, not_measured
from benchmarks.footprint_parts.bundles import Int8Bundle
from benchmarks.footprint_parts.disk import folder_bytes
from benchmarks.footprint_parts.processes import look, memory_claims, written_bytes
from benchmarks.footprint_parts.running import GATEWAY, WORKER, Device, device

CONTROL_MB, GATEWAY_MB = 50, 40
WORKER_MB = {"onnxruntime": 100, "litert": 80}
MOST_WRITTEN_MB = 20
SLOWEST_ONLINE_S = 2.0
LARGEST_STATE_MB = 5
DAY_S = 86400
WRITTEN = "a device's processes, written to the disk in an idle day"


def serving_claims(bundle: Int8Bundle, cache: Path, look_s: float, idle_s: float = 0.0) -> list[Claim]:
    """Run an agent that serves `bundle`, and return the claims on its processes.

    Args:
        bundle: What it serves.
        cache: Warm kernels.
        look_s: How long memory is looked at [s].
        idle_s: How long writes are counted; 0: not at all [s].
    Raises:
        AssertionError: It did not come to serve.
    """
    settings: dict[str, Any] = {"cache_dir": str(cache), "metrics_interval_s": 60.0, "serve": {}}
    with device(bundle.packed, **settings) as agent:
        agent.commit(1, bundle.packed)
        pids = {"control process": agent.pid, "gateway": agent.child(GATEWAY), "worker": agent.child(WORKER)}
        readings = look(list(pids.values()), look_s)
        written = idle_claims(agent, pids, idle_s) if idle_s else []
    limits = (CONTROL_MB, GATEWAY_MB, WORKER_MB[bundle.engine])
    state = f"while {bundle.engine} serves an int8 model of {bundle.model_bytes / MEGABYTE:.2f} MB at 2 queries/s"
    claims = []
    for name, limit_mb, seen in zip(pids, limits, readings, strict=True):
        claims += memory_claims(f"{name}, {bundle.engine} int8", state, limit_mb, seen)
    return [*claims, *written]


def idle_claims(agent: Device, pids: dict[str, int], seconds: float) -> list[Claim]:
    """Return the claims on what wears the device's card while nothing changes, and on how much lies there."""
    start = {name: written_bytes(pid) for name, pid in pids.items()}
    if not any(start.values()):
        return [not_measured(WRITTEN, "MB", f"<= {MOST_WRITTEN_MB}", "the kernel counts no writes on this disk")]
    time.sleep(seconds)
    grown = {name: written_bytes(pid) - start[name] for name, pid in pids.items()}
    state_mb = folder_bytes(agent.folder / "state") / MEGABYTE
    how = "everything below state_dir after one deploy: the bundle, saved states, identity"
    return [
        written_claim(grown, seconds, sum(start.values())),
        at_most("state folder after a deploy", state_mb, LARGEST_STATE_MB, "MB", how),
    ]


def written_claim(grown: dict[str, int], seconds: float, before: int) -> Claim:
    """Return the claim on a day, from what each process wrote in `seconds` [bytes]."""
    each = ", ".join(f"{name} {count / 1000:.0f} kB" for name, count in grown.items())
    how = f"write_bytes of /proc/PID/io over {seconds:g} s ({each}), times {DAY_S / seconds:.0f}; "
    how += f"{before / 1000:.0f} kB were written to get here"
    return at_most(WRITTEN, sum(grown.values()) * DAY_S / seconds / MEGABYTE, MOST_WRITTEN_MB, "MB", how)


def online_claim(cache: Path, starts: int) -> Claim:
    """Return the claim on the time from the agent's spawn to the controller's hearing of it."""
    seconds = [_online_s(cache) for _ in range(starts)]
    how = f"median of {starts} starts with a fresh state folder ({_listed(seconds)}), "
    how += "kernels warm, spawn to presence at the broker"
    return at_most("agent's start to online", statistics.median(seconds), SLOWEST_ONLINE_S, "s", how)


def _online_s(cache: Path) -> float:
    with device(cache_dir=str(cache)) as agent:
        agent.controller.wait(
            "the first presence", lambda: any(each.online for each in agent.controller.heard.presence)
        )
        return time.monotonic() - agent.started_s


def _listed(seconds: Sequence[float]) -> str:
    return ", ".join(f"{each:.2f}" for each in seconds)
