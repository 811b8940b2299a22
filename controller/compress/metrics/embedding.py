"""Embedding: how well a variant's vectors keep the directions, and the neighbours, of the baseline's. No labels."""

import numpy as np

from controller.choose.intervals.evidence import Cosines
from controller.choose.intervals.proportion import CONFIDENCE, wilson
from controller.choose.intervals.unseen import mean_interval
from controller.compress.metrics.outputs import cosines
from controller.compress.metrics.worth import Array, Asked, Worth, between

MOST_NEIGHBOURS = 2000
"""Samples among which neighbours are sought, the first ones: all pairs of them are compared."""


def judge_embedding(asked: Asked) -> Worth:
    """Judge vectors, one a sample, by the baseline's.

    Raises:
        ValueError: Not as many numbers as the baseline's.
    """
    reference = asked.outputs if asked.baseline is None else asked.baseline
    found = cosines(reference, asked.outputs)
    metrics = {
        "cosine": float(found.mean()),
        **between("cosine", mean_interval(found, (-1.0, 1.0), CONFIDENCE)),
        "cosine_p05": float(np.quantile(found, 0.05)),
        "cosine_least": float(found.min()),
    }
    if len(found) > 2:
        kept, of = neighbours_kept(reference, asked.outputs)
        metrics |= {"neighbour_agreement_ratio": kept / of, **between("neighbour_agreement_ratio", wilson(kept, of))}
    return Worth(metrics, Cosines(found))


def neighbours_kept(reference: Array, outputs: Array) -> tuple[int, int]:
    """Return of how many samples the nearest other one, by cosine, is the same as the reference's; and of how many."""
    nearest = [_nearest(each[:MOST_NEIGHBOURS]) for each in (reference, outputs)]
    return int((nearest[0] == nearest[1]).sum()), len(nearest[0])


def _nearest(vectors: Array) -> Array:
    flat = vectors.reshape(len(vectors), -1).astype(np.float32)
    lengths = np.linalg.norm(flat, axis=1, keepdims=True)
    unit = np.divide(flat, lengths, out=np.zeros_like(flat), where=lengths > 0)
    alike = unit @ unit.T
    np.fill_diagonal(alike, -np.inf)
    return np.asarray(alike.argmax(axis=1))
