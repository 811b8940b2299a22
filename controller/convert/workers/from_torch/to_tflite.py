"""PyTorch -> float TFLite by litert-torch, for one query at a time.

Order, besides `source.py`'s: `channel_last` (the file takes its input with the channels as the last axis).
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from controller.convert.workers.frame import Unusable, carry_out
from controller.convert.workers.from_torch.source import example, load_network, write_outputs
from controller.convert.workers.telling import last_words, used_versions


def convert(order: Mapping[str, Any]) -> dict[str, Any]:
    """Write `model.tflite`.

    Raises:
        Unusable: An operator has no TFLite form, or the network cannot be traced.
    """
    import litert_torch

    network, inputs = load_network(order), example(order)
    outputs = write_outputs(network, order)
    if order.get("channel_last"):
        network = litert_torch.to_channel_last_io(network, args=[0]).eval()
        inputs = inputs.movedim(1, -1).contiguous()
    try:
        converted = litert_torch.convert(network, (inputs,))
    except Exception as exc:  # what it raises shares no base: torch's, MLIR's and its own errors all mean a refusal
        raise Unusable(f"litert-torch refuses the network: {last_words(exc)}") from exc
    path = Path(order["folder"]) / "model.tflite"
    converted.export(str(path))
    return {
        "file": path.name,
        "source_outputs": outputs,
        "versions": used_versions("torch", "litert-torch", "litert-converter"),
        "notes": [],
    }


if __name__ == "__main__":
    sys.exit(carry_out(convert, sys.argv))
