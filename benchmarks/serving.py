"""What serving adds to a model, and whether a switch of models is felt by the applications that ask.

Real processes throughout: the agent with its gateway and its sandboxed workers, a real broker (the embedded one), the
reference model in static int8, an application that asks over the Unix socket at a fixed rate and counts latency from
the moment a query was due. The worker's own overhead is measured on the worker alone, against the bare pipeline.

    python -m benchmarks.serving --quick
"""

import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.common import Claim, at_most, not_measured, run
from benchmarks.footprint_parts.bundles import Int8Bundle, int8_bundles
from benchmarks.footprint_parts.running import GATEWAY
from benchmarks.load.client import Asked
from benchmarks.load.cpu import cpu_ns
from benchmarks.load.overhead import Block, pairs, pipeline, worker
from benchmarks.load.site import (
    CONNECTIONS,
    Change,
    Running,
    deploy,
    lost,
    quantile_ms,
    raw_body,
    renamed,
    serving,
    warm,
)

ENGINE = "onnxruntime"
OVERHEAD_RATE_HZ = 100.0
RATE_HZ = 200.0
LARGEST_OVERHEAD_RATIO = 0.05
LARGEST_P99_RATIO = 3.0
BLOCK_S = 1.0
WARM_UP_S = 2.0
LONGEST_S = 3600.0
CALM_S = 3.0
"""Between two switches, so that there is as much of the one as of the other."""
AFTERWARDS_S = 1.0
"""How long after the new bundle's first answer a query still counts to the switch."""
FAILED = (AssertionError, OSError, ValueError, subprocess.SubprocessError)

OVERHEAD = "worker's own work over its pipeline, 100 queries/s"
WRITTEN = "worker's own work and the answer's writing, 100 queries/s"
PROCESSOR = "worker's processor time over the bare pipeline, 100 queries/s"
LOST = "queries lost by switches under 200 queries/s"
ONE_WORKER = LOST + ", stop-then-start"
P99 = "p99 during switches over steady p99, 200 queries/s"


def measure(quick: bool) -> list[Claim]:
    """Return the claims on the worker's overhead, on switches, and on the way over the socket."""
    with tempfile.TemporaryDirectory(prefix="thresher-serving-") as name:
        folder = Path(name)
        cache = warm(folder / "kernels")
        bundle = int8_bundles(folder / "made")[ENGINE]
        place = (bundle, cache, folder)
        return [
            *_or_not_measured(OVERHEAD, "ratio", "<= 0.05", lambda: overhead(*place, 30 if quick else 150)),
            *_or_not_measured(LOST, "queries", "<= 0", lambda: overlap(*place, 5 if quick else 15)),
            *_or_not_measured(ONE_WORKER, "queries", "<= 0", lambda: one_after_the_other(*place, 3 if quick else 6)),
        ]


def overhead(bundle: Int8Bundle, cache: Path, folder: Path, count: int) -> list[Claim]:
    """Return the claims on what the worker adds to its pipeline, in time and in processor time."""
    with worker(bundle, raw_body(bundle), cache, folder) as served, pipeline(bundle, cache) as bare:
        pairs(served, bare, OVERHEAD_RATE_HZ, 1.0, 1)
        found = pairs(served, bare, OVERHEAD_RATE_HZ, BLOCK_S, count)
    bare_ns, own_ns = (median(pair[side].pipeline_ns for pair in found) for side in (1, 0))
    blocks = f"{count} blocks of {BLOCK_S:g} s"
    return [
        _own(OVERHEAD, found, "made_ns", f"query's last byte to answer, less its pipeline, {blocks}"),
        _written(found, blocks),
        _processor(found),
        informative(
            "pipeline in the worker over the bare one",
            median(served.pipeline_ns / bare.pipeline_ns - 1 for served, bare in found),
            "ratio",
            f"{own_ns / 1e3:.0f} us against {bare_ns / 1e3:.0f} us, {blocks} of each in turns",
        ),
    ]


