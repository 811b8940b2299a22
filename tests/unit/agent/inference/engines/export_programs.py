"""Made `small.pte` and `counter.pte`, which lie beside it: run it in an environment with torch and ExecuTorch.

python tests/unit/agent/inference/engines/export_programs.py

`small`: logits = W mean(relu(conv(x))) + b for x of shape (1, 2, 12), wholly XNNPACK's. `counter`: adds its input to a
sum that it keeps, with portable kernels alone. Weights are equally spaced, so that a test can compute the same.
"""

from pathlib import Path

import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import to_edge_transform_and_lower
from torch import nn

FOLDER = Path(__file__).parent


class Small(nn.Module):  # type: ignore[misc, unused-ignore]
    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.head = nn.Conv1d(2, 4, 3, padding=1), nn.Linear(4, 3)
        for parameter in self.parameters():
            parameter.data = torch.linspace(-1, 1, parameter.numel()).reshape(parameter.shape)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(torch.relu(self.convolution(x)).mean(2))
        return logits


class Counter(nn.Module):  # type: ignore[misc, unused-ignore]
    total: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("total", torch.zeros(1, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.total.add_(x)
        return self.total * 1.0


def main() -> None:
    """Export both."""
    for name, module, shape, partitioner in (
        ("small", Small(), (1, 2, 12), [XnnpackPartitioner()]),
        ("counter", Counter(), (1, 3), []),
    ):
        exported = torch.export.export(module.eval(), (torch.zeros(shape),))
        program = to_edge_transform_and_lower(exported, partitioner=partitioner).to_executorch()
        (FOLDER / f"{name}.pte").write_bytes(program.buffer)


if __name__ == "__main__":
    main()
