"""Do the product's numbers tell the truth? Known quantities and independent tools against its own measuring.

    python -m benchmarks.truth --quick                          under five minutes; 20 pairs, which claim no rate
    python -m benchmarks.truth --pairs-only --state FILE        the long run of pairs; goes on where it stopped
    python -m benchmarks.truth --report --state FILE            all else, with the pairs of FILE as they are

Decides: which parts are run, and with how many rounds. What is measured how stands in `truth_parts`, a module each.
Everything runs on one core, with one thread; a busy host shows in the conditions and makes claims fall short.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.common import Claim, at_most, not_measured, repository, run
from benchmarks.truth_parts.disturbed import disturbed_claims
from benchmarks.truth_parts.known import allocation_claim, busy_claims
from benchmarks.truth_parts.overhead import overhead_claims
from benchmarks.truth_parts.pairs.claims import WANTED_SAME, pair_claims
from benchmarks.truth_parts.pairs.state import OtherMachine, State
from benchmarks.truth_parts.pairs.take import Wanted, take_pairs
from benchmarks.truth_parts.peers import peer_claims
from benchmarks.truth_parts.product import Product, cache_folder, compiled

QUICK_PAIRS = 20
STATE = repository() / ".cache" / "truth-pairs.jsonl"


def main(arguments: Sequence[str]) -> None:
    """Carry out the command line."""
    options, rest = _options(arguments)
    if options.pairs_only:
        take_pairs(options.state, Wanted(options.pairs, options.pairs // 2))
        return
    run("truth", lambda quick: measure(quick, options), rest)


def measure(quick: bool, options: argparse.Namespace) -> list[Claim]:
    """Return all claims. `--quick` has its own few pairs, in a file that is dropped."""
    with tempfile.TemporaryDirectory(prefix="truth-") as name:
        folder = Path(name)
        product = Product(cache_folder(), grade="quick" if quick else "normal")
        claims = attempt("known busy times", lambda: busy_claims(product, folder))
        claims += attempt("independent measurements", lambda: peer_claims(product, folder, 2 if quick else 15))
        claims += attempt("disturbances", lambda: disturbed_claims(product, folder))
        claims += attempt("allocation", lambda: [allocation_claim(product, folder)])
        claims += attempt("overhead", lambda: overhead_claims(product, folder, 20 if quick else 200))
        state = options.state if not quick or options.report else folder / "pairs.jsonl"
        claims += attempt("pairs", lambda: pair_claims(_pairs(state, quick, options)))
        return [*claims, compiled_claim(product, state)]


def _pairs(path: Path, quick: bool, options: argparse.Namespace) -> State:
    if options.report:
        return State(path, None)
    if quick:
        return take_pairs(path, Wanted(QUICK_PAIRS, 0), "quick")
    return take_pairs(path, Wanted(options.pairs, options.pairs // 2))


def compiled_claim(product: Product, state: Path) -> Claim:
    """Return the claim that no process of this run, nor of the pairs, compiled anything."""
    name, pairs = "kernels compiled in timed processes", State(state, None).pairs
    if not product.taken and not pairs:
        return not_measured(name, "", "<= 0", "no process was timed")
    found = compiled(product.taken) + sum(pair.compiled for pair in pairs)
    how = f"cache misses in the records of {len(product.taken)} timed processes and of {len(pairs)} pairs"
    return at_most(name, found, 0, "", how)


def attempt(what: str, part: Callable[[], list[Claim]]) -> list[Claim]:
    """Return the claims of one part; one that fails takes nothing from the others."""
    try:
        return part()
    except Exception as exc:
        # The outermost frame of a part: whatever happened there is told as a claim that does not hold.
        return [not_measured(what, "", "measured", f"{type(exc).__name__}: {exc}")]


def _options(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.truth", add_help=False)
    parser.add_argument("--pairs-only", action="store_true")
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--state", type=Path, default=STATE)
    parser.add_argument("--pairs", type=int, default=WANTED_SAME)
    return parser.parse_known_args(arguments)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (OtherMachine, ValueError) as exc:
        sys.exit(str(exc))