def _own(name: str, found: Sequence[tuple[Block, Block]], field: str, what: str) -> Claim:
    """Return the claim that the worker's own part of a query is small, measured beside the pipeline's in one query."""
    ratios = sorted(getattr(served, field) / served.pipeline_ns for served, _ in found)
    own_us = median(getattr(served, field) for served, _ in found) / 1e3
    how = f"{own_us:.0f} us of its own; {what} ({ratios[0]:.3f} to {ratios[-1]:.3f})"
    return at_most(name, median(ratios), LARGEST_OVERHEAD_RATIO, "ratio", how)


def _written(found: Sequence[tuple[Block, Block]], blocks: str) -> Claim:
    """Return what the answer's writing adds: the kernel wakes the reader and may let it run first. No goal of ours."""
    ratio = median(served.written_ns / served.pipeline_ns for served, _ in found)
    own_us = median(served.written_ns for served, _ in found) / 1e3
    how = f"{own_us:.0f} us; the same with the system call that wakes the reader, which may run first, {blocks}"
    return informative(WRITTEN, ratio, "ratio", how)


def _processor(found: Sequence[tuple[Block, Block]]) -> Claim:
    """Return the claim on processor time: the median over pairs of blocks in turns."""
    ratios = sorted(served.cpu_ns / bare.cpu_ns - 1 for served, bare in found)
    served_us, bare_us = (median(pair[side].cpu_ns for pair in found) / 1e3 for side in (0, 1))
    how = (
        f"{served_us:.0f} us against {bare_us:.0f} us a query, the kernel's count, waiting and waking included; "
        f"{len(ratios)} pairs of blocks in turns ({ratios[0]:.3f} to {ratios[-1]:.3f})"
    )
    return at_most(PROCESSOR, median(ratios), LARGEST_OVERHEAD_RATIO, "ratio", how)


def overlap(bundle: Int8Bundle, cache: Path, folder: Path, switches: int) -> list[Claim]:
    """Return the claims on switches with two workers, and on the way over the socket while nothing changes."""
    seen = under_load(bundle, cache, folder, switches)
    with pipeline(bundle, cache) as bare:
        taken_ms = sorted(each / 1e6 for each in bare.times(RATE_HZ, CALM_S)[0][50:])
    return [*switch_claims("", seen), *socket_claims(seen, taken_ms)]


def one_after_the_other(bundle: Int8Bundle, cache: Path, folder: Path, switches: int) -> list[Claim]:
    """Return the claims on switches where memory holds one worker: the old one ends before the new one starts."""
    whole = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal:"))
    seen = under_load(bundle, cache, folder, switches, memory_cap_bytes=int(whole.split()[1]) * 1024)
    return switch_claims(", stop-then-start", seen)


def under_load(bundle: Int8Bundle, cache: Path, folder: Path, switches: int, **settings: Any) -> "Seen":
    """Ask at a fixed rate while the device changes from one bundle to the other and back, then as fast as one can."""
    both = [bundle.packed, renamed(bundle, "the-other")]
    body, changes = raw_body(bundle), []
    with serving(folder, cache, *both, **settings) as site:
        application = Running(folder, body, RATE_HZ, LONGEST_S, CONNECTIONS)
        time.sleep(WARM_UP_S)
        gateway, before_ns = site.child(GATEWAY), cpu_ns(site.child(GATEWAY))
        time.sleep(CALM_S)
        gateway_us = (cpu_ns(gateway) - before_ns) / 1e3 / (CALM_S * RATE_HZ)
        for number in range(switches):
            changes.append(deploy(site, number + 2, both[(number + 1) % 2]))
            time.sleep(CALM_S)
        asked = application.stop()
        one_by_one = Running(folder, body, 0, CALM_S, 1).wait()
    asked = [each for each in asked if each.due_s > asked[0].due_s + WARM_UP_S]
    return Seen(asked, changes, gateway_us, one_by_one)


