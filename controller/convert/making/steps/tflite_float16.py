"""Store a float TFLite file's weights in half precision: half the bytes, computed in float32 by most engines.

Decides: which operators' weights are halved (those that ai-edge-quantizer casts). Inputs and outputs stay float32.
"""

from pathlib import Path

from controller.convert.tflite import read_tflite
from controller.errors import UnusableModel

HALVED = ("FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D", "CONV_2D_TRANSPOSE", "EMBEDDING_LOOKUP")


def halve_weights(path: Path, written: Path, _calibration: Path | None = None) -> tuple[str, ...]:
    """Write the file with its weights in half precision.

    Raises:
        UnusableModel: The file's weights are no float32 ones, or no operator has weights that can be halved.
    """
    from ai_edge_quantizer import quantizer

    if (precision := read_tflite(path).precision) != "float32":
        raise UnusableModel(
            f"{path.name}: half precision is made of float32 weights, this one is {precision}: import the float file"
        )

    rules = [
        {
            "regex": ".*",
            "operation": operation,
            "algorithm_key": "float_casting",
            "op_config": {
                "weight_tensor_config": {"num_bits": 16, "dtype": "FLOAT"},
                "compute_precision": "FLOAT",
                "explicit_dequantize": True,
            },
        }
        for operation in HALVED
    ]
    maker = quantizer.Quantizer(str(path), rules)
    made = maker.quantize(None, enable_progress_bar=False, enable_progress_report=False).quantized_model
    if made is not None:
        written.write_bytes(bytes(made))
    if made is None or read_tflite(written).precision != "float16":
        used = ", ".join(read_tflite(path).operators)
        raise UnusableModel(
            f"{path.name}: no weights to halve: of its operators ({used}) none is {', '.join(HALVED)}; use it as it is"
        )
    return ()
