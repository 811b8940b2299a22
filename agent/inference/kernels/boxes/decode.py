"""Where a candidate's box lies in the model's input.

Rules: a box with a coordinate that is not finite, or whose right or lower edge lies before the other one, is dropped.
"""

import numpy as np
from numpy.typing import NDArray

from agent.inference.kernels.compiled import kernel

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int32]
Indices = NDArray[np.int64]

HEADS = {"yolo": 0, "ssd": 1, "boxes": 2}
"""Name in the specification -> number in the kernel."""

HEAD, ANCHOR_STEP, VALUE_STEP, CLASSES, Y_FIRST, MOST = range(6)
"""A head's layout: which head, steps from anchor to anchor and from one of its four values to the next, number of
classes, 1 where vertical values stand before horizontal ones, candidates that are decoded at most."""


@kernel(
    "void(float32[::1], int64[::1], float32[:, ::1], float64[::1], float32[::1], int64[::1], int64[::1], int64[::1],"
    " float32[:, ::1], float32[::1], int32[::1])"
)
def decode_boxes(
    flat: Floats,
    layout: Indices,
    anchors: Floats,
    factors: Doubles,
    scores: Floats,
    places: Indices,
    order: Indices,
    counters: Indices,
    boxes: Floats,
    box_scores: Floats,
    classes: Ints,
) -> None:
    """Decode the best candidates, best first.

    Args:
        flat: The head's boxes.
        layout: How they stand there, shape (6,).
        anchors: Of an SSD head, shape (anchors, 4): centre, then size; else any shape.
        factors: Variances of the centre and of the size, in the order of the values; then the input's columns and rows
            where values run from 0 to 1, else ones; shape (6,).
        scores: Of the candidates.
        places: Anchor * classes + class of each.
        order: Best first.
        counters: `counters[0]` candidates; `counters[1]` becomes the number of boxes.
        boxes: Result: left, top, right, bottom, shape (4, most).
        box_scores: Result.
        classes: Result.
    """
    horizontal = layout[Y_FIRST]
    vertical = 1 - horizontal
    count = 0
    for rank in range(min(counters[0], layout[MOST])):
        candidate = order[rank]
        anchor = places[candidate] // layout[CLASSES]
        start = anchor * layout[ANCHOR_STEP]
        x = np.float64(flat[start + horizontal * layout[VALUE_STEP]])
        y = np.float64(flat[start + vertical * layout[VALUE_STEP]])
        width = np.float64(flat[start + (2 + horizontal) * layout[VALUE_STEP]])
        height = np.float64(flat[start + (2 + vertical) * layout[VALUE_STEP]])
        if layout[HEAD] == 1:
            across, down = np.float64(anchors[anchor, 2 + horizontal]), np.float64(anchors[anchor, 2 + vertical])
            x = x * factors[horizontal] * across + np.float64(anchors[anchor, horizontal])
            y = y * factors[vertical] * down + np.float64(anchors[anchor, vertical])
            width = np.exp(width * factors[2 + horizontal]) * across
            height = np.exp(height * factors[2 + vertical]) * down
        left, top, right, bottom = x, y, width, height
        if layout[HEAD] != 2:
            left, right = x - width * 0.5, x + width * 0.5
            top, bottom = y - height * 0.5, y + height * 0.5
        boxes[0, count] = left * factors[4]
        boxes[1, count] = top * factors[5]
        boxes[2, count] = right * factors[4]
        boxes[3, count] = bottom * factors[5]
        wide, tall = boxes[2, count] - boxes[0, count], boxes[3, count] - boxes[1, count]
        if wide >= 0 and wide < np.inf and tall >= 0 and tall < np.inf:  # else the next one is written over it
            box_scores[count] = scores[candidate]
            classes[count] = places[candidate] - anchor * layout[CLASSES]
            count += 1
    counters[1] = count
