"""PyTorch -> ExecuTorch (`.pte`) with XNNPACK, for one query at a time: float, half precision, or static int8.

Order, besides `source.py`'s: `precision` (`float`, `fp16`, `int8`), and for int8 `calibration` (`.npy` like `inputs`).
The converted file is run here too, since the controller has no ExecuTorch: its outputs come back as the source's do.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from controller.convert.workers.frame import Unusable, carry_out
from controller.convert.workers.from_torch.batch_norm import as_convolutions
from controller.convert.workers.from_torch.run_program import outputs_of
from controller.convert.workers.from_torch.source import example, load_network, tensors, write_outputs
from controller.convert.workers.telling import last_words, used_versions

if TYPE_CHECKING:
    import torch


def convert(order: Mapping[str, Any]) -> dict[str, Any]:
    """Write `model.pte` and run it.

    Raises:
        Unusable: The network cannot be traced or lowered, or ExecuTorch does not run what came out.
    """
    network = load_network(order)
    source_outputs = write_outputs(network, order)
    inputs = example(order)
    if order["precision"] == "fp16":
        network = _halved(network)
    exported = _exported(_quantised(network, inputs, order) if order["precision"] == "int8" else network, inputs)
    program = _lowered(exported)
    path = Path(order["folder"]) / "model.pte"
    path.write_bytes(program.buffer)
    return {
        "file": path.name,
        "source_outputs": source_outputs,
        "outputs": outputs_of(path, Path(order["inputs"]), path.parent),
        "versions": used_versions("torch", "torchao", "executorch"),
        "notes": [*_notes(program), *_unhalved(order["precision"], path, exported)],
    }


def _quantised(network: "torch.nn.Module", inputs: "torch.Tensor", order: Mapping[str, Any]) -> "torch.nn.Module":
    """Return the network with static int8, per channel, its ranges observed over the calibration inputs."""
    import numpy as np
    import torch
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
    try:
        exported = torch.export.export(network, (inputs,)).module()
        as_convolutions(exported)
        prepared = prepare_pt2e(exported, quantizer)
    except Exception as exc:  # torch.export and the quantiser raise errors of many kinds; all mean a refusal
        raise Unusable(f"torch cannot trace the network for int8: {last_words(exc)}") from exc
    with torch.no_grad():
        for sample in np.load(order["calibration"], mmap_mode="r", allow_pickle=False):
            prepared(torch.from_numpy(sample[np.newaxis].copy()))
    return convert_pt2e(prepared)


def _halved(network: "torch.nn.Module") -> "torch.nn.Module":
    """Return the network computing in half precision between float32 inputs and outputs."""
    import torch

    inner = network.half()

    class Halved(torch.nn.Module):  # type: ignore[misc, unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: "torch.Tensor") -> "tuple[torch.Tensor, ...]":
            return tuple(output.float() for output in tensors(self.inner(x.half())))

    return Halved().eval()


def _exported(network: "torch.nn.Module", inputs: "torch.Tensor") -> Any:
    import torch

    try:
        return torch.export.export(network, (inputs,))
    except Exception as exc:  # torch.export raises errors of many kinds; all mean a refusal
        raise Unusable(f"torch cannot trace the network: {last_words(exc)}") from exc


def _lowered(exported: Any) -> Any:
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    try:
        return to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()]).to_executorch()
    except Exception as exc:  # ExecuTorch raises errors of many kinds; all mean a refusal
        raise Unusable(f"ExecuTorch refuses the network: {last_words(exc)}") from exc


def _notes(program: Any) -> list[str]:
    """Name the operators that XNNPACK left to the portable kernels, which are far slower."""
    plan = program.executorch_program.execution_plan[0]
    left = sorted({operator.name for operator in plan.operators})
    return [f"not run by XNNPACK, but by portable kernels: {', '.join(left)}"] if left else []


def _unhalved(precision: str, path: Path, exported: Any) -> list[str]:
    """Say so where half precision made no smaller file: XNNPACK keeps the weights of convolutions as they were."""
    if precision != "fp16":
        return []
    kernels = {each.args[1] for each in exported.graph.nodes if "aten.conv" in str(each.target)}
    kept = sum(each.meta["val"].numel() for each in kernels)
    others = sum(weight.numel() for weight in exported.parameters()) - kept
    is_large = kept and path.stat().st_size > 2 * others + 3 * kept
    return ["XNNPACK stores convolutions' weights in float32: the file is hardly smaller"] if is_large else []


if __name__ == "__main__":
    sys.exit(carry_out(convert, sys.argv))
