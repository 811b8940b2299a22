"""A small perceptron from seventeen soil sensors to organic carbon.

Decides: the architecture. Leaves out: standardisation and the target's units (both declared in `model.yaml`).

    standardised = build()(torch.zeros(1, 17))  # (1, 1)
"""

from torch import nn

FEATURES = 17
HIDDEN = (64, 32)


def build() -> nn.Module:
    """Return the network with fresh weights: standardised sensors (n, 17) in, standardised carbon (n, 1) out."""
    first, second = HIDDEN
    return nn.Sequential(
        nn.Linear(FEATURES, first), nn.ReLU(), nn.Linear(first, second), nn.ReLU(), nn.Linear(second, 1)
    )
