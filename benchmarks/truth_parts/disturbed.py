"""Disturbances that are put in on purpose, and whether the product's processes say so.

A busy neighbour on the same core; a worker that is stopped and let go again (a duty cycle by signals); a CPU quota, by
the product's own cgroup, where this host lets us make one.
"""

import contextlib
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import psutil

from agent.config import WorkersConfig
from benchmarks.common import Claim, at_least, not_measured
from benchmarks.truth_parts.bundles import write_blocks
from benchmarks.truth_parts.product import Product, pinned
from benchmarks.truth_parts.worker import MODULE
from wire.trial import Replicate

STOPPED_S, RUNNING_S = 0.02, 0.08
"""A fifth of the time."""

POLL_S = 0.02
QUOTA_RATIO = 0.5
EXPECTED = {
    "busy neighbour": {"disturbed"},
    "stopped for a fifth of the time": {"disturbed", "stalled"},
    "CPU quota of half a core": {"disturbed", "quota_throttled"},
}
"""What is put in -> the flags of which one must be there."""


def disturbed_claims(product: Product, folder: Path) -> list[Claim]:
    """Return a claim for each disturbance: all processes that it met are flagged."""
    bundle = write_blocks(folder / "disturbed", "disturbed")
    quiet = _take(product, bundle)
    with neighbour():
        beside = _take(product, bundle)
    with duty_cycle():
        stopped = _take(product, bundle)
    claims = [flagged_claim(name, found, quiet) for name, found in zip(EXPECTED, (beside, stopped), strict=False)]
    return [*claims, _quota(product, bundle, quiet)]


def _quota(product: Product, bundle: Path, quiet: Sequence[Replicate]) -> Claim:
    name = list(EXPECTED)[-1]
    held = replace(product, workers=WorkersConfig(cpu_quota_ratio=QUOTA_RATIO))
    found = _take(held, bundle)
    if all((each.conditions.get("cpu_quota_cores") or 1.0) > QUOTA_RATIO for each in found):
        return not_measured(_title(name), "of 1", ">= 1", "this host lets us make no cgroup with a CPU quota")
    return flagged_claim(name, found, quiet)


def flagged_claim(name: str, found: Sequence[Replicate], quiet: Sequence[Replicate]) -> Claim:
    """Return the claim that every disturbed process has a flag that says so, and more of them than undisturbed ones."""
    share = flagged_ratio(found, EXPECTED[name])
    flags = Counter(flag for each in found for flag in each.flags)
    without = flagged_ratio(quiet, EXPECTED[name])
    if 0 < share <= without:
        why = f"{without:.0%} of {len(quiet)} undisturbed processes were flagged as well: this host is not quiet"
        return not_measured(_title(name), "of 1", ">= 1", why)
    listed = ", ".join(f"{flag} {count}" for flag, count in sorted(flags.items())) or "none"
    how = f"flags of {len(found)} processes: {listed}; without it {without:.0%} of {len(quiet)} had one of those wanted"
    return at_least(_title(name), share, 1.0, "of 1", how)


def flagged_ratio(replicates: Sequence[Replicate], wanted: set[str]) -> float:
    """Return the share of processes with one of the flags."""
    return sum(not wanted.isdisjoint(each.flags) for each in replicates) / len(replicates)


def _title(name: str) -> str:
    return f"{name}, processes flagged"


def _take(product: Product, bundle: Path) -> list[Replicate]:
    (one,), _ = product.together(bundle, replicates=3, repeats_disturbed=False)
    return one.replicates


@contextlib.contextmanager
def neighbour() -> Iterator[None]:
    """Keep the core that is measured on busy."""
    with pinned():
        busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        busy.kill()
        busy.wait()


@contextlib.contextmanager
def duty_cycle() -> Iterator[None]:
    """Stop and let go every worker that is started meanwhile."""
    done = threading.Event()
    thread = threading.Thread(target=_stop_and_go, args=(done,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _stop_and_go(done: threading.Event) -> None:
    ourselves = psutil.Process(os.getpid())
    while not done.wait(POLL_S):
        for worker in ourselves.children():
            with contextlib.suppress(psutil.Error):  # it ended while it was looked at
                if MODULE in worker.cmdline():
                    _hold(worker, done)


def _hold(worker: psutil.Process, done: threading.Event) -> None:
    """Stop it again and again until it ends."""
    while worker.is_running() and not done.is_set():
        worker.suspend()
        done.wait(STOPPED_S)
        worker.resume()
        done.wait(RUNNING_S)
