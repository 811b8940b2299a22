"""A small convolutional network for grey pictures of 28 by 28.

Decides: the architecture. Leaves out: scaling and softmax (both declared in `model.yaml`), training.

    logits = build()(torch.zeros(1, 1, 28, 28))  # (1, 10)
"""

import torch
from torch import nn

CLASSES = 10
CHANNELS = (24, 48, 96)  # per block


def build() -> nn.Module:
    """Return the network with fresh weights: float32 pictures (n, 1, 28, 28) in, logits (n, 10) out."""
    return PictureNetwork()


def block(inputs: int, outputs: int) -> nn.Sequential:
    """Return a convolution of 3 by 3 with its normalisation; the picture keeps its size."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())


class PictureNetwork(nn.Module):
    """Three convolutions with two poolings between them, the mean over what is left, one linear layer."""

    def __init__(self) -> None:
        super().__init__()
        first, second, third = CHANNELS
        self.body = nn.Sequential(
            block(1, first), nn.MaxPool2d(2), block(first, second), nn.MaxPool2d(2), block(second, third)
        )
        self.head = nn.Linear(third, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.body(x).mean(dim=(2, 3)))
        return logits
