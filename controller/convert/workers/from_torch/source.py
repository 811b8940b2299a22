"""The PyTorch network that a model folder names: loaded, its weights checked, its outputs computed.

Decides: what a network must give (tensors) and that its weights are numbers. Leaves out: how it is read (`load.py`).

Every order of this package has: `root` (the model's folder), `torch` (`{"factory", "state"}` or `{"program"}`; without
a state the weights are those that the factory makes, by `seed`), `inputs` (`.npy` of model inputs, float32, shape
(n, …), a query a row) and `folder` (gets the files).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from controller.convert.workers.frame import Unusable
from controller.convert.workers.from_torch import load
from controller.convert.workers.telling import last_words, write_stacked

if TYPE_CHECKING:
    import torch


def load_network(order: Mapping[str, Any]) -> "torch.nn.Module":
    """Return the order's network: in evaluation mode, on the processor, float32, its outputs a tensor or a tuple.

    Raises:
        Unusable: It cannot be made, its state does not fit, it does not take the inputs, or a weight is NaN.
    """
    import torch

    torch.manual_seed(order.get("seed", 0))
    named, root = order["torch"], Path(order["root"])
    if named.get("program"):
        network = load.program(root / named["program"])
    else:
        network = load.module(named["factory"], named.get("state"), root)
    for name, weight in network.state_dict().items():
        if weight.is_floating_point() and not torch.isfinite(weight).all():
            raise Unusable(f"the weights {name!r} hold NaN or infinite values; train or export again")
    return _plain(network, example(order))


def example(order: Mapping[str, Any], queries: int = 1) -> "torch.Tensor":
    """Return the first `queries` inputs of the order; from the beginning again where there are fewer."""
    import numpy as np
    import torch

    inputs = np.load(order["inputs"], mmap_mode="r", allow_pickle=False)
    return torch.from_numpy(np.ascontiguousarray(inputs[np.arange(queries) % len(inputs)]))


def write_outputs(network: "torch.nn.Module", order: Mapping[str, Any]) -> list[str]:
    """Write the network's real outputs for all inputs, query by query; return the files' names, one an output."""
    import numpy as np
    import torch

    with torch.no_grad():
        rows = [
            real(network(torch.from_numpy(query[np.newaxis].copy())))
            for query in np.load(order["inputs"], allow_pickle=False)
        ]
    return write_stacked(rows, Path(order["folder"]), "source-outputs")


def real(outputs: Any) -> "list[torch.Tensor]":
    """Return the outputs that are real numbers: no answer is read from the others."""
    return [tensor.float() for tensor in tensors(outputs) if tensor.is_floating_point()]


def tensors(outputs: Any) -> "tuple[torch.Tensor, ...]":
    """Return a network's outputs as tensors, in its own order.

    Raises:
        Unusable: Something else is among them.
    """
    import torch

    if isinstance(outputs, torch.Tensor):
        return (outputs,)
    parts = list(outputs.values()) if isinstance(outputs, Mapping) else outputs
    if isinstance(parts, tuple | list) and parts and all(isinstance(part, torch.Tensor) for part in parts):
        return tuple(parts)
    raise Unusable(f"the network gives {type(outputs).__name__}; a tensor, or a tuple or mapping of tensors, is needed")


def _plain(network: "torch.nn.Module", inputs: "torch.Tensor") -> "torch.nn.Module":
    """Return the network, wrapped where its outputs are neither a tensor nor a tuple of tensors.

    Raises:
        Unusable: It does not take `inputs`, or gives something else than tensors.
    """
    import torch

    with torch.no_grad():
        try:
            outputs = network(inputs)
        except (RuntimeError, TypeError, ValueError, IndexError, AttributeError) as exc:
            raise Unusable(
                f"the network does not take inputs of shape {tuple(inputs.shape)}: {last_words(exc)}"
            ) from exc
    tensors(outputs)
    if isinstance(outputs, torch.Tensor | tuple):
        return network

    class Plain(torch.nn.Module):  # type: ignore[misc, unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, x: "torch.Tensor") -> "tuple[torch.Tensor, ...]":
            return tensors(self.network(x))

    return Plain().eval()
