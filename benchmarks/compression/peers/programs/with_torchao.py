"""PyTorch's quantiser of exported programs (torchao, PT2E), exported to ONNX.

Order besides `frame.py`'s: `torch` (the model's entry of model.yaml) and `root` (the model's folder). Setting:
`quantizer`, `xnnpack` (ExecuTorch's, signed integers) or `x86` (torchao's for x86, unsigned activations);
`per_channel`: of the first.
"""

import sys
from pathlib import Path
from typing import Any

from benchmarks.compression.peers.programs.frame import Order, carry_out, samples
from controller.convert.workers.from_torch import load

LARGEST_BATCH = 1024


def compress(order: Order) -> None:
    """Write the quantised model."""
    import torch
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    named, queries = order["torch"], torch.from_numpy(samples(order))
    network = load.module(named["factory"], named.get("state"), Path(order["root"]))
    batch = ({0: torch.export.Dim("batch", min=1, max=LARGEST_BATCH)},)
    program = torch.export.export(network.eval(), (queries[:2],), dynamic_shapes=batch).module()
    prepared = prepare_pt2e(program, quantizer_of(order["setting"]))
    with torch.no_grad():
        for query in queries:
            prepared(query[None])
    made = convert_pt2e(prepared)
    exported = torch.onnx.export(
        made, (queries[:2],), dynamo=True, dynamic_shapes=batch, input_names=[order["input"]],
        output_names=[order["output"]], external_data=False,
    )  # fmt: skip
    exported.save(order["out"])


def quantizer_of(setting: Order) -> Any:
    """Return the quantiser that a setting names, configured as its documentation shows."""
    if setting["quantizer"] == "x86":
        from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

        return x86.X86InductorQuantizer().set_global(x86.get_default_x86_inductor_quantization_config())
    from executorch.backends.xnnpack.quantizer import xnnpack_quantizer as xnnpack

    config = xnnpack.get_symmetric_quantization_config(is_per_channel=setting["per_channel"])
    return xnnpack.XNNPACKQuantizer().set_global(config)


if __name__ == "__main__":
    sys.exit(carry_out(compress))
