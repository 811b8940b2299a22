"""Of boxes that overlap, the best one stays; what stays goes back to the query's own pixels.

Rules: as torchvision's `nms` and `batched_nms` decide, bit by bit: overlap is intersection over union in float32, a box
goes where it is strictly greater than the threshold, boxes without an area never overlap.
"""

import numpy as np
from numpy.typing import NDArray

from agent.inference.kernels.compiled import inner, kernel

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int32]
Indices = NDArray[np.int64]

SCALE_X, SCALE_Y, OFFSET_X, OFFSET_Y, COLUMNS, ROWS = range(6)
"""How a query lies in the model's input: model = query * scale + offset; the query's size, 0 where it is not known."""


@inner
def strike(sides: Floats, dead: Ints, first: int, stop: int, threshold: np.float32) -> None:
    """Mark those from behind `first` to `stop` that the box at `first` overlaps too much. Compiles to SIMD."""
    left, top, right, bottom, area = sides[0, first], sides[1, first], sides[2, first], sides[3, first], sides[4, first]
    lefts, tops = sides[0, first + 1 : stop], sides[1, first + 1 : stop]
    rights, bottoms = sides[2, first + 1 : stop], sides[3, first + 1 : stop]
    areas, marks = sides[4, first + 1 : stop], dead[first + 1 : stop]
    nothing = np.float32(0)
    for index in range(marks.shape[0]):
        # Conditional expressions, not min and max: those of numpy treat NaN apart, and block SIMD.
        inner_left = lefts[index] if lefts[index] > left else left
        inner_top = tops[index] if tops[index] > top else top
        inner_right = rights[index] if rights[index] < right else right
        inner_bottom = bottoms[index] if bottoms[index] < bottom else bottom
        wide, tall = inner_right - inner_left, inner_bottom - inner_top
        common = (wide if wide > nothing else nothing) * (tall if tall > nothing else nothing)
        marks[index] |= np.int32(common / (area + areas[index] - common) > threshold)


@kernel(
    "void(float32[:, ::1], int64[::1], int64[::1], int64[::1], float64, int64, float32[:, ::1], int32[::1], int32[::1])"
)
def suppress(
    boxes: Floats,
    counters: Indices,
    group: Indices,
    starts: Indices,
    threshold: float,
    most: int,
    sides: Floats,
    dead: Ints,
    gone: Ints,
) -> None:
    """Mark boxes that a better one of their class overlaps.

    Args:
        boxes: Left, top, right, bottom, shape (4, n); best first.
        counters: `counters[1]` boxes.
        group: Their places, class after class, best first in each.
        starts: Where each class begins in `group`, and where the last one ends.
        threshold: A float32 number; see `single_below`.
        most: So many of a class stay at most.
        sides: Room for the boxes in the order of `group`, and their areas; shape (5, n).
        dead: Room for their marks.
        gone: Result: 1 for each box that goes, in the order of `boxes`.
    """
    for place in range(counters[1]):
        rank = group[place]
        for side in range(4):
            sides[side, place] = boxes[side, rank]
        sides[4, place] = (boxes[2, rank] - boxes[0, rank]) * (boxes[3, rank] - boxes[1, rank])
        dead[place] = 0
    limit = np.float32(threshold)
    for number in range(starts.shape[0] - 1):
        kept = 0
        for first in range(starts[number], starts[number + 1]):
            if kept == most:
                dead[first] = 1
            elif dead[first] == 0:
                kept += 1
                strike(sides, dead, first, starts[number + 1], limit)
    for place in range(counters[1]):
        gone[group[place]] = dead[place]


@kernel(
    "void(float32[:, ::1], float32[::1], int32[::1], int32[::1], float64[::1], int64[::1], float64[:, ::1],"
    " float64[::1], int64[::1])"
)
def place_boxes(
    boxes: Floats,
    scores: Floats,
    classes: Ints,
    gone: Ints,
    geometry: Doubles,
    counters: Indices,
    placed: Doubles,
    placed_scores: Doubles,
    placed_classes: Indices,
) -> None:
    """Bring what stays back through the geometry, cut at the query's edges, best first.

    A box that lies outside the query altogether is dropped. Where the query's size is 0 nothing is cut or dropped.

    Args:
        boxes: In the model's pixels, shape (4, n), best first.
        scores: Of the boxes.
        classes: Of the boxes.
        gone: 1 for each that was suppressed.
        geometry: Shape (6,), see the constants above.
        counters: `counters[1]` boxes; `counters[2]` becomes the number of results.
        placed: Result: left, top, right, bottom in the query's pixels, shape (most, 4).
        placed_scores: Result.
        placed_classes: Result.
    """
    columns, rows = geometry[COLUMNS], geometry[ROWS]
    known = columns > 0 and rows > 0
    count = 0
    for rank in range(counters[1]):
        if gone[rank] != 0:
            continue
        if count == placed.shape[0]:
            break
        left = (np.float64(boxes[0, rank]) - geometry[OFFSET_X]) / geometry[SCALE_X]
        top = (np.float64(boxes[1, rank]) - geometry[OFFSET_Y]) / geometry[SCALE_Y]
        right = (np.float64(boxes[2, rank]) - geometry[OFFSET_X]) / geometry[SCALE_X]
        bottom = (np.float64(boxes[3, rank]) - geometry[OFFSET_Y]) / geometry[SCALE_Y]
        if known:
            left, top = min(max(left, 0.0), columns), min(max(top, 0.0), rows)
            right, bottom = min(max(right, 0.0), columns), min(max(bottom, 0.0), rows)
            if right <= left or bottom <= top:
                continue
        placed[count, 0], placed[count, 1], placed[count, 2], placed[count, 3] = left, top, right, bottom
        placed_scores[count], placed_classes[count] = scores[rank], classes[rank]
        count += 1
    counters[2] = count


def single_below(threshold: float) -> float:
    """Return the largest float32 that is not above `threshold`.

    A float32 overlap is greater than the one exactly where it is greater than the other, and the comparison stays one
    of float32.
    """
    single = np.float32(threshold)
    return float(single if float(single) <= threshold else np.nextafter(single, np.float32(-np.inf)))
