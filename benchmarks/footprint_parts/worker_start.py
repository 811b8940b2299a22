"""A serving worker alone, started as the agent starts it: how soon it answers, and what each form of kernels costs.

The time runs from the spawn to the first answer that the worker gives to a query which lay in its stdin before; caches
are warm. Phases come from a program of their own (`phases.py`), which does the same steps one by one.
"""

import contextlib
import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agent.child import Child, Command, spawn, worker_environment
from agent.inference.kept import DIGESTS_NAME, LIBRARY_NAME, OBJECT_NAME
from agent.inference.limits import kernel_folder
from agent.serve.orders import ServeOrder
from agent.warm import REPORT_NAME
from benchmarks.common import MEGABYTE, Claim, at_most, repository
from benchmarks.footprint_parts.bundles import Int8Bundle
from benchmarks.footprint_parts.processes import Reading, memory_of

SLOWEST_START_S = 0.5
PATIENCE_S = 60.0
QUERIES = 50
LACKING = {"library": (), "llvmlite": (LIBRARY_NAME,), "numba": (LIBRARY_NAME, OBJECT_NAME)}
"""Form of the kernels -> what the folder lacks so that a worker takes it."""
MOST_ADDED_MB = {"llvmlite": 60, "numba": 160}
FORM_STARTS = 3


@dataclass(frozen=True)
class Start:
    """One worker: spawn to first answer [s], what its kernels came from, and its memory after a few answers."""

    seconds: float
    form: str
    memory: Reading


def start_claim(bundle: Int8Bundle, cache: Path, starts: int) -> Claim:
    """Return the claim on the time from a worker's start to its first prediction."""
    measured = [start_worker(bundle, cache) for _ in range(starts)]
    seconds = [each.seconds for each in measured]
    spread = f"{min(seconds):.3f} to {max(seconds):.3f}"
    forms = "+".join(sorted({each.form for each in measured}))
    how = f"median of {starts} starts ({spread}), spawn to first answer, kernels by {forms}; {phases(bundle, cache)}"
    name = f"worker's first prediction, {bundle.engine} int8"
    return at_most(name, statistics.median(seconds), SLOWEST_START_S, "s", how)


def form_claims(bundle: Int8Bundle, cache: Path) -> list[Claim]:
    """Return what a worker takes more where its kernels cannot come from the library."""
    found = {form: _median_start(bundle, form_cache(cache, form)) for form in LACKING}
    claims = []
    for form, most in MOST_ADDED_MB.items():
        assert found[form].form == form, f"a worker without {LACKING[form]} took {found[form].form}"
        added = found[form].memory.rss - found["library"].memory.rss
        how = "; ".join(_form_text(name, start) for name, start in found.items())
        name = f"kernels by {form} instead of the library, {bundle.engine} int8, RSS"
        claims.append(at_most(name, added / MEGABYTE, most, "MB", how))
    return claims


def form_cache(cache: Path, form: str) -> Path:
    """Return a copy of a warm cache that lacks what a device without a linker, or without LLVM's objects, lacks."""
    copied = cache.with_name(f"{cache.name}-{form}")
    folder = kernel_folder(copied)
    shutil.copytree(kernel_folder(cache), folder)
    digests = (folder / DIGESTS_NAME).read_text().splitlines(keepends=True)
    (folder / DIGESTS_NAME).write_text("".join(line for line in digests if not line.strip().endswith(LACKING[form])))
    for name in LACKING[form]:
        (folder / name).unlink()
    report = json.loads((folder / REPORT_NAME).read_bytes())
    (folder / REPORT_NAME).write_text(json.dumps({**report, "form": form}))  # as a device finds that has no other
    return copied


def start_worker(bundle: Int8Bundle, cache: Path) -> Start:
    """Start a worker, have it answer, look at its memory, end it.

    Raises:
        AssertionError: It ended without an answer.
    """
    query = np.load(bundle.folder / "golden" / "inputs.npy", allow_pickle=False)[0].tolist()
    asked = json.dumps({"do": "infer", "id": 1, "query": query}).encode() + b"\n"
    with worker(bundle, cache) as (child, started_s):
        tell(child, asked)
        form = awaited(child, "ready").get("kernels", "unknown")
        awaited(child, "answer")
        seconds = time.perf_counter() - started_s
        for _ in range(QUERIES):
            tell(child, asked)
            awaited(child, "answer")
        return Start(seconds, form, memory_of(child.pid))


@contextlib.contextmanager
def worker(bundle: Int8Bundle, cache: Path) -> Iterator[tuple[Child, float]]:
    """Run a serving worker in its sandbox; yield it and when it was started (`perf_counter`)."""
    order = ServeOrder(bundle_dir=bundle.folder, cache_dir=cache)
    path = cache.with_name("order.json")
    path.write_text(order.model_dump_json(exclude_none=True))
    command = Command("agent.serve.worker", (str(path),), readable=(path, bundle.folder, cache))
    started_s = time.perf_counter()
    child = spawn(command, subprocess.DEVNULL)
    try:
        yield child, started_s
    finally:
        child.kill()
        child.wait()
        child.release()


def tell(child: Child, line: bytes) -> None:
    """Write a line to a worker's stdin."""
    assert child.process.stdin is not None
    child.process.stdin.write(line)
    child.process.stdin.flush()


def awaited(child: Child, event: str) -> dict[str, Any]:
    """Return the worker's next line of this kind.

    Raises:
        AssertionError: It ended, or says that something is wrong.
    """
    for line in child.lines():
        assert line.get("event") != "error", f"the worker says {line}"
        if line.get("event") == event:
            return dict(line)
    raise AssertionError(f"the worker ended without {event!r}")


def phases(bundle: Int8Bundle, cache: Path) -> str:
    """Return what each phase of a start takes, for people: medians of five processes [ms]."""
    runs = [_phases_once(bundle, cache) for _ in range(5)]
    medians = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    return ", ".join(f"{name} {spent_ms:.0f} ms" for name, spent_ms in medians.items())


def _phases_once(bundle: Int8Bundle, cache: Path) -> dict[str, float]:
    program = [sys.executable, "-m", "benchmarks.footprint_parts.phases", str(bundle.folder), str(cache)]
    environment = {**worker_environment(1), "PYTHONPATH": str(repository())}
    started = [*program, str(time.monotonic_ns())]
    ended = subprocess.run(started, env=environment, check=True, capture_output=True, timeout=PATIENCE_S)
    spent_ms: dict[str, float] = json.loads(ended.stdout)
    return spent_ms


def _median_start(bundle: Int8Bundle, cache: Path) -> Start:
    started: Sequence[Start] = [start_worker(bundle, cache) for _ in range(FORM_STARTS)]
    return sorted(started, key=lambda each: each.seconds)[FORM_STARTS // 2]


def _form_text(form: str, start: Start) -> str:
    pss_mb, rss_mb = start.memory.pss / MEGABYTE, start.memory.rss / MEGABYTE
    return f"{form}: PSS {pss_mb:.1f} MB, RSS {rss_mb:.1f} MB, first answer after {start.seconds:.2f} s"