@dataclass(frozen=True)
class Seen:
    """What became of the queries, when the deployments were, and processor time of the gateway for a query [us]."""

    asked: list[Asked]
    changes: list[Change]
    gateway_us: float
    one_by_one: list[Asked]

    @property
    def steady(self) -> list[Asked]:
        """Queries that were due while nothing was deployed."""
        return self._outside([(change.published_s, change.settled_s + AFTERWARDS_S) for change in self.changes])

    @property
    def during(self) -> list[Asked]:
        """Queries that were due while workers changed over, or shortly after."""
        return self._within([(change.changing_s, self._answered_s(change) + AFTERWARDS_S) for change in self.changes])

    @property
    def before(self) -> list[Asked]:
        """Queries that were due while a bundle was fetched and tested."""
        return self._within([(change.published_s, change.changing_s) for change in self.changes])

    def _answered_s(self, change: Change) -> float:
        """Return when the new bundle answered first."""
        late = [each for each in self.asked if each.due_s >= change.published_s and each.said == change.digest]
        return min((each.due_s + each.latency_s for each in late), default=change.settled_s)

    def _within(self, windows: Sequence[tuple[float, float]]) -> list[Asked]:
        return [each for each in self.asked if any(start <= each.due_s <= end for start, end in windows)]

    def _outside(self, windows: Sequence[tuple[float, float]]) -> list[Asked]:
        return [each for each in self.asked if not any(start <= each.due_s <= end for start, end in windows)]


def switch_claims(kind: str, seen: Seen) -> list[Claim]:
    """Return the claims on losses and on the 99th percentile."""
    steady, during, gone = seen.steady, seen.during, lost(seen.asked)
    apart = f"{len(seen.changes)} switches, {len(during)} queries during them, {len(steady)} while nothing was deployed"
    p99_ms, steady_ms = quantile_ms(during, 0.99), quantile_ms(steady, 0.99)
    longest_ms, testing_ms = quantile_ms(during, 1.0), quantile_ms(seen.before, 0.99)
    how = (
        f"{p99_ms:.1f} ms against {steady_ms:.1f} ms, longest {longest_ms:.0f} ms, from when a query was due; "
        f"{testing_ms:.1f} ms while bundles were fetched and tested; {apart}"
    )
    answered = f"of {len(seen.asked)} asked, {gone or 'all answered with 200'}; {apart}"
    none_lost = at_most(LOST + kind, sum(gone.values()), 0, "queries", answered)
    if kind:  # a gap is what one worker after the other means
        return [none_lost, informative(P99 + kind, p99_ms / steady_ms, "ratio", how)]
    return [none_lost, at_most(P99, p99_ms / steady_ms, LARGEST_P99_RATIO, "ratio", how)]


def socket_claims(seen: Seen, bare_ms: Sequence[float]) -> list[Claim]:
    """Return what the way over the socket takes, beside a call of the pipeline; they have no goal."""
    p50_ms, p99_ms = (quantile_ms(seen.steady, fraction) for fraction in (0.5, 0.99))
    bare_p99_ms = bare_ms[-(-len(bare_ms) * 99 // 100) - 1]
    late_ms = sorted(each.late_s for each in seen.steady)[len(seen.steady) // 2] * 1e3
    how = (
        f"call of the pipeline in process, paced the same: {{}} ms; the application sent {late_ms:.2f} ms late (median)"
    )
    each_s = [each.latency_s for each in seen.one_by_one if each.status == 200]
    return [
        informative("over the socket at 200 queries/s, p50", p50_ms, "ms", how.format(f"{median(bare_ms):.2f}")),
        informative("over the socket at 200 queries/s, p99", p99_ms, "ms", how.format(f"{bare_p99_ms:.2f}")),
        informative("gateway's processor time a query", seen.gateway_us, "us", "the kernel's count, at 200 queries/s"),
        informative("one connection, one query after the other", len(each_s) / sum(each_s), "1/s", f"{CALM_S:g} s"),
    ]


def informative(name: str, value: float, unit: str, how: str) -> Claim:
    """Return a number without a goal."""
    return Claim(name, round(value, 4), unit, "none", True, how)


def _or_not_measured(name: str, unit: str, goal: str, measured: Callable[[], list[Claim]]) -> list[Claim]:
    try:
        return measured()
    except FAILED as exc:
        return [not_measured(name, unit, goal, f"{type(exc).__name__}: {exc}")]


if __name__ == "__main__":
    run("serving", measure)
