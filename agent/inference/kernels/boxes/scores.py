"""Which of a detection head's anchors are candidates: class scores, activation, threshold.

Rules: NaN counts as the lowest score, and has no share in a softmax; of equal scores the lower class is taken; a
candidate's score, rounded to float32, is finite and greater than the threshold, which is a float32 number too: 0.3 as a
head gives it is not greater than 0.3. Leaves out: where its box lies (`decode.py`).
"""

import numpy as np
from numpy.typing import NDArray

from agent.inference.kernels.compiled import inner, kernel

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int32]
Indices = NDArray[np.int64]

ACTIVATIONS = {"none": 0, "sigmoid": 1, "softmax": 2}
"""Name in the specification -> number in the kernels."""

BLOCK = 1024
"""Anchors whose best score so far stays in the first cache."""

FIRST, ANCHOR_STEP, CLASS_STEP, CLASSES, BACKGROUND, OBJECTNESS = range(6)
"""A head's layout in its flat output: where the first class of the first anchor stands, steps from anchor to anchor and
from class to class, number of classes, how many of the first ones are background, where the first anchor's objectness
stands (-1: there is none)."""


@inner
def sigmoid_of(score: np.float32) -> float:
    """1 / (1 + exp(-score)), without overflow at either end."""
    power: float = np.exp(-abs(np.float64(score)))
    share = power / (1.0 + power)
    return 1.0 - share if score >= 0 else share


@inner
def exponential_sum(flat: Floats, layout: Indices, anchor: int, largest: float) -> float:
    """Sum of exp(score - largest) over an anchor's classes, also the background's; NaN has no share."""
    total = 0.0
    place = layout[FIRST] + anchor * layout[ANCHOR_STEP]
    for _ in range(layout[CLASSES]):
        if not np.isnan(flat[place]):
            total += np.exp(np.float64(flat[place]) - largest)
        place += layout[CLASS_STEP]
    return total


@inner
def largest_of(flat: Floats, layout: Indices, anchor: int) -> float:
    """Return the largest score of an anchor, the background's included."""
    place = layout[FIRST] + anchor * layout[ANCHOR_STEP]
    largest = -np.inf
    for _ in range(layout[CLASSES]):
        if flat[place] > largest:
            largest = np.float64(flat[place])
        place += layout[CLASS_STEP]
    return largest


@inner
def objectness_of(flat: Floats, layout: Indices, anchor: int, activation: int) -> float:
    """Return the share with which there is anything at an anchor; 1 where the head does not say."""
    if layout[OBJECTNESS] < 0:
        return 1.0
    raw = flat[layout[OBJECTNESS] + anchor * layout[ANCHOR_STEP]]
    return sigmoid_of(raw) if activation == 1 else np.float64(raw)


@kernel("void(float32[:, ::1], float32[::1], int32[::1])")
def best_of_columns(scores: Floats, best: Floats, classes: Ints) -> None:
    """Each anchor's best class, classes before anchors.

    Args:
        scores: Shape (classes, anchors).
        best: Result: the largest score, -infinity where all are NaN; shape (anchors,).
        classes: Result: its class; shape (anchors,).
    """
    anchors = scores.shape[1]
    for start in range(0, anchors, BLOCK):
        stop = min(start + BLOCK, anchors)
        block_best, block_classes = best[start:stop], classes[start:stop]
        for index in range(block_best.shape[0]):
            block_best[index] = -np.inf
            block_classes[index] = 0
        for number in range(scores.shape[0]):
            row, found = scores[number, start:stop], np.int32(number)
            for index in range(block_best.shape[0]):
                better = row[index] > block_best[index]
                block_best[index] = row[index] if better else block_best[index]
                block_classes[index] = found if better else block_classes[index]


@kernel("void(float32[:, ::1], int64, int64, float64, float32[::1], int32[::1])")
def best_of_rows(rows: Floats, first: int, gate: int, least: float, best: Floats, classes: Ints) -> None:
    """Each anchor's best class, anchors before classes.

    Args:
        rows: Shape (anchors, width); classes from column `first` to the end.
        first: See there.
        gate: Column of the objectness, or -1.
        least: An anchor whose objectness is not above this is not looked at: its best score is -infinity.
        best: Result, as in `best_of_columns`.
        classes: Result.
    """
    for anchor in range(rows.shape[0]):
        largest, found = np.float32(-np.inf), 0
        if gate < 0 or rows[anchor, gate] > least:
            for column in range(first, rows.shape[1]):
                if rows[anchor, column] > largest:
                    largest, found = rows[anchor, column], column - first
        best[anchor] = largest
        classes[anchor] = found


@kernel(
    "void(float32[::1], int64[::1], float32[::1], int32[::1], int64, float64, float32[::1], int64[::1], int64[::1])"
)
def gather_best(
    flat: Floats,
    layout: Indices,
    best: Floats,
    classes: Ints,
    activation: int,
    threshold: float,
    kept: Floats,
    places: Indices,
    counters: Indices,
) -> None:
    """Collect the anchors whose best class is above the threshold.

    Args:
        flat: The head's scores.
        layout: How they stand there, shape (6,).
        best: Each anchor's best raw score, the background left out.
        classes: Its class, counted from behind the background.
        activation: One of `ACTIVATIONS`.
        threshold: From 0 to 1, a float32 number.
        kept: Result: scores of the candidates.
        places: Result: anchor * classes + class of each.
        counters: `counters[0]` becomes the number of candidates.
    """
    count = 0
    # exp(best - largest) bounds the softmax from above: few anchors need the sum.
    hopeless = np.log(threshold) if threshold > 0 else -np.inf
    for anchor in range(best.shape[0]):
        score: float = np.float64(best[anchor])
        objectness = objectness_of(flat, layout, anchor, activation)
        if not (score > -np.inf and objectness > threshold):
            continue
        if activation == 2:
            largest = largest_of(flat, layout, anchor)
            if score - largest < hopeless:
                continue
            score = np.exp(score - largest) / exponential_sum(flat, layout, anchor, largest)
        elif activation == 1:
            score = sigmoid_of(best[anchor])
        score = np.float64(np.float32(score * objectness))
        if score > threshold and score < np.inf:
            kept[count] = score
            places[count] = anchor * layout[CLASSES] + layout[BACKGROUND] + classes[anchor]
            count += 1
    counters[0] = count


@kernel("void(float32[::1], int64[::1], int64, int64, float64, float32[::1], int64[::1], int64[::1])")
def gather_all(
    flat: Floats,
    layout: Indices,
    anchors: int,
    activation: int,
    threshold: float,
    kept: Floats,
    places: Indices,
    counters: Indices,
) -> None:
    """Collect each class of each anchor that is above the threshold; arguments as in `gather_best`."""
    count = 0
    for anchor in range(anchors):
        objectness = objectness_of(flat, layout, anchor, activation)
        if not objectness > threshold:
            continue
        largest, total = 0.0, 1.0
        if activation == 2:
            largest = largest_of(flat, layout, anchor)
            total = exponential_sum(flat, layout, anchor, largest)
        for number in range(layout[BACKGROUND], layout[CLASSES]):
            raw = flat[layout[FIRST] + anchor * layout[ANCHOR_STEP] + number * layout[CLASS_STEP]]
            score: float = np.float64(raw)
            if activation == 2:
                score = np.exp(score - largest) / total
            elif activation == 1:
                score = sigmoid_of(raw)
            score = np.float64(np.float32(score * objectness))
            if score > threshold and score < np.inf:
                kept[count] = score
                places[count] = anchor * layout[CLASSES] + number
                count += 1
    counters[0] = count
