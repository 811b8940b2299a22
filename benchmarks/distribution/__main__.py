"""What a changed model moves to a device that has the one before it.

    python -m benchmarks.distribution --quick                        the reference models' heads; a minute
    python -m benchmarks.distribution --networks PYTHON --state FOLDER --json > benchmarks/results/distribution.json

`--networks PYTHON`: an interpreter whose packages bring EfficientNet-Lite0 (`benchmarks/engine_parts/subjects`); it is
imported below `--state` once. Without it the goals are held against the reference models, and say so.

A change may move 1.1 times the bytes of the tensors that it changed, and three chunks: the index, the manifest and the
golden outputs count too. Leaves out: the ways (`ways.py`), and the changes (`pairs.py`).
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.common import Claim, at_most, conditions, not_measured, repository, table
from benchmarks.distribution.pairs import NETWORK, Bench, Pair, network_pairs, reference_pairs
from benchmarks.distribution.ways import Moved, moved
from controller.compress.cache import PassCache
from wire.base import LARGEST_PART_BYTES

STATE = repository() / ".cache" / "distribution"
ALLOWED_RATIO = 1.1
ALLOWED_CHUNKS = 3
QUICK = "--quick measures the reference models alone"
CHANGES = ("head, float", "head, int8", "calibration, int8", "calibration, int8, weights kept")
Row = tuple[Pair, Moved]


def main(arguments: Sequence[str]) -> None:
    """Run and print."""
    options = _options(arguments)
    before = conditions()
    with tempfile.TemporaryDirectory(prefix="distribution-") as scratch:
        bench = Bench(PassCache(Path(scratch) / "cache"), Path(scratch) / "made")
        bench.folder.mkdir()
        rows, claims = delta(options.networks, options.state.absolute(), bench, quick=options.quick)
    around = {**before, "quick": options.quick, "load_1m_after": round(os.getloadavg()[0], 2)}
    if options.json:
        found = {"benchmark": "distribution", "conditions": around, "claims": [asdict(claim) for claim in claims]}
        print(json.dumps({**found, "delta": [row_of(*row) for row in rows]}, indent=1))
    else:
        print(f"{rows_text(rows)}\n\n{table(around, claims)}")


def delta(networks: Path | None, state: Path, bench: Bench, *, quick: bool) -> tuple[list[Row], list[Claim]]:
    """Return what each change moves, and the claims on it."""
    pairs = QUICK if quick else network_pairs(networks, state / "networks", bench)
    absent = CHANGES if isinstance(pairs, str) else ()
    missing = [not_measured(f"{NETWORK}: {change}", "bytes", "<= allowed", str(pairs)) for change in absent]
    chosen: Iterator[Pair] = reference_pairs(bench) if isinstance(pairs, str) else pairs
    rows = [(pair, moved(pair.before, pair.after, _fresh(bench))) for pair in chosen]
    return rows, [*(claim_of(*row) for row in rows), *missing]


def _fresh(bench: Bench) -> Path:
    return Path(tempfile.mkdtemp(prefix="pair-", dir=bench.folder))


def allowed_bytes(changed_bytes: int) -> int:
    """Return what a change of tensors of so many bytes may move."""
    return int(ALLOWED_RATIO * changed_bytes) + ALLOWED_CHUNKS * LARGEST_PART_BYTES


def claim_of(pair: Pair, found: Moved) -> Claim:
    """Return the claim that a change moves no more than it may."""
    limit = allowed_bytes(pair.changed_bytes)
    weights = "weights as before" if pair.weights_kept else "weights changed"
    how = f"{pair.changed_bytes} bytes of tensors changed, {weights}; {found.new_chunks} of {found.chunks} chunks moved"
    return at_most(f"{pair.network}: {pair.change}", found.ours_bytes, limit, "bytes", how)


def row_of(pair: Pair, found: Moved) -> dict[str, object]:
    """Return a row of the table as plain values."""
    about = {"network": pair.network, "change": pair.change, "changed_bytes": pair.changed_bytes}
    return {**about, "allowed_bytes": allowed_bytes(pair.changed_bytes), **asdict(found)}


def rows_text(rows: Sequence[Row]) -> str:
    """Return the table for people, in kB."""
    lines = [f"{'kB on the wire':42} {'changed':>8} {'allowed':>8} {'full':>8} {'fixed':>8} {'ours':>8} {'bsdiff':>8}"]
    for pair, found in rows:
        given = (pair.changed_bytes, allowed_bytes(pair.changed_bytes), found.full_bytes, found.fixed_bytes)
        numbers = (*given, found.ours_bytes, found.patch_bytes)
        shown = " ".join(f"{'-':>8}" if number is None else f"{number / 1000:8.0f}" for number in numbers)
        lines.append(f"{f'{pair.network}: {pair.change}':42} {shown}")
    return "\n".join(lines)


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.distribution")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="the reference models alone")
    parser.add_argument("--state", type=Path, default=STATE, metavar="FOLDER", help="keeps what was imported")
    parser.add_argument("--networks", type=Path, metavar="PYTHON", help="whose packages bring EfficientNet-Lite0")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
