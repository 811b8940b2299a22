"""What the shapes of outputs say of detection and segmentation, for both sides alike. Pure.

detection_sizes(post, [(1, 84, 8400)])  # (8400, 80)
"""

from collections.abc import Sequence

from wire.spec.post import DetectionPost, SegmentationPost

Shape = Sequence[int]
SIDES = 4
FEWEST_MAP_CLASSES, MOST_MAP_CLASSES = 2, 256


def known(shapes: Sequence[Shape]) -> bool:
    """Return whether no axis but the batch is free."""
    return all(axis > 0 for shape in shapes for axis in shape[1:])


def detection_sizes(post: DetectionPost, shapes: Sequence[Shape]) -> tuple[int, int]:
    """Return anchors and classes (the background included) of a head whose outputs have these shapes.

    Args:
        post: Its specification.
        shapes: Of `output`, and of `scores` where it has them; with the batch axis, none free but that.
    Raises:
        ValueError: They are not those of such a head; expected and given shape are named.
    """
    anchors, classes = _yolo(post, shapes[0]) if post.head == "yolo" else _two_outputs(post, *shapes)
    if classes <= int(post.background):
        raise ValueError(f"output {_scores_name(post)!r} of shape {tuple(shapes[-1])} leaves no class to detect")
    _check_labels(post.labels, classes)
    return anchors, classes


def map_sizes(post: SegmentationPost, shape: Shape) -> tuple[int, int, int]:
    """Return classes, rows and columns of a map of scores.

    Raises:
        ValueError: The shape is none of this layout.
    """
    name, layout, given = post.output.name, post.layout, tuple(shape)
    if len(given) != 4 or min(given[1:]) < 1:
        raise ValueError(f"output {name!r} has shape {given}: a map of scores is {layout}, of four axes")
    classes, rows, columns = given[1:] if layout == "NCHW" else (given[3], given[1], given[2])
    if not FEWEST_MAP_CLASSES <= classes <= MOST_MAP_CLASSES:
        raise ValueError(
            f"output {name!r} has shape {given}, so {classes} classes where it is {layout}: "
            f"{FEWEST_MAP_CLASSES} to {MOST_MAP_CLASSES} are possible"
        )
    _check_labels(post.labels, classes)
    return classes, rows, columns


def _yolo(post: DetectionPost, shape: Shape) -> tuple[int, int]:
    before = SIDES + int(post.objectness)
    wanted = f"(1, {before} + classes, anchors)" if not post.anchors_first else f"(1, anchors, {before} + classes)"
    _check(post.output.name, shape, wanted, len(shape) == 3)
    anchors, width = shape[1:] if post.anchors_first else (shape[2], shape[1])
    _check(post.output.name, shape, wanted, width > before and anchors > 0)
    return anchors, width - before


def _two_outputs(post: DetectionPost, boxes: Shape, scores: Shape) -> tuple[int, int]:
    _check(post.output.name, boxes, "(1, anchors, 4)", len(boxes) == 3 and boxes[2] == SIDES and boxes[1] > 0)
    wanted = f"(1, {boxes[1]}, classes)"
    _check(_scores_name(post), scores, wanted, len(scores) == 3 and scores[1] == boxes[1] and scores[2] > 0)
    return scores[1], scores[2]


def _scores_name(post: DetectionPost) -> str:
    return (post.scores or post.output).name


def _check(name: str, shape: Shape, wanted: str, fits: bool) -> None:
    if not fits:
        raise ValueError(f"output {name!r} has shape {tuple(shape)}: a detection head of this kind has {wanted}")


def _check_labels(labels: tuple[str, ...], classes: int) -> None:
    if labels and len(labels) != classes:
        raise ValueError(f"the model gives scores of {classes} classes, `labels` has {len(labels)}")
