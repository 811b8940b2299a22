"""Smaller factors in place of a weight: SVD of a matrix, Tucker-2 of a convolution. Pure.

Decides: the factors and how many ranks an amount of energy takes. Leaves out: the graph (`passes/low_rank.py`).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
SWEEPS = 10


def rank_of(singular: Matrix, energy: float) -> int:
    """Return the fewest ranks whose squared singular values hold a share of all.

    Args:
        singular: Falling, shape (n,).
        energy: 0 to 1.
    Returns:
        At least 1.
    """
    squares = singular**2
    total = squares.sum()
    if total == 0:
        return 1
    return int(np.searchsorted(np.cumsum(squares) / total, energy - 1e-12) + 1)


def of_matrix(weight: NDArray[Any], energy: float) -> tuple[Matrix, Matrix]:
    """Return (left, right) with left @ right near the weight: the best of its rank (Eckart and Young, 1936).

    Args:
        weight: Shape (rows, columns).
        energy: Share of the squared values that is kept, 0 to 1.
    Returns:
        Shapes (rows, rank) and (rank, columns); the singular values are shared between them, so that neither has much
        larger numbers.
    """
    left, singular, right = np.linalg.svd(np.asarray(weight, dtype=np.float64), full_matrices=False)
    rank = rank_of(singular, energy)
    root = np.sqrt(singular[:rank])
    return left[:, :rank] * root, root[:, None] * right[:rank]


@dataclass(frozen=True)
class Tucker:
    """A convolution as three: `reading` (ranks, inputs), `core` (ranks, ranks, places…), `making` (outputs, ranks)."""

    reading: Matrix
    core: Matrix
    making: Matrix

    @property
    def size(self) -> int:
        return self.reading.size + self.core.size + self.making.size

    def restored(self) -> Matrix:
        """Return the weight that the three stand for, shape (outputs, inputs, places…)."""
        inner = np.tensordot(self.making, self.core, axes=(1, 0))
        return np.moveaxis(np.tensordot(self.reading, inner, axes=(0, 1)), 0, 1)


def of_convolution(weight: NDArray[Any], energy: float) -> Tucker:
    """Return a convolution's factors over outputs and inputs, its places left whole.

    "Compression of Deep Convolutional Neural Networks for Fast and Low Power Mobile Applications" (Kim et al., 2016),
    ranks by energy, improved by alternating sweeps (HOOI).

    Args:
        weight: Shape (outputs, inputs, places…).
        energy: Share of the squared values that each of both axes keeps.
    """
    values = np.asarray(weight, dtype=np.float64)
    making, reading = _basis(values, 0, energy), _basis(values, 1, energy)
    for _ in range(SWEEPS):
        making = _leading(np.tensordot(values, reading, axes=(1, 0)), 0, making.shape[1])
        reading = _leading(np.tensordot(values, making, axes=(0, 0)), 0, reading.shape[1])
    core = np.tensordot(np.tensordot(values, making, axes=(0, 0)), reading, axes=(0, 0))
    return Tucker(reading.T, np.moveaxis(core, (-2, -1), (0, 1)), making)


def _basis(values: Matrix, axis: int, energy: float) -> Matrix:
    unfolded = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
    left, singular, _ = np.linalg.svd(unfolded, full_matrices=False)
    basis: Matrix = left[:, : rank_of(singular, energy)]
    return basis


def _leading(values: Matrix, axis: int, rank: int) -> Matrix:
    unfolded = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
    leading: Matrix = np.linalg.svd(unfolded, full_matrices=False)[0][:, :rank]
    return leading
