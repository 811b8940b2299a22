"""The residual network for outlines: three blocks of three 1-D convolutions.

Decides: the architecture. Leaves out: normalisation and softmax (both declared in `model.yaml`), training.

    logits = build()(torch.zeros(1, 1, 427))  # (1, 6)

Source: Wang, Yan, Oates 2017, "Time series classification from scratch with deep neural networks", section II.C.
"""

from itertools import pairwise

import torch
from torch import nn

CLASSES = 6
CHANNELS = (64, 128, 128)  # per block
KERNELS = (8, 5, 3)  # per convolution in a block


def build() -> nn.Module:
    """Return the network with fresh weights: float32 outlines (n, 1, 427) in, logits (n, 6) out."""
    return OutlineNetwork()


def convolution(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    """Return convolution and batch normalisation whose output is as long as the input.

    An even kernel pads one point more on the right, as TensorFlow's "same" does. The padding is a layer of its own, so
    that every exporter sees constants; the ONNX exporter folds it into the convolution.
    """
    padding = nn.ConstantPad1d(((kernel - 1) // 2, kernel // 2), 0.0) if kernel % 2 == 0 else nn.Identity()
    symmetric = 0 if kernel % 2 == 0 else kernel // 2
    return nn.Sequential(
        padding, nn.Conv1d(inputs, outputs, kernel, padding=symmetric, bias=False), nn.BatchNorm1d(outputs)
    )


class ResidualBlock(nn.Module):
    """Three convolutions beside a shortcut; it has a convolution only where the number of channels changes."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        first, second, third = KERNELS
        self.body = nn.Sequential(
            convolution(inputs, outputs, first),
            nn.ReLU(),
            convolution(outputs, outputs, second),
            nn.ReLU(),
            convolution(outputs, outputs, third),
        )
        self.shortcut = nn.BatchNorm1d(outputs) if inputs == outputs else convolution(inputs, outputs, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


class OutlineNetwork(nn.Module):
    """Residual blocks, the mean over the outline, one linear layer."""

    def __init__(self) -> None:
        super().__init__()
        sizes = (1, *CHANNELS)
        self.blocks = nn.Sequential(*(ResidualBlock(*pair) for pair in pairwise(sizes)))
        self.head = nn.Linear(CHANNELS[-1], CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.blocks(x).mean(dim=-1))
        return logits
