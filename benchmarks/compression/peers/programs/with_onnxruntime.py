"""ONNX Runtime's `quantize_static`, as its documentation shows it.

Setting: `arguments` of `quantize_static`, enumerations by their names; `extra`: its `extra_options`; `prepare`
(true): `quant_pre_process` first, as its documentation advises.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.compression.peers.programs.frame import Order, carry_out, samples


class Reader:
    """Hands calibration inputs over, one query at a time."""

    def __init__(self, order: Order) -> None:
        self._queries: Iterator[Any] = iter(samples(order))
        self._name = order["input"]

    def get_next(self) -> dict[str, Any] | None:
        """Return the next feed, null behind the last."""
        query = next(self._queries, None)
        return None if query is None else {self._name: query[None]}


def compress(order: Order) -> None:
    """Write the quantised model."""
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    setting, source = order["setting"], order["source"]
    if setting.get("prepare", True):
        prepared = str(Path(order["folder"]) / "prepared.onnx")
        quant_pre_process(source, prepared)
        source = prepared
    kinds = {
        "quant_format": QuantFormat,
        "activation_type": QuantType,
        "weight_type": QuantType,
        "calibrate_method": CalibrationMethod,
    }
    given = {name: kinds[name][value] if name in kinds else value for name, value in setting["arguments"].items()}
    quantize_static(source, order["out"], Reader(order), extra_options=setting.get("extra", {}), **given)


if __name__ == "__main__":
    sys.exit(carry_out(compress))
