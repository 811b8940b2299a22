"""Where a picture lies in the model's input: model = query * scale + offset, in pixels whose 0 is the outer edge."""

from dataclasses import dataclass

from controller.models.preprocess.image import placement
from wire.spec import ImagePre, PreSpec


@dataclass(frozen=True)
class Geometry:
    """Each pair is horizontal, then vertical. `size`: of the query, columns and rows; zeros where it is no picture."""

    scale: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)
    size: tuple[int, int] = (0, 0)
    model: tuple[int, int] = (1, 1)


def geometry_of(pre: PreSpec, query: tuple[int, ...]) -> Geometry:
    """Return how a query of this shape (rows, columns, …) lies in the input; a query that is no picture stays there."""
    if not isinstance(pre, ImagePre):
        return Geometry()
    rows, columns = placement(pre, query[0], query[1])
    down, across = (
        (new / source, (whole - kept) // 2 - first)
        for (source, new, first, kept), whole in ((rows, pre.height), (columns, pre.width))
    )
    return Geometry((across[0], down[0]), (across[1], down[1]), (query[1], query[0]), (pre.width, pre.height))
