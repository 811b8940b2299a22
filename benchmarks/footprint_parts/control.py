"""The agent's control process: idle, serving a tiny model, and after a bundle of 40 MB.

What it loaded stands in `/proc/PID/maps`: numpy, numba and the engines cannot be loaded without their shared objects
standing there.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from benchmarks.common import MEGABYTE, Claim, at_most
from benchmarks.footprint_parts.processes import Reading, heavy_objects, look, memory_claims
from benchmarks.footprint_parts.running import device
from tests.e2e.lone_controller import tiny_bundle

LARGEST_MB = 50
LARGEST_GROWTH_MB = 4
BALLAST_BYTES = 40 * MEGABYTE
CHUNK_BYTES = 64 * 1024

NAME = "agent's control process"
LOADED = "heavy packages loaded by the control process"
GROWTH = "agent's control process, growth by a bundle of 40 MB, RSS"


def control_process(cache: Path, idle_s: float) -> list[Claim]:
    """Start an agent, look at it idle, serving and after a large download, and return the claims.

    Raises:
        AssertionError: It did not get where it was to be looked at.
    """
    small, large = tiny_bundle(1.0), tiny_bundle(2.0, ballast=os.urandom(BALLAST_BYTES), chunk_bytes=CHUNK_BYTES)
    with device(small, large, cache_dir=str(cache)) as agent:
        agent.controller.wait("the first presence", lambda: agent.controller.heard.presence)
        (idle,) = look([agent.pid], idle_s)
        agent.commit(1, small)
        (serving,) = look([agent.pid], idle_s)
        loaded = heavy_objects(agent.pid)
        agent.commit(2, large)
        (after,) = look([agent.pid], idle_s)
    state = "connected, a bundle was committed and its worker serves"
    return [
        *memory_claims(f"{NAME}, idle", "connected, no workload", LARGEST_MB, idle),
        *memory_claims(f"{NAME}, serving", state, LARGEST_MB, serving),
        growth_claim(serving, after),
        at_most(LOADED, len(loaded), 0, "packages", f"shared objects in /proc/PID/maps: {', '.join(loaded) or 'none'}"),
    ]


def growth_claim(before: Sequence[Reading], after: Sequence[Reading]) -> Claim:
    """Return the claim that a large download leaves little behind; how high memory rose meanwhile is no part of it."""
    grown = max(each.rss for each in after) - max(each.rss for each in before)
    how = f"largest RSS after a bundle of {BALLAST_BYTES // MEGABYTE} MB was fetched and committed, less that before"
    return at_most(GROWTH, grown / MEGABYTE, LARGEST_GROWTH_MB, "MB", how)
