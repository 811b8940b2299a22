"""Static int8 as TensorRT takes it: QDQ pairs at the inputs of weighted operators, symmetric, zero points 0.

Decides: where the pairs stand. TensorRT fuses a weighted operator with what follows it (activation, residual sum) and
chooses the output's type itself, so that nothing is quantised behind one; biases stay float. Leaves out: observing the
ranges (`compress/calibrate`) and building the engine, which the device does.

Source: TensorRT developer guide, "Explicit quantization": quantise all inputs of weighted operations, and by default no
outputs.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from controller.compress.calibrate.clipping import Method
from controller.compress.calibrate.stream import Feed, observe
from controller.compress.passes.base import ENDS_FILE, CalibrationEnds
from controller.convert.making.steps import tensorrt_rules
from controller.convert.operators import file_precision
from controller.errors import UnusableData, UnusableModel

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

WEIGHTED = tuple(tensorrt_rules.WEIGHTED)


def quantise_for_tensorrt(path: Path, written: Path, calibration: Path | None) -> tuple[str, ...]:
    """Write the QDQ file; return notes.

    Raises:
        UnusableData: No calibration inputs.
        UnusableModel: The file is quantised already, no operator is quantised, or an activation is not finite.
    """
    import numpy as np
    import onnx

    if calibration is None:
        raise UnusableData("int8 calibrates and the model names no samples; add `data` to model.yaml")
    if (precision := file_precision("onnx", path)) != "float32":
        raise UnusableModel(
            f"{path.name}: int8 for TensorRT is made of float32 weights, this one is {precision}: import the float file"
        )
    inputs = np.load(calibration, mmap_mode="r", allow_pickle=False)
    _quantise(path, written, inputs, CalibrationEnds(**json.loads(calibration.with_name(ENDS_FILE).read_bytes())))
    model = onnx.load(written)
    if not any(each.op_type == "QuantizeLinear" for each in model.graph.node):
        raise UnusableModel(f"{path.name}: none of {', '.join(WEIGHTED)} in it: nothing to quantise; use fp16")
    return (f"calibrated on {len(inputs)} samples",)


def _quantise(path: Path, written: Path, inputs: "NDArray[np.float32]", ends: CalibrationEnds) -> None:
    import numpy as np
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.calibrate import TensorsData, save_tensors_data
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared, table = written.with_name("prepared.onnx"), written.with_name("ranges.json")
    quant_pre_process(str(path), str(prepared))
    seen = observe(prepared, Feed(inputs, ends.input, ends.state), Method("minmax"))
    ranges = {name: (np.float32(one.low), np.float32(one.high)) for name, one in seen.items()}
    save_tensors_data(TensorsData(CalibrationMethod.MinMax, ranges), table)
    quantize_static(
        str(prepared),
        str(written),
        None,
        calibration_cache_path=table,
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=list(WEIGHTED),
        activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
        extra_options={
            "ActivationSymmetric": True,
            "WeightSymmetric": True,
            "QuantizeBias": False,
            "OpTypesToExcludeOutputQuantization": list(WEIGHTED),
        },
    )
    prepared.unlink()
    table.unlink()
