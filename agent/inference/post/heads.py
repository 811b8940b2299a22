"""How scores and boxes stand in a detection head's outputs, as the kernels take it.

Leaves out: which shapes a head may have (`wire/spec/heads.py`), and reading them (`detection.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from agent.errors import BadBundle
from agent.inference.kernels.boxes.decode import HEADS
from wire import spec
from wire.spec.heads import SIDES, detection_sizes


@dataclass(frozen=True)
class Head:
    """Sizes and layouts, as the kernels take them."""

    anchors: int
    classes: int
    """The background included."""
    by_columns: bool
    """Classes before anchors."""
    width: int
    """Values of an anchor in the output that holds the scores."""
    score_layout: tuple[int, ...]
    """See `kernels/boxes/scores.py`."""
    box_layout: tuple[int, ...]
    """See `kernels/boxes/decode.py`."""


def read_head(post: spec.DetectionPost, shapes: Sequence[Sequence[int]]) -> Head:
    """Return the layout of outputs with these shapes, batch axis included.

    Raises:
        BadBundle: They are not those of such a head; expected and given shape are named.
    """
    try:
        anchors, classes = detection_sizes(post, shapes)
    except ValueError as exc:
        raise BadBundle(str(exc)) from exc
    skipped = int(post.background)
    if post.head != "yolo":
        layout = (0, classes, 1, classes, skipped, -1)
        return Head(anchors, classes, False, classes, layout, _box_layout(post, SIDES, 1, classes))
    before = SIDES + int(post.objectness)
    width = before + classes
    anchor_step, value_step = (width, 1) if post.anchors_first else (1, anchors)
    objectness = SIDES * value_step if post.objectness else -1
    layout = (before * value_step, anchor_step, value_step, classes, skipped, objectness)
    box_layout = _box_layout(post, anchor_step, value_step, classes)
    return Head(anchors, classes, not post.anchors_first, width, layout, box_layout)


def _box_layout(post: spec.DetectionPost, anchor_step: int, value_step: int, classes: int) -> tuple[int, ...]:
    order = post.order or ("yx" if post.head == "ssd" else "xy")
    return HEADS[post.head], anchor_step, value_step, classes, int(order == "yx"), post.most_candidates
