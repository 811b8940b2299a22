"""When a file in half precision is said to be hardly smaller: where convolutions keep their weights, nowhere else."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from controller.convert.workers.from_torch import to_executorch


class Weight(SimpleNamespace):
    """A tensor of so many elements, as a parameter and as a value in a graph."""

    def __init__(self, elements: int) -> None:
        super().__init__(meta={"val": SimpleNamespace(numel=lambda: elements)}, numel=lambda: elements)

    __hash__ = object.__hash__  # type: ignore[assignment]


def exported(kernels: int, dense: int) -> Any:
    """Return a program of a convolution that is called twice, and a linear layer."""
    kernel, matrix = Weight(kernels), Weight(dense)
    calls = [("aten.conv1d.default", kernel)] * (2 if kernels else 0) + [("aten.linear.default", matrix)]
    nodes = [SimpleNamespace(target=target, args=(None, weight)) for target, weight in calls]
    graph = SimpleNamespace(nodes=[SimpleNamespace(target="x", args=()), *nodes])
    return SimpleNamespace(graph=graph, parameters=lambda: [kernel, matrix] if kernels else [matrix])


@pytest.mark.parametrize(
    ("precision", "kernels", "dense", "size", "told"),
    [
        ("fp16", 1000, 100, 4300, True),
        ("fp16", 1000, 100, 2300, False),
        ("fp16", 1000, 5000, 14_100, True),
        ("fp16", 0, 1000, 9000, False),
        ("float", 1000, 100, 4300, False),
    ],
)
def test_only_convolutions_keep_their_weights(
    tmp_path: Path, precision: str, kernels: int, dense: int, size: int, told: bool
) -> None:
    (tmp_path / "model.pte").write_bytes(b"\0" * size)
    notes = to_executorch._unhalved(precision, tmp_path / "model.pte", exported(kernels, dense))
    assert [note.partition(":")[0] for note in notes] == (
        ["XNNPACK stores convolutions' weights in float32"] if told else []
    )
