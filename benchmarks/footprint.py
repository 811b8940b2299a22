"""What the agent takes on a small board: memory of its three processes, disk, wear, and how fast things start.

Real processes are looked at from outside: an `agent run` against a real broker (the embedded one) that serves a tiny
model, then the reference model in int8 on each engine; and a worker alone, started as the agent starts it. Models are
made here by the shipped recipes. What is measured how stands in `footprint_parts`, a module each.

    python -m benchmarks.footprint --quick
"""

import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from agent.warm import warm
from benchmarks.common import (
    Claim,
    below,
    child_environment,
    command_line,
    median_seconds,
    not_measured,
    repository,
    run,
)
from benchmarks.footprint_parts.bundles import Int8Bundle, int8_bundles
from benchmarks.footprint_parts.control import control_process
from benchmarks.footprint_parts.disk import disk_claims
from benchmarks.footprint_parts.serving import online_claim, serving_claims
from benchmarks.footprint_parts.worker_start import form_claims, start_claim

SLOWEST_HELP_S = 0.3
HELP_STARTS = 10
WORKER_STARTS = 10


def measure(quick: bool) -> list[Claim]:
    """Return all claims: memory, start, disk and wear."""
    look_s, idle_s = (5.0, 60.0) if quick else (30.0, 600.0)
    with tempfile.TemporaryDirectory(prefix="thresher-footprint-") as name:
        cache = Path(name) / "cache"
        warm(cache)
        claims = attempt("agent's control process", lambda: control_process(cache, look_s))
        claims += attempt("an int8 model", lambda: int8_claims(Path(name), cache, look_s, idle_s))
        claims += attempt("agent's start to online", lambda: [online_claim(cache, 3)])
    return [*claims, *disk_claims(), *(help_time(name) for name in ("agent", "controller"))]


def int8_claims(folder: Path, cache: Path, look_s: float, idle_s: float) -> list[Claim]:
    """Return the claims on serving the reference model in int8; writes are counted for the first engine alone."""
    claims: list[Claim] = []
    for place, bundle in enumerate(int8_bundles(folder).values()):
        claims += attempt(bundle.engine, _serving(bundle, cache, look_s, idle_s if place == 0 else 0.0))
        claims += attempt(f"worker's first prediction, {bundle.engine}", _starting(bundle, cache))
        if place == 0:
            claims += attempt("forms of kernels", _forms(bundle, cache))
    return claims


def attempt(name: str, part: Callable[[], Sequence[Claim]]) -> list[Claim]:
    """Return a part's claims, or one that says why there are none."""
    try:
        return list(part())
    except (AssertionError, OSError, subprocess.SubprocessError) as exc:
        return [not_measured(name, "", "as measured", f"{type(exc).__name__}: {exc}")]


def _serving(bundle: Int8Bundle, cache: Path, look_s: float, idle_s: float) -> Callable[[], Sequence[Claim]]:
    return lambda: serving_claims(bundle, cache, look_s, idle_s)


def _starting(bundle: Int8Bundle, cache: Path) -> Callable[[], Sequence[Claim]]:
    return lambda: [start_claim(bundle, cache, WORKER_STARTS)]


def _forms(bundle: Int8Bundle, cache: Path) -> Callable[[], Sequence[Claim]]:
    return lambda: form_claims(bundle, cache)


def help_time(name: str) -> Claim:
    """Return the claim on how fast `NAME --help` answers."""
    command = [*command_line(name), "--help"]

    def start() -> None:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=child_environment(), cwd=repository())

    start()  # the first one may compile the modules
    seconds = median_seconds(start, HELP_STARTS)
    how = f"median of {HELP_STARTS} starts of {' '.join(Path(part).name for part in command)}"
    return below(f"{name} --help", seconds, SLOWEST_HELP_S, "s", how)


if __name__ == "__main__":
    run("footprint", measure)
