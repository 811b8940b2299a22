"""What each technique makes of the reference models: score, parameters, MACs, bytes, time of one thread; and memory.

    python -m benchmarks.compression --quick                       recipes without training on soil_carbon; minutes
    python -m benchmarks.compression --state FOLDER --json > benchmarks/results/compression.json

The full run trains, and takes hours: `--state FOLDER` keeps every row, and a run that was stopped goes on behind it.
`--only MODEL` takes one model. A row's time is a ratio to its model's fp32 baseline in the same process, turn by turn.
`--times-only` takes the times of kept rows again, on a machine that is left alone, and makes nothing; the full command
then prints them with everything else.

Leaves out: the parts (the modules beside), and the page that is made of the result (`tools/compression_table.py`).
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.common import Claim, conditions, document, ended, not_measured, repository, table
from benchmarks.compression.memory import memory_claim
from benchmarks.compression.rows import Row, Shelf
from benchmarks.compression.techniques import MODELS, Bench, technique_claims, technique_rows
from benchmarks.compression.times import retimed_rows
from controller.errors import ControllerError

STATE = repository() / ".cache" / "compression"


def main(arguments: Sequence[str]) -> None:
    """Run and print."""
    options = _options(arguments)
    before, state = conditions(), options.state.absolute()
    models: tuple[str, ...] = ("soil_carbon",) if options.quick else MODELS
    models = tuple(each for each in models if options.only in (None, each))
    bench, shelf = Bench(state, options.quick), Shelf(state / "rows.jsonl")
    found = retimed_rows if options.times_only else technique_rows
    rows = [row for name in models for row in found(name, bench, shelf, _say)]
    claims = [*technique_claims(rows), *([] if options.times_only else _memory(state, options.quick))]
    around = ended(before, options.quick)
    if options.json:
        print(document("compression", around, claims, rows=[asdict(each) for each in rows]))
    else:
        print(f"{_rows_text(rows)}\n{table(around, claims)}")


def _memory(state: Path, quick: bool) -> list[Claim]:
    """Return the claim on memory; data that are not here are told as a claim that does not hold."""
    try:
        return [memory_claim(state / "memory", quick)]
    except (ControllerError, OSError) as exc:
        return [not_measured("memory while calibrating", "", "<= 1.5", f"{type(exc).__name__}: {exc}")]


def _rows_text(rows: Sequence[Row]) -> str:
    lines = []
    for row in rows:
        said = row.because or f"{row.counted()}  {row.wire_ratio:.3f} of the wire, {row.time_text()}"
        lines.append(f"{row.model:13} {row.recipe:28} {said}")
    return "\n".join(lines)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compression")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="one small model, nothing that trains")
    parser.add_argument("--state", type=Path, default=STATE, help="folder that keeps results and rows")
    parser.add_argument("--only", choices=MODELS, help="one model alone")
    parser.add_argument("--times-only", action="store_true", help="take the times of kept rows again, make nothing")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
