"""Of boxes that overlap, the best one stays; what stays goes back to the query's own pixels.

Rules: as torchvision's `nms` and `batched_nms` decide, bit by bit: overlap is intersection over union in float32, a box
goes where it is strictly greater than the threshold, boxes without an area never overlap. A box that lies outside the
query altogether takes part in that, but is none of those that an answer may have at most.
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

GONE, OUTSIDE = 1, 2
"""Marks of a box that no answer holds: a better one overlaps it; it lies outside the query."""


@inner
def side_in_query(boxes: Floats, side: int, rank: int, geometry: Doubles) -> float:
    """Return one side of a box in the query's pixels, cut at the edges where the query's size is known."""
    axis = side & 1
    place: float = (np.float64(boxes[side, rank]) - geometry[OFFSET_X + axis]) / geometry[SCALE_X + axis]
    if geometry[COLUMNS] > 0 and geometry[ROWS] > 0:
        place = min(max(place, 0.0), geometry[COLUMNS + axis])
    return place


@kernel("void(float32[:, ::1], int64[::1], float64[::1], int32[::1])")
def mark_outside(boxes: Floats, counters: Indices, geometry: Doubles, gone: Ints) -> None:
    """Mark boxes of which the query shows nothing; none where the query's size is 0.

    Args:
        boxes: In the model's pixels, shape (4, n).
        counters: `counters[1]` boxes.
        geometry: Shape (6,), see the constants above.
        gone: Result: `OUTSIDE` or 0.
    """
    known = geometry[COLUMNS] > 0 and geometry[ROWS] > 0
    for rank in range(counters[1]):
        gone[rank] = 0
        if known:
            left, right = side_in_query(boxes, 0, rank, geometry), side_in_query(boxes, 2, rank, geometry)
            top, bottom = side_in_query(boxes, 1, rank, geometry), side_in_query(boxes, 3, rank, geometry)
            if right <= left or bottom <= top:
                gone[rank] = OUTSIDE


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
        most: So many of a class stay at most, those outside the query not counted.
        sides: Room for the boxes in the order of `group`, and their areas; shape (5, n).
        dead: Room for their marks.
        gone: `OUTSIDE` for boxes outside the query, as `mark_outside` leaves it. Result: `GONE` for each other box that
            goes, else 0; in the order of `boxes`.
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
                dead[first] = GONE
            elif dead[first] == 0:
                if gone[group[first]] != OUTSIDE:
                    kept += 1
                strike(sides, dead, first, starts[number + 1], limit)
    for place in range(counters[1]):
        if gone[group[place]] != OUTSIDE:
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

    Where the query's size is 0 nothing is cut.

    Args:
        boxes: In the model's pixels, shape (4, n), best first.
        scores: Of the boxes.
        classes: Of the boxes.
        gone: 0 for each that stays, as `suppress` leaves it.
        geometry: Shape (6,), see the constants above.
        counters: `counters[1]` boxes; `counters[2]` becomes the number of results.
        placed: Result: left, top, right, bottom in the query's pixels, shape (most, 4).
        placed_scores: Result.
        placed_classes: Result.
    """
    count = 0
    for rank in range(counters[1]):
        if gone[rank] != 0:
            continue
        if count == placed.shape[0]:
            break
        for side in range(4):
            placed[count, side] = side_in_query(boxes, side, rank, geometry)
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
