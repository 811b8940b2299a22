"""What is known of a model before anything is made of it: where its weights and its work are, and what could go.

Decides: the quantities. Leaves out: what follows from them (`words.py`), and what quantising costs (`sensitive.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from controller.compress.channels import trace
from controller.compress.channels.atoms import components
from controller.compress.weights.operators import Weighted, values_of, weighted
from controller.errors import UnusableModel
from controller.models.graph import infer_shapes, measure_graph

if TYPE_CHECKING:
    import onnx

ENERGY = 0.95
"""Share of the squared singular values that a low-rank factor keeps."""
CONVOLUTIONS = frozenset({"Conv", "ConvTranspose"})
RECURRENT = frozenset({"GRU", "LSTM", "RNN"})


@dataclass(frozen=True)
class Facts:
    """Of one model.

    parameters, macs: as counted. disk_bytes: of the file. convolution_ratio, depthwise_ratio, product_ratio: shares of
    the weights' values in convolutions, in depthwise ones of them, in products. largest: weight -> values, the largest
    three. channels: widths from which channels can go. rank_ratio: values that factors at 95 % of the energy would
    hold, against all. range_spread: the largest range of a weight's channel against its median, of the widest weight.
    recurrent: operators of that kind. samples, labelled: of the training part. answers: `classes`, or `numbers`.
    sensitivity: operator -> SQNR of the outputs when it alone is quantised [dB]; int8_db: when all are. Both are empty
    where nothing calibrates, `why_not` then says why.
    """

    parameters: int
    macs: int
    disk_bytes: int
    convolution_ratio: float
    depthwise_ratio: float
    product_ratio: float
    largest: Mapping[str, int]
    channels: tuple[int, ...]
    rank_ratio: float
    range_spread: float
    recurrent: tuple[str, ...] = ()
    samples: int = 0
    labelled: bool = False
    answers: str = "numbers"
    sensitivity: Mapping[str, float] = field(default_factory=dict)
    int8_db: float | None = None
    why_not: str = ""


def facts_of(model: onnx.ModelProto, disk_bytes: int, **known: Any) -> Facts:
    """Return what a graph says.

    Args:
        model: Float, its constants as initialisers.
        disk_bytes: Of its file.
        known: Fields that the graph does not say.
    """
    counts, found = measure_graph(model), weighted(model)
    values = {each.weight: values_of(model, each.weight) for each in found}
    sizes = {name: each.size for name, each in values.items()}
    total = max(1, sum(sizes.values()))
    return Facts(
        parameters=counts.parameters,
        macs=counts.macs,
        disk_bytes=disk_bytes,
        convolution_ratio=sum(sizes[each.weight] for each in found if each.kind in CONVOLUTIONS) / total,
        depthwise_ratio=sum(sizes[each.weight] for each in found if each.groups > 1) / total,
        product_ratio=sum(sizes[each.weight] for each in found if each.kind not in CONVOLUTIONS) / total,
        largest=dict(sorted(sizes.items(), key=lambda item: -item[1])[:3]),
        channels=_channels(model),
        rank_ratio=_rank_ratio(found, values),
        range_spread=_range_spread(found, values),
        recurrent=tuple(sorted(RECURRENT & set(counts.operators))),
        **known,
    )


def _channels(model: onnx.ModelProto) -> tuple[int, ...]:
    """Return the widths of which channels can be taken out; none where the graph cannot be followed."""
    try:
        infer_shapes(model)
        traced = trace.trace(model)
    except UnusableModel:
        return ()
    return tuple(sorted((len(each) for each in components(traced.atoms, traced.pieces)), reverse=True))


def _rank_ratio(found: list[Weighted], values: Mapping[str, NDArray[Any]]) -> float:
    """Return the values of factors at `ENERGY` against those of the weights; a weight that gains nothing stays."""
    before = after = 0
    for each in found:
        matrix = each.matrix(values[each.weight]).astype(np.float64)
        rows, columns = matrix.shape
        before += matrix.size
        if each.groups > 1 or min(rows, columns) < 2:
            after += matrix.size
            continue
        energy = np.cumsum(np.linalg.svd(matrix, compute_uv=False) ** 2)
        rank = int(np.searchsorted(energy, ENERGY * energy[-1])) + 1
        after += min(matrix.size, rank * (rows + columns))
    return after / before if before else 1.0


def _range_spread(found: list[Weighted], values: Mapping[str, NDArray[Any]]) -> float:
    """Return how much wider the widest channel of a weight is than its median one; of the weight where that is most."""
    spreads = [1.0]
    for each in found:
        widths = np.abs(each.matrix(values[each.weight])).max(axis=1)
        if (middle := float(np.median(widths))) > 0:
            spreads.append(float(widths.max()) / middle)
    return max(spreads)
