"""PyTorch -> Core ML ML Program, packed as a zip; checked by its weights, since only Apple's systems run it.

Order, besides `source.py`'s: `precision` (`float`, `fp16`, `int8`, `pal4`, `pal6`), `names` (`{"input", "outputs"}`).
int8 and palettes store the weights so; Core ML computes in half precision.
"""

import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from controller.convert.workers.frame import Unusable, carry_out
from controller.convert.workers.from_torch.coreml_package import compared, pack, unchanged, weights
from controller.convert.workers.from_torch.source import example, load_network, tensors, write_outputs
from controller.convert.workers.telling import last_words, used_versions

if TYPE_CHECKING:
    import torch

SMALLEST_WEIGHT = 512
"""Weights of fewer elements stay as they are: a palette of 64 values would hardly be smaller."""


def convert(order: Mapping[str, Any]) -> dict[str, Any]:
    """Write `model.mlpackage.zip`, read it again, and compare its weights with the float program's.

    Raises:
        Unusable: coremltools has no form for an operator, or what was written reads back differently.
    """
    import coremltools as ct

    network, precision = load_network(order), order["precision"]
    source_outputs = write_outputs(network, order)
    exact = _program(network, order, ct.precision.FLOAT32)
    wanted = exact if precision == "float" else _program(network, order, ct.precision.FLOAT16)
    compressed, float_weights = _compressed(wanted, precision), weights(exact)
    path, read = pack(compressed, Path(order["folder"]))
    return {
        "file": path.name,
        "source_outputs": source_outputs,
        "versions": used_versions("torch", "coremltools"),
        "notes": [_told(network, float_weights)],
        "weights": compared(float_weights, weights(read, compressed=True)),
    }


def _program(network: "torch.nn.Module", order: Mapping[str, Any], precision: Any) -> Any:
    import coremltools as ct
    import torch

    inputs, names = example(order), order.get("names") or {}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tracing: constants, which a fixed shape makes right
        count = len(tensors(network(inputs)))
        traced = torch.jit.trace(network, inputs, check_trace=False)
    outputs = list(names.get("outputs") or ())
    outputs = outputs if len(outputs) == count else ["output", *(f"output_{number}" for number in range(1, count))]
    try:
        return ct.convert(
            traced,
            inputs=[ct.TensorType(name=names.get("input") or "input", shape=tuple(inputs.shape))],
            outputs=[ct.TensorType(name=name) for name in outputs],
            convert_to="mlprogram",
            compute_precision=precision,
            minimum_deployment_target=ct.target.iOS15 if order["precision"] in ("float", "fp16") else ct.target.iOS16,
            skip_model_load=True,
        )
    except Exception as exc:  # coremltools raises errors of many kinds: all mean a refusal
        raise Unusable(f"coremltools refuses the network: {last_words(exc)}") from exc


def _compressed(program: Any, precision: str) -> Any:
    """Return the program with its larger weights stored in fewer bits.

    Raises:
        Unusable: None of them is large enough.
    """
    import coremltools.optimize.coreml as optimise

    if precision in ("float", "fp16"):
        return program
    if not optimise.get_weights_metadata(program, weight_threshold=SMALLEST_WEIGHT):
        raise Unusable(f"no weight has more than {SMALLEST_WEIGHT} elements: nothing to compress; convert to fp16")
    if precision == "int8":
        rule = optimise.OpLinearQuantizerConfig(mode="linear_symmetric", weight_threshold=SMALLEST_WEIGHT)
        return optimise.linear_quantize_weights(program, optimise.OptimizationConfig(global_config=rule))
    palette = optimise.OpPalettizerConfig(
        mode="kmeans", nbits=int(precision.removeprefix("pal")), weight_threshold=SMALLEST_WEIGHT
    )
    return optimise.palettize_weights(program, optimise.OptimizationConfig(global_config=palette))


def _told(network: "torch.nn.Module", stored: Mapping[str, Any]) -> str:
    state = {name: weight.numpy() for name, weight in network.state_dict().items() if weight.numel() > 1}
    kept = unchanged(stored, state)
    folded = f"; the others were folded into {len(stored)} of its own" if kept < len(state) else ""
    return f"{kept} of the network's {len(state)} weights stand in the float program as they are{folded}"


if __name__ == "__main__":
    sys.exit(carry_out(convert, sys.argv))
