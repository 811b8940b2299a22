"""Olive's workflow with one static quantisation. Setting: `pass`, the pass's configuration without its data."""

import shutil
import sys
from pathlib import Path
from typing import Any

from benchmarks.compression.peers.programs.frame import Order, carry_out, samples

DATA = "queries"


def compress(order: Order) -> list[str]:
    """Write the quantised model; say which files Olive left.

    Raises:
        RuntimeError: The workflow ended without a model.
    """
    from olive.data.registry import Registry
    from olive.workflows import run

    queries, name = samples(order), order["input"]

    def load(**_given: Any) -> list[tuple[dict[str, Any], int]]:
        return [({name: query}, 0) for query in queries]

    Registry.register_dataset(DATA)(load)
    made = Path(order["folder"]) / "made"
    config = {
        "input_model": {"type": "ONNXModel", "model_path": order["source"]},
        "data_configs": [{"name": DATA, "load_dataset_config": {"type": DATA}}],
        "passes": {"quantised": {**order["setting"]["pass"], "data_config": DATA}},
        "output_dir": str(made),
        "cache_dir": str(Path(order["folder"]) / "cache"),
        "log_severity_level": 3,
    }
    run(config)
    files = sorted(made.rglob("*.onnx"))
    if len(files) != 1:
        raise RuntimeError(f"{len(files)} models came out, one was asked for")
    shutil.copyfile(files[0], order["out"])
    return []


if __name__ == "__main__":
    sys.exit(carry_out(compress))
