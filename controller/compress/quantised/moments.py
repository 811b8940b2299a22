"""Second moments of what an operator reads, over calibration samples: all that rounding has to know of the data.

Decides: which numbers meet in an output: a patch of a convolution, a row of a product. Leaves out: grouped
convolutions, whose outputs each read a few.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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

MOST_BYTES = 64_000_000
"""Of moments that are held together."""


def moments_of(plain: onnx.ModelProto, each: Weighted, feed: Feed) -> Matrix:
    """Return E[x x^T] of an operator's input, in the order of the columns of `Weighted.matrix`.

    Args:
        plain: The float model.
        each: One of its operators; of a convolution, without groups.
        feed: Samples.
    """
    return next(iter(moments_of_each(plain, [each], feed)))[1]


def moments_of_each(
    plain: onnx.ModelProto, operators: Sequence[Weighted], feed: Feed
) -> Iterator[tuple[Weighted, Matrix]]:
    """Yield operators, in their order, with the moments of what each reads, as `moments_of` gives them.

    The samples go through the model once for as many operators as `MOST_BYTES` hold, not once for each.
    """
    for group in _groups(plain, operators):
        most = max(1, MOST_ROWS // max(1, len(feed.inputs)))
        totals, counts = dict.fromkeys(group, np.zeros(())), dict.fromkeys(group, 0)
        wires = {each: plain.graph.node[each.index].input[0] for each in group}
        for seen in values(plain, feed, list(dict.fromkeys(wires.values()))):
            for each, wire in wires.items():
                rows = _rows(plain, each, seen[wire])
                if len(rows) > most:
                    rows = rows[np.linspace(0, len(rows) - 1, most).round().astype(np.int64)]
                totals[each], counts[each] = totals[each] + rows.T @ rows, counts[each] + len(rows)
        yield from ((each, np.asarray(totals[each] / max(1, counts[each]))) for each in group)


def _groups(plain: onnx.ModelProto, operators: Sequence[Weighted]) -> Iterator[list[Weighted]]:
    """Yield operators in groups whose moments fit in `MOST_BYTES`; one that does not is alone."""
    group, held = list[Weighted](), 0
    for each in operators:
        needed = 8 * each.matrix(values_of(plain, each.weight)).shape[1] ** 2
        if group and held + needed > MOST_BYTES:
            yield group
            group, held = [], 0
        group.append(each)
        held += needed
    if group:
        yield group


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
