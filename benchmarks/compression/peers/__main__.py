"""Other toolkits beside ours: Olive, NNCF, ONNX Runtime's quantiser, ai-edge-quantizer, torchao (PT2E).

    python -m benchmarks.compression.peers install NAME --folder FOLDER      an environment from its lock; NAME `all`
    python -m benchmarks.compression.peers lock NAME                         resolve a lock again
    python -m benchmarks.compression.peers --quick                           soil_carbon, what is installed; a minute
    python -m benchmarks.compression.peers --environments FOLDER --networks PYTHON --state FOLDER --json
        > benchmarks/results/compression-peers.json

Every model gets the same calibration samples, the same engines in the product's own worker, one thread, and one run of
times in which all files take turns. `--networks PYTHON`: an interpreter whose packages bring EfficientNet-Lite0 and the
photographs (`photographs.py`). `--state FOLDER` keeps rows and files: a run that was stopped goes on behind them.
`--times-only` takes the times of kept files again, on a machine that is left alone, and makes nothing.

Leaves out: the parts (the modules beside).
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.common import Claim, conditions, document, ended, not_measured, repository, table
from benchmarks.compression.peers.course import Ground, model_rows
from benchmarks.compression.peers.environments import NAMES, NotInstalled, install, lock
from benchmarks.compression.peers.front import model_claims, run_claims
from benchmarks.compression.peers.making import Bench
from benchmarks.compression.peers.rows import Row, State
from benchmarks.compression.peers.subjects import MODELS, model_of
from controller.errors import ControllerError

STATE = repository() / ".cache" / "compression-peers"
ENVIRONMENTS = STATE / "environments"


def main(arguments: Sequence[str]) -> int:
    """Carry out the command; return the exit code."""
    options = _options(arguments)
    if options.command == "lock":
        for name in _named(options.name):
            print(lock(name).relative_to(repository()))
        return 0
    if options.command == "install":
        return _installed(_named(options.name), options.folder.absolute(), options.python)
    _measured(options)
    return 0


def _measured(options: argparse.Namespace) -> None:
    """Run and print."""
    before, state = conditions(), State(options.state.absolute())
    bench = Bench(options.environments.absolute(), state.folder / "datasets")
    ground = Ground(state, bench, options.quick, options.train, options.times_only, _say)
    names = [each for each in (("soil_carbon",) if options.quick else MODELS) if options.only in (None, each)]
    rows: list[Row] = []
    claims: list[Claim] = []
    for name in names:
        try:
            found = model_rows(model_of(name, state.folder, options.networks, _say), ground)
        except ControllerError as exc:
            claims.append(not_measured(f"{name}: our pick on the front of all", "", "<= 0", str(exc)))
            continue
        rows += found
        claims += model_claims(name, found)
    claims += run_claims(rows)
    around = ended(before, options.quick)
    if options.json:
        print(document("compression-peers", around, claims, rows=[asdict(row) for row in rows]))
    else:
        print("\n".join([*map(_line, rows), table(around, claims)]))


def _installed(names: Sequence[str], folder: Path, python: Path) -> int:
    for name in names:
        try:
            print(install(name, folder, python))
        except NotInstalled as exc:
            _say(str(exc))
            return 1
    return 0


def _line(row: Row) -> str:
    head = f"{row.model:18} {row.name:46}"
    if row.because:
        return f"{head} {row.because}"
    times = row.untimed or f"{row.p50_ms or 0:.3f} ms {1 / (row.time_ratio or 1):.2f}x"
    made = "" if row.took_s is None else f" made in {row.took_s:.0f} s, {(row.peak_bytes or 0) / 1e6:.0f} MB"
    return f"{head} {row.counted():14} {row.wire_ratio or 0:.3f} of the wire, {times}{made}"


def _named(name: str) -> Sequence[str]:
    return NAMES if name == "all" else (name,)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compression.peers")
    parser.set_defaults(command="measure")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="one small model, a few settings")
    parser.add_argument("--state", type=Path, default=STATE, help="folder that keeps rows and files")
    parser.add_argument("--only", choices=MODELS, help="one model alone")
    parser.add_argument("--environments", type=Path, default=ENVIRONMENTS, help="folder that `install` was given")
    parser.add_argument("--networks", type=Path, help="interpreter whose packages bring EfficientNet-Lite0")
    parser.add_argument("--train", action="store_true", help="recipes of ours that train take part; minutes each")
    parser.add_argument("--times-only", action="store_true", help="take the times of kept files again, make nothing")
    commands = parser.add_subparsers()
    resolved = commands.add_parser("lock", help="resolve the lock of an environment")
    resolved.set_defaults(command="lock")
    installed = commands.add_parser("install", help="make the environment of a toolkit from its lock")
    installed.set_defaults(command="install")
    installed.add_argument("--folder", type=Path, default=ENVIRONMENTS, help="where it goes, as FOLDER/NAME")
    installed.add_argument("--python", type=Path, default=Path(sys.executable), help="a Python 3.11")
    for each in (resolved, installed):
        each.add_argument("name", choices=(*NAMES, "all"))
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
