"""Does a search that devices drive find faster variants than one that this host drives, at equal device-minutes?

    python -m benchmarks.compression.fleet --quick                  one seed, six variants: that it runs end to end
    python -m benchmarks.compression.fleet --state FOLDER --json > benchmarks/results/compression-fleet.json

Three emulated classes of the demo on this host, five seeds; both are fixed in `fleet_seeds.json`. The host's search
takes the host's times and has its best measured at the end; the devices' has candidates measured as it goes on. Then
both picks of a class take turns on its device. The whole run takes hours on a machine that nobody else uses:
`--state FOLDER` keeps every search and every trial, and a run that was stopped goes on behind them. `--seed N` takes
one seed alone.

Leaves out: the parts (the modules beside).
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Any

from benchmarks.common import Claim, at_least, conditions, document, ended, repository, table
from benchmarks.compression.fleet.arms import ARMS, SearchFailed, searched
from benchmarks.compression.fleet.final import compared
from benchmarks.compression.fleet.rules import Rules, read_rules
from benchmarks.compression.fleet.verdict import Verdict, verdict
from controller.bundle.atomic import write_whole
from controller.errors import ControllerError

STATE = repository() / ".cache" / "compression-fleet"
WANTED = 2
"""Classes, of three, in which the devices' search is to be the better one."""

Rows = dict[str, dict[str, Any]]
"""Class -> what a seed gave."""


def main(arguments: Sequence[str]) -> None:
    """Run and print."""
    options = _options(arguments)
    before, rules = conditions(), read_rules(options.quick)
    folder = options.state.absolute() / ("quick" if options.quick else "whole")
    seeds = [each for each in rules.seeds if options.seed in (None, each)]
    found = {seed: rows for seed in seeds if (rows := _seed(seed, folder, options.state.absolute(), rules)) is not None}
    verdicts = [verdict(name, [rows[name]["log_ratio"] for rows in found.values()]) for name in rules.classes]
    around = ended(before, options.quick)
    claims = [claim(verdicts)]
    if options.json:
        seeds_told = {str(seed): rows for seed, rows in found.items()}
        print(document("compression.fleet", around, claims, verdicts=_finite(verdicts), seeds=seeds_told))
    else:
        print("\n".join([table(around, claims), *map(str, verdicts)]))


def claim(verdicts: Sequence[Verdict]) -> Claim:
    """Return the claim on all classes."""
    better = sum(each.says == "devices" for each in verdicts)
    how = "; ".join(map(str, verdicts))
    return at_least("classes in which the devices' search found a faster variant", better, WANTED, "", how)


def _seed(seed: int, folder: Path, shared: Path, rules: Rules) -> Rows | None:
    """Return what a seed gave; None, and a line why, where it could not be carried out."""
    try:
        place = folder / f"seed-{seed}"
        arms = {arm: _kept(place / f"{arm}.json", partial(searched, arm, seed, folder, shared, rules)) for arm in ARMS}
        return _kept(place / "final.json", partial(compared, seed, arms, folder, shared, rules))
    except (ControllerError, SearchFailed) as exc:
        _say(f"seed {seed}: {exc}")
        return None


def _kept(path: Path, make: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """Return a result that is kept, or make and keep it."""
    if not path.is_file():
        _say(f"{path.parent.name}: {path.stem}")
        began, found = time.monotonic(), make()
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(found, indent=1).encode())
        _say(f"{path.parent.name}: {path.stem} took {time.monotonic() - began:.0f} s")
    kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return kept


def _finite(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """Return verdicts as JSON types: a bound that is not known is null."""
    return [
        {key: value if not isinstance(value, float) or isfinite(value) else None for key, value in asdict(each).items()}
        for each in verdicts
    ]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compression.fleet")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="one seed, few variants: that it runs end to end")
    parser.add_argument("--state", type=Path, default=STATE, help="folder that keeps searches and trials")
    parser.add_argument("--seed", type=int, help="one of the seeds alone")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
