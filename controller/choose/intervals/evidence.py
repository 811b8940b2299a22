"""What a variant's answers leave for a comparison: plain arrays, one row a sample, in the evaluation set's order.

Decides: the forms. Leaves out: who fills them (`controller/compress/metrics`) and how two are compared (`loss`).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RightOrWrong:
    """Classification. `correct`: shape (n,). `classes`: how many of them the labels have."""

    correct: NDArray[np.bool_]
    classes: int

    def __len__(self) -> int:
        return len(self.correct)


@dataclass(frozen=True, eq=False)
class SquaredErrors:
    """Regression. `errors`: mean square over the outputs, shape (n,). `variance`: of the labels (ddof 0), mean.

    by_output: The square of each output, shape (n, k), with the variances of its labels, shape (k,).
    """

    errors: Floats
    variance: float
    by_output: tuple[Floats, Floats] | None = None

    def __len__(self) -> int:
        return len(self.errors)


@dataclass(frozen=True, eq=False)
class Ratios:
    """Segmentation and sequences: the score is the mean over classes of sum(parts) / sum(wholes).

    parts: Of each sample and class, shape (n, k). wholes: Same shape. counted: Whether the sample's labels have the
    class, same shape; a class that no label has is left out of the mean.
    """

    parts: Floats
    wholes: Floats
    counted: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.parts)


@dataclass(frozen=True, eq=False)
class Scores:
    """Anomaly. `scores`: higher is stranger, shape (n,). `anomalous`: what is true, shape (n,)."""

    scores: Floats
    anomalous: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.scores)


@dataclass(frozen=True, eq=False)
class Cosines:
    """Embedding: cosine of each answer to the baseline's, shape (n,), from -1 to 1; the baseline's own are ones."""

    cosines: Floats

    def __len__(self) -> int:
        return len(self.cosines)


@dataclass(frozen=True, eq=False)
class Matches:
    """Detection: each box that was answered, and whether it meets a true one.

    images: Sample of each box, shape (d,). classes, scores: Same shape. right: At each threshold of the overlap,
    shape (d, t). truths: True boxes of each sample and class, shape (n, k).
    """

    images: NDArray[np.int64]
    classes: NDArray[np.int64]
    scores: Floats
    right: NDArray[np.bool_]
    truths: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.truths)


Evidence = RightOrWrong | SquaredErrors | Ratios | Scores | Cosines | Matches
