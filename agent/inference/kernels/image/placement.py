"""Where a picture comes to lie in the model's input.

Decides: the rounding. `letterbox` rounds the new size half to even and puts the odd pixel of padding right and below,
as YOLO's own code does; `crop` cuts the long edge's new size to whole pixels and rounds where the middle begins half to
even, as torchvision's Resize and CenterCrop do. Leaves out: interpolation (`taps.py`).
"""

from dataclasses import dataclass

from wire.spec import ImagePre


@dataclass(frozen=True)
class Edge:
    """One axis of the placement, in pixels."""

    source: int
    resized: int
    """The whole edge of the picture after resizing."""
    first: int
    """The first resized pixel that is kept."""
    kept: int
    offset: int
    """Where it lies in the model's input."""

    @property
    def scale(self) -> float:
        """Model pixels for one of the source."""
        return self.resized / self.source

    @property
    def shift(self) -> float:
        """model = source * scale + shift, in coordinates whose 0 is the first pixel's outer edge."""
        return float(self.offset - self.first)


def place_picture(pre: ImagePre, rows: int, columns: int) -> tuple[Edge, Edge]:
    """Return the placement along rows and along columns of a picture of that size."""
    if pre.fit == "letterbox":
        ratio = min(pre.height / rows, pre.width / columns)
        return _boxed(rows, pre.height, ratio), _boxed(columns, pre.width, ratio)
    if pre.fit == "crop":
        short = pre.short_edge or 0
        return _cut(rows, min(rows, columns), short, pre.height), _cut(columns, min(rows, columns), short, pre.width)
    return Edge(rows, pre.height, 0, pre.height, 0), Edge(columns, pre.width, 0, pre.width, 0)


def _boxed(source: int, wanted: int, ratio: float) -> Edge:
    resized = min(max(round(source * ratio), 1), wanted)
    return Edge(source, resized, 0, resized, (wanted - resized) // 2)


def _cut(source: int, shorter: int, short_edge: int, wanted: int) -> Edge:
    resized = short_edge * source // shorter
    return Edge(source, resized, round((resized - wanted) / 2), wanted, 0)
