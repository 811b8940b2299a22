"""One search of the comparison, as it is typed: `controller model compress MODEL --auto --fleet …`.

Decides: that both searches get the same seed, variants and device-minutes, and differ in `--driven-by` alone. Leaves
out: the fleet (`site.py`), and who did better (`verdict.py`).
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

from benchmarks.common import repository
from benchmarks.compression.fleet.rules import Rules
from benchmarks.compression.fleet.site import Site, site

Arm = Literal["host", "devices"]
ARMS: tuple[Arm, ...] = ("host", "devices")


class SearchFailed(RuntimeError):
    """A search ended with an error; the text holds its last lines."""


def searched(arm: Arm, seed: int, folder: Path, shared: Path, rules: Rules) -> dict[str, Any]:
    """Return the part of a search's report that its devices gave, with what was tried.

    Raises:
        SearchFailed: It ended with an error.
    """
    place = folder / f"seed-{seed}" / arm
    place.mkdir(parents=True, exist_ok=True)
    with site(place, shared, rules) as found:
        report = _ran(found, _command(found, arm, seed, rules), place / "search.log")
    return {**report["fleet"], "tried": report["search"]["tried"], "seconds": report["search"]["seconds"]}


def _command(found: Site, arm: Arm, seed: int, rules: Rules) -> list[str]:
    search = ["model", "compress", rules.model, "--auto", "--budget", rules.budget, "--variants", str(rules.variants)]
    limits = ["--max-drop", str(rules.max_drop), "--seed", str(seed)]
    fleet = ["--fleet", found.found.fleet_file.fleet, "--config", str(found.found.path), "--driven-by", arm]
    minutes = ["--device-minutes", str(rules.device_minutes), "--yes", "--json"]
    start = [sys.executable, "-m", "controller", "--workspace", str(found.workspace.root)]
    return [*start, *search, *limits, *fleet, *minutes]


def _ran(found: Site, command: list[str], log: Path) -> dict[str, Any]:
    around = {**os.environ, "ORT_DISABLE_TELEMETRY": "1", "PYTHONPATH": str(repository())}
    with log.open("ab") as file:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=file, stdin=subprocess.DEVNULL, env=around, check=False
        )
    if done.returncode != 0:
        last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:]
        raise SearchFailed(f"{found.workspace.root}: the search ended with {done.returncode}: {' '.join(last)}")
    document: dict[str, Any] = json.loads(done.stdout)
    return document
