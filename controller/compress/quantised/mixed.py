"""Mixed precision: the few operators that lose most stay float, until what is lost is within a limit.

Decides: the order (each operator quantised alone, the noisiest first) and how many, by bisecting. Leaves out: how a
model is quantised without some operators, which the caller does.

    chosen = keep_float(names, quantised_without, lambda path: sqnr_db(wanted, outputs(path, feed)), 20.0)
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

Quantise = Callable[[frozenset[str]], Path]
"""Names of operators that stay float -> the file of the quantised model."""
Judge = Callable[[Path], float]
"""File -> SQNR of its outputs [dB]."""


@dataclass(frozen=True)
class Mixed:
    """What was chosen. path: the model. kept: operators that stay float, the noisiest first. sqnr_db: of the model."""

    path: Path
    kept: tuple[str, ...]
    sqnr_db: float


def sensitivity(names: Sequence[str], quantise: Quantise, judge: Judge) -> dict[str, float]:
    """Return operator -> SQNR of the outputs when it alone is quantised [dB], the lowest first.

    Args:
        names: All operators that can be quantised.
        quantise: Makes a model.
        judge: Judges one.
    """
    every = frozenset(names)
    found = {name: judge(quantise(every - {name})) for name in names}
    return dict(sorted(found.items(), key=lambda item: (item[1], item[0])))


def keep_float(noise: Mapping[str, float], quantise: Quantise, judge: Judge, least_db: float) -> Mixed:
    """Return the model with as few float operators as reach a limit; with all of them float where none does.

    That more float operators mean less noise holds nearly always; where it does not, some more stay float than had to.

    Args:
        noise: As `sensitivity` returns it.
        quantise: Makes a model.
        judge: Judges one.
        least_db: SQNR of the outputs that has to be reached [dB].
    """
    order = list(noise)
    low, high, last = 0, len(order), None
    while low < high:
        last = _made(order[: (low + high) // 2], quantise, judge)
        if last.sqnr_db >= least_db:
            high = len(last.kept)
        else:
            low = len(last.kept) + 1
    # The quantiser writes one file: what is told is what was made last.
    return last if last is not None and len(last.kept) == high else _made(order[:high], quantise, judge)


def _made(kept: Sequence[str], quantise: Quantise, judge: Judge) -> Mixed:
    path = quantise(frozenset(kept))
    return Mixed(path, tuple(kept), judge(path))
