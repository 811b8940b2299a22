"""What all benchmarks share: a claim, the conditions beside it, and how both are printed.

Decides: the output's contract. With `--json` one object goes to stdout, `{"benchmark", "conditions", "claims"}`, each
claim with `name, value, unit, goal, holds, how`; without it a table. `--quick` ends within five minutes. A goal that
was not reached is printed as such and does not change the exit code. Leaves out: what is measured.

    if __name__ == "__main__":
        run("footprint", measure)
"""

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

PACKAGES = (
    "ai-edge-litert",
    "kaldi-native-fbank",
    "librosa",
    "llvmlite",
    "numba",
    "numpy",
    "onnxruntime",
    "opencv-python-headless",
    "paho-mqtt",
    "pillow",
    "pydantic",
    "scipy",
    "thresher",
)
MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Claim:
    """A number that this run measured, held against its goal."""

    name: str
    value: float | None
    """Null where it could not be measured; such a claim does not hold, and `how` says why."""
    unit: str
    goal: str
    holds: bool
    how: str


def at_most(name: str, value: float, limit: float, unit: str, how: str) -> Claim:
    """Return the claim that `value` is `limit` or less."""
    return Claim(name, round(value, 4), unit, f"<= {limit:g}", value <= limit, how)


def below(name: str, value: float, limit: float, unit: str, how: str) -> Claim:
    """Return the claim that `value` is less than `limit`."""
    return Claim(name, round(value, 4), unit, f"< {limit:g}", value < limit, how)


def at_least(name: str, value: float, limit: float, unit: str, how: str) -> Claim:
    """Return the claim that `value` is `limit` or more."""
    return Claim(name, round(value, 4), unit, f">= {limit:g}", value >= limit, how)


def not_measured(name: str, unit: str, goal: str, why: str) -> Claim:
    """Return a claim that fails because it could not be measured: a goal is never left out."""
    return Claim(name, None, unit, goal, False, f"not measured: {why}")


def conditions() -> dict[str, object]:
    """Return what the numbers depend on: host, processor, load, versions."""
    return {
        "host": platform.node(),
        "processor": processor(),
        "machine": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_1m": round(os.getloadavg()[0], 2),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "packages": {name: version(name) for name in PACKAGES},
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def processor() -> str:
    """Return the processor's name as the kernel gives it, or the machine's where it gives none."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("model name", "Model")):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def version(package: str) -> str | None:
    """Return the installed version of a package, null where it is absent."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def median_seconds(call: Callable[[], object], rounds: int) -> float:
    """Return the median wall time of `call` [s]."""
    times_s = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        times_s.append(time.perf_counter() - start)
    return statistics.median(times_s)


def run(name: str, measure: Callable[[bool], Sequence[Claim]], arguments: Sequence[str] | None = None) -> None:
    """Parse the options, measure, print.

    Args:
        name: The benchmark's module name.
        measure: (quick) -> claims.
        arguments: Command line without the program; that of the process when left out.
    """
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="fewer rounds; ends within five minutes")
    options = parser.parse_args(arguments)
    before = conditions()
    claims = list(measure(options.quick))
    around = ended(before, options.quick)
    print(document(name, around, claims) if options.json else table(around, claims))


def ended(before: dict[str, object], quick: bool) -> dict[str, object]:
    """Return the conditions of a run that is over: those before it, how it was asked for, and the load after it."""
    return {**before, "quick": quick, "load_1m_after": round(os.getloadavg()[0], 2)}


def document(name: str, around: dict[str, object], claims: Sequence[Claim], **more: object) -> str:
    """Return the one JSON object that a benchmark prints. more: what it tells besides."""
    told = {"benchmark": name, "conditions": around, "claims": [asdict(claim) for claim in claims]}
    return json.dumps({**told, **more}, indent=1)


def table(around: dict[str, object], claims: Sequence[Claim]) -> str:
    """Return the claims for people, the conditions above them."""
    lines = [f"{around['processor']}, {around['cores']} cores, load {around['load_1m']}, Python {around['python']}"]
    width = max((len(claim.name) for claim in claims), default=0)
    for claim in claims:
        value = "-" if claim.value is None else f"{claim.value:g}"
        verdict = "holds" if claim.holds else "SHORT"
        lines.append(f"{verdict}  {claim.name:<{width}}  {value:>9} {claim.unit:<8} (goal {claim.goal}; {claim.how})")
    return "\n".join(lines)


def repository() -> Path:
    """Return the root of the clone."""
    return Path(__file__).resolve().parent.parent


def child_environment() -> dict[str, str]:
    """Return the environment of a measured process: this clone's packages, no settings of the caller's workspace."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("THRESHER_")}
    return {**kept, "ORT_DISABLE_TELEMETRY": "1", "PYTHONPATH": str(repository())}


def command_line(name: str) -> list[str]:
    """Return the command that starts `agent` or `controller`: the console script, else the module."""
    script = Path(sys.executable).with_name(name)
    return [str(script)] if script.exists() else [sys.executable, "-m", name]
