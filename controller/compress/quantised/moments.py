"""Second moments of what an operator reads, over calibration samples: all that rounding has to know of the data.

Decides: which numbers meet in an output: a patch of a convolution, a row of a product. Leaves out: grouped
convolutions, whose outputs each read a few.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from controller.compress.calibrate.stream import Feed
from controller.compress.quantised.emulated import values
from controller.compress.weights.operators import Weighted, attributes, values_of

if TYPE_CHECKING:
    import onnx

Matrix = NDArray[np.float64]
MOST_ROWS = 20_000
"""Of patches: more change the moments little and take memory."""


def moments_of(plain: onnx.ModelProto, each: Weighted, feed: Feed) -> Matrix:
    """Return E[x x^T] of an operator's input, in the order of the columns of `Weighted.matrix`.

    Args:
        plain: The float model.
        each: One of its operators; of a convolution, without groups.
        feed: Samples.
    """
    name = plain.graph.node[each.index].input[0]
    most = max(1, MOST_ROWS // max(1, len(feed.inputs)))
    total, count = np.zeros(()), 0
    for seen in values(plain, feed, [name]):
        rows = _rows(plain, each, seen[name])
        if len(rows) > most:
            rows = rows[np.linspace(0, len(rows) - 1, most).round().astype(np.int64)]
        total, count = total + rows.T @ rows, count + len(rows)
    return np.asarray(total / max(1, count))


def _rows(plain: onnx.ModelProto, each: Weighted, read: Matrix) -> Matrix:
    if each.kind != "Conv":
        return read.reshape(-1, read.shape[-1])
    operator = plain.graph.node[each.index]
    size = values_of(plain, each.weight).shape[2:]
    places = len(size)
    given = _places_of(operator, places)
    begin, end = given["pads"][:places], given["pads"][places:]
    padded = np.pad(read, [(0, 0), (0, 0), *zip(begin, end, strict=True)])
    spread = [(length - 1) * apart + 1 for length, apart in zip(size, given["dilations"], strict=True)]
    windows = sliding_window_view(padded, spread, axis=tuple(range(2, 2 + places)))
    taken = [slice(None), slice(None), *(slice(None, None, step) for step in given["strides"])]
    taken += [slice(None, None, apart) for apart in given["dilations"]]
    patches = np.moveaxis(windows[tuple(taken)], 1, 1 + places)  # samples, places…, channels, patch…
    return np.asarray(patches.reshape(-1, read.shape[1] * int(np.prod(size))))


def _places_of(operator: onnx.NodeProto, places: int) -> dict[str, Any]:
    given = attributes(operator)
    defaults = {"pads": [0] * (2 * places), "strides": [1] * places, "dilations": [1] * places}
    return {name: list(given.get(name, default)) for name, default in defaults.items()}


def is_read_whole(plain: onnx.ModelProto, each: Weighted) -> bool:
    """Return whether `moments_of` knows this operator: no groups, and pads that are stated."""
    padding = attributes(plain.graph.node[each.index]).get("auto_pad", b"NOTSET")
    return each.kind in ("Conv", "Gemm", "MatMul") and each.groups == 1 and padding in (b"NOTSET", b"VALID")
