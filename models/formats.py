"""Write a trained network as ONNX and TFLite, run both, and compare them with torch: what the training scripts share.

Decides: exporter, opset, how the files are written and what parity means. Leaves out: compression (the controller's
work). torch, litert-torch and the engines are imported where they are used: each costs seconds, and running a file
needs no exporter.

    write_onnx(network, torch.zeros(2, 1, 427), Path("m.onnx"), TensorNames("outline", "logits"))
    run_onnx(Path("m.onnx"), inputs)
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # else onnxruntime writes a device identity into the user's cache

if TYPE_CHECKING:
    import torch

OPSET = 20
LARGEST_BATCH = 1024
Array = NDArray[np.float32]


@dataclass(frozen=True)
class TensorNames:
    input: str
    output: str


@dataclass(frozen=True)
class Parity:
    """How far an exported file's outputs lie from torch's, over the same inputs."""

    largest_difference: float  # largest absolute difference of any output
    agree: int  # samples whose largest output is the same one; for a single output, all
    of: int


def write_onnx(network: "torch.nn.Module", example: "torch.Tensor", path: Path, names: TensorNames) -> None:
    """Write ONNX with a free batch size and its weights inside the file.

    Args:
        network: In evaluation mode.
        example: Inputs of a batch of two or more (a batch of one would be taken for a constant).
    """
    import torch

    batch = torch.export.Dim("batch", min=1, max=LARGEST_BATCH)
    program = torch.onnx.export(
        network,
        (example,),
        dynamo=True,
        opset_version=OPSET,
        input_names=[names.input],
        output_names=[names.output],
        dynamic_shapes=({0: batch},),
        external_data=False,
    )
    if program is None:
        raise RuntimeError("the ONNX exporter returned no program")
    program.save(path)
    _strip_notes(path)


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


def write_tflite(network: "torch.nn.Module", example: "torch.Tensor", path: Path, channel_last: bool = False) -> None:
    """Write TFLite with the example's shape.

    Args:
        network: In evaluation mode.
        example: Inputs of a batch of one, channels first.
        channel_last: The file then takes its input with the channels as the last axis.
    """
    import litert_torch

    if channel_last:
        network = litert_torch.to_channel_last_io(network, args=[0])
        example = example.movedim(1, -1).contiguous()
    litert_torch.convert(network.eval(), (example,)).export(str(path))


def run_torch(network: "torch.nn.Module", inputs: Array) -> Array:
    import torch

    with torch.no_grad():
        return np.asarray(network(torch.from_numpy(inputs)).numpy(), dtype=np.float32)


def run_onnx(path: Path, inputs: Array) -> Array:
    """Return the first output of ONNX Runtime for the whole batch, on one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: inputs})[0], dtype=np.float32)


def run_tflite(path: Path, inputs: Array) -> Array:
    """Return the first output of LiteRT, sample by sample, on one thread. Inputs in the file's own layout."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    first_input, first_output = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    outputs = []
    for sample in inputs:
        interpreter.set_tensor(first_input["index"], sample[np.newaxis])
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(first_output["index"])[0])
    return np.stack(outputs).astype(np.float32)


def parity(reference: Array, outputs: Array) -> Parity:
    """Compare outputs of shape (n, k) with the reference's.

    Raises:
        ValueError: The shapes differ.
    """
    if reference.shape != outputs.shape:
        raise ValueError(f"outputs of shape {outputs.shape}, reference of shape {reference.shape}")
    agree = int((reference.argmax(axis=1) == outputs.argmax(axis=1)).sum())
    return Parity(float(np.abs(reference - outputs).max()), agree, len(reference))
