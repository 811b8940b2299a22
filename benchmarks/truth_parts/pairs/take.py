"""Pairs of bundles, measured in lock-step, for hours if need be; and what they say of the product's verdicts.

Equal bundles and those whose second one does 5 % more take turns: whatever changes on the machine during a long run
meets both kinds.
"""

import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from agent.measure.lock_step.ratios import round_log_ratios
from agent.measure.record import process_medians
from benchmarks.common import conditions
from benchmarks.truth_parts.bundles import BLOCKS, MORE_BLOCKS, write_blocks
from benchmarks.truth_parts.pairs.state import Kind, Pair, State
from benchmarks.truth_parts.product import Product, cache_folder, compiled
from wire.trial import Grade


@dataclass(frozen=True)
class Wanted:
    """How many pairs of either kind."""

    same: int
    slower: int

    def missing(self, have: Mapping[str, int]) -> Iterator[Kind]:
        """Yield the kinds of the pairs that are still to be measured, both spread over the whole run."""
        done = {"same": have.get("same", 0), "slower": have.get("slower", 0)}
        while done["same"] < self.same or done["slower"] < self.slower:
            behind = done["slower"] < self.slower and (done["slower"] + 1) * self.same <= done["same"] * self.slower
            kind: Kind = "slower" if behind or done["same"] >= self.same else "same"
            done[kind] += 1
            yield kind


def take_pairs(path: Path, wanted: Wanted, grade: Grade = "ranking") -> State:
    """Measure until the file at `path` holds as many pairs as are wanted, and return them.

    Raises:
        OtherMachine: The file's pairs were measured elsewhere.
    """
    state = State(path, conditions())
    with tempfile.TemporaryDirectory(prefix="truth-bundles-") as name:
        bundles = pair_bundles(Path(name))
        for kind in wanted.missing(Counter(pair.kind for pair in state.pairs)):
            state.add(take_pair(kind, len(state.of(kind)), bundles, grade))
            _say(state, wanted)
    return state


def pair_bundles(folder: Path) -> Mapping[str, Path]:
    """Write the three bundles: two that do the same work, one that does 5 % more."""
    return {
        "first": write_blocks(folder / "first", "first", BLOCKS),
        "same": write_blocks(folder / "same", "second", BLOCKS),
        "slower": write_blocks(folder / "slower", "slower", MORE_BLOCKS),
    }


def take_pair(kind: Kind, number: int, bundles: Mapping[str, Path], grade: Grade) -> Pair:
    """Measure one pair as `agent bench --compare` does, with this benchmark's amounts."""
    start = time.monotonic()
    (first, second), reasons = Product(cache_folder(), grade=grade).in_lock_step(bundles["first"], bundles[kind])
    processes = [*first.replicates, *second.replicates]
    flags = Counter(flag for process in processes for flag in process.flags)
    return Pair(
        kind=kind,
        number=number,
        log_ratios=tuple(round_log_ratios(first.replicates, second.replicates)),
        first_ns=tuple(process_medians(first.replicates)),
        second_ns=tuple(process_medians(second.replicates)),
        flags=dict(sorted(flags.items())),
        compiled=compiled(processes),
        seconds=round(time.monotonic() - start, 2),
        at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        load_1m=float(conditions()["load_1m"]),  # type: ignore[arg-type]  # a number
        preflight=reasons,
    )


def _say(state: State, wanted: Wanted) -> None:
    pair = state.pairs[-1]
    found, took = pair.comparison, statistics.fmean(each.seconds for each in state.pairs)
    left = wanted.same + wanted.slower - len(state.pairs)
    print(
        f"{pair.kind} {pair.number + 1}: {found.verdict}, {found.ratio:.4f} ({found.lower:.4f} to {found.upper:.4f}); "
        f"{pair.seconds:.0f} s, {left} to go (about {left * took / 60:.0f} min)",
        file=sys.stderr,
        flush=True,
    )
