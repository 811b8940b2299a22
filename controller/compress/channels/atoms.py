"""Channels as atoms: which of them stand or fall together.

Decides: how channels are counted and joined. Each channel of a value that can lose some is an atom; operators join
atoms (an addition joins those of its inputs, one by one) or pin them (an output of the model keeps all). Leaves out:
what operators do (`rules.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]
Role = Literal["out", "in", "along"]
"""What an axis of a weight is to its operator: it makes these channels, reads them, or has a number for each."""


@dataclass(frozen=True)
class Channels:
    """The axis of a value that holds channels, and the atom of each."""

    axis: int
    atoms: Numbers


@dataclass(frozen=True)
class Piece:
    """An axis of a weight that shrinks with its channels."""

    tensor: str
    axis: int
    atoms: Numbers
    role: Role


@dataclass(frozen=True)
class Count:
    """A number in the graph that states how many channels there are.

    place: index of an operator whose attribute `group` it is, or the name of the shape tensor whose entry `entry` it
    is; entries that are computed (0 and -1) are none.
    """

    place: int | str
    atoms: Numbers
    entry: int = 0


@dataclass
class Atoms:
    """Every atom of a graph, joined by union-find."""

    _parents: list[int] = field(default_factory=list)
    _pinned: set[int] = field(default_factory=set)

    def new(self, count: int) -> Numbers:
        """Return `count` atoms that are joined to none."""
        first = len(self._parents)
        self._parents.extend(range(first, first + count))
        return np.arange(first, first + count, dtype=np.int64)

    def join(self, first: Numbers, second: Numbers) -> None:
        """Join two rows of atoms of the same length, one by one."""
        for one, other in zip(first.tolist(), second.tolist(), strict=True):
            left, right = self._root(one), self._root(other)
            self._parents[max(left, right)] = min(left, right)

    def pin(self, atoms: Numbers) -> None:
        """Keep these whatever happens."""
        self._pinned.update(atoms.tolist())

    def roots(self, atoms: Numbers) -> Numbers:
        """Return the atom that stands for each."""
        return np.array([self._root(atom) for atom in atoms.tolist()], dtype=np.int64)

    def free(self) -> Numbers:
        """Return the atoms that stand for others and may go."""
        kept = {self._root(atom) for atom in self._pinned}
        own = [atom for atom, parent in enumerate(self._parents) if parent == atom and atom not in kept]
        return np.array(own, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._parents)

    def _root(self, atom: int) -> int:
        while self._parents[atom] != atom:
            self._parents[atom] = self._parents[self._parents[atom]]
            atom = self._parents[atom]
        return atom


def components(atoms: Atoms, pieces: Sequence[Piece]) -> list[Numbers]:
    """Return the widths that can be chosen: rows of free atoms that one weight makes, joined where atoms are.

    Args:
        atoms: Of a graph.
        pieces: Its weights' axes.
    """
    widths = Atoms()
    widths.new(len(atoms))
    for piece in pieces:
        if piece.role == "out":
            roots = atoms.roots(piece.atoms)
            widths.join(roots[:-1], roots[1:])
    free = atoms.free()
    named = widths.roots(free)
    return [free[named == name] for name in np.unique(named)]
