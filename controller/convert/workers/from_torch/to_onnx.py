"""PyTorch -> ONNX by the exporter that torch brings, with a free batch where the network has one.

Order, besides `source.py`'s: `names` (`{"input", "outputs"}`, both may be left out), `opset`.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from controller.convert.workers.frame import Unusable, carry_out
from controller.convert.workers.from_torch.source import example, load_network, tensors, write_outputs
from controller.convert.workers.telling import last_words, used_versions

if TYPE_CHECKING:
    import torch

LARGEST_BATCH = 1024


def convert(order: Mapping[str, Any]) -> dict[str, Any]:
    """Write `model.onnx`, its weights inside.

    Raises:
        Unusable: The exporter knows no ONNX for an operator, or cannot trace the network.
    """
    network = load_network(order)
    program, notes = _exported(network, order)
    path = Path(order["folder"]) / "model.onnx"
    program.save(path)
    _strip_notes(path)
    return {
        "file": path.name,
        "source_outputs": write_outputs(network, order),
        "versions": used_versions("torch", "onnxscript", "onnx"),
        "notes": notes,
    }


def _exported(network: "torch.nn.Module", order: Mapping[str, Any]) -> tuple[Any, list[str]]:
    """Return the exporter's program; with the batch fixed at 1 where it cannot be free, and then a note."""
    import torch

    batch = torch.export.Dim("batch", min=1, max=LARGEST_BATCH)
    try:
        # An example of two: a batch of one would be taken for a constant.
        return _export(network, example(order, 2), order, ({0: batch},)), []
    except (torch.onnx.errors.OnnxExporterError, AssertionError, RuntimeError) as free:  # a program guards its batch
        try:
            program = _export(network, example(order), order, None)
        except torch.onnx.errors.OnnxExporterError as exc:
            raise Unusable(f"torch's ONNX exporter refuses the network: {_cause(exc)}") from exc
        return program, [f"the batch is fixed at 1: the network cannot be exported with a free one ({_cause(free)})"]


def _export(network: "torch.nn.Module", inputs: "torch.Tensor", order: Mapping[str, Any], shapes: Any) -> Any:
    import torch

    with torch.no_grad():
        count = len(tensors(network(inputs)))
    names = order.get("names") or {}
    outputs = list(names.get("outputs") or ())
    return torch.onnx.export(
        network,
        (inputs,),
        dynamo=True,
        verbose=False,
        opset_version=order["opset"],
        input_names=[names.get("input") or "input"],
        output_names=outputs if len(outputs) == count else ["output", *(f"output_{n}" for n in range(1, count))],
        dynamic_shapes=shapes,
        external_data=False,
    )


def _cause(exc: BaseException) -> str:
    """Return the innermost reason: the exporter wraps it in advice about itself."""
    while exc.__cause__ is not None:
        exc = exc.__cause__
    return last_words(exc)


def _strip_notes(path: Path) -> None:
    """Remove the exporter's notes: stack traces with the builder's paths have no place in a release."""
    import onnx

    model = onnx.load(path)
    for annotated in (model, model.graph, *model.graph.node, *model.graph.initializer, *model.graph.value_info):
        annotated.ClearField("metadata_props")
        annotated.ClearField("doc_string")
    for value in (*model.graph.input, *model.graph.output):
        value.ClearField("metadata_props")
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


if __name__ == "__main__":
    sys.exit(carry_out(convert, sys.argv))
