"""What goes into a model and what comes out, whatever its format.

Decides: that a model has one input and one output of a kind that a bundle can carry. Leaves out: how a format writes it
(`onnx_io.py`, `tflite.py`).

    read_signature("onnx", Path("m.onnx")).input().shape  # (-1, 1, 427)
"""

from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from pydantic import ValidationError

from controller.errors import UnusableModel
from wire.manifest import Format
from wire.spec import DType, Quantisation, TensorSpec

LARGEST_MODEL_BYTES = 2 * 1024**3
"""A protobuf message and a flatbuffer both end at 2 GiB."""


@dataclass(frozen=True)
class Signature:
    """Inputs and outputs of a model file in the file's order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def input(self, name: str | None = None) -> TensorSpec:
        """Return the input called `name`, or the only one."""
        return _one(self.inputs, name, "input")

    def output(self, name: str | None = None) -> TensorSpec:
        """Return the output called `name`, or the first: further outputs are allowed and left unused."""
        return _one(self.outputs, name or self.outputs[0].name, "output")


def read_signature(form: str, path: Path) -> Signature:
    """Return the signature of a model file.

    Raises:
        UnusableModel: No such file, too large, another format than said, or a tensor of a type that no bundle carries.
    """
    check_readable(path)
    if form == "onnx":
        from controller.convert.onnx_io import onnx_signature, parse_onnx

        return onnx_signature(parse_onnx(path))
    if form == "tflite":
        from controller.convert.tflite import read_tflite

        return read_tflite(path).signature
    if form == "executorch":
        from controller.convert.executorch import read_executorch

        return read_executorch(path).signature
    if form == "coreml":
        from controller.convert.coreml import read_coreml

        return read_coreml(path).signature
    raise UnusableModel(f"{path}: no reader for the format {form!r}; known are {', '.join(get_args(Format))}")


def described(name: str, shape: tuple[int, ...], dtype: DType, quantisation: Quantisation | None = None) -> TensorSpec:
    """Return a tensor as a bundle declares it; 8-bit numbers without a quantisation stand for themselves.

    Raises:
        UnusableModel: A bundle cannot carry it: too many axes, a size of 0, too long a name.
    """
    try:
        return TensorSpec(name=name, shape=shape, dtype=dtype, quantisation=quantisation or itself(dtype))
    except ValidationError as exc:
        fault = exc.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        raise UnusableModel(f"no bundle carries the tensor {name!r}: {fault}; export the model again") from exc


def itself(dtype: DType) -> Quantisation | None:
    """Return the quantisation of 8-bit numbers that stand for themselves; null for other types."""
    return Quantisation(scale=1.0, zero_point=0) if dtype in ("int8", "uint8") else None


def check_readable(path: Path) -> None:
    """Refuse a path that is no file, is empty, or is larger than its format allows."""
    if not path.is_file():
        raise UnusableModel(f"{path}: no such file; name the model file itself")
    size = path.stat().st_size
    if size == 0:
        raise UnusableModel(f"{path}: the file is empty; export the model again")
    if size > LARGEST_MODEL_BYTES:
        raise UnusableModel(
            f"{path}: {size} bytes, at most {LARGEST_MODEL_BYTES} are supported; split or shrink the model"
        )


def _one(tensors: tuple[TensorSpec, ...], name: str | None, word: str) -> TensorSpec:
    if name is None:
        if len(tensors) != 1:
            names = ", ".join(tensor.name for tensor in tensors) or "none"
            raise UnusableModel(f"a model with exactly one {word} is needed, this one has {len(tensors)}: {names}")
        return tensors[0]
    for tensor in tensors:
        if tensor.name == name:
            return tensor
    raise UnusableModel(f"no {word} is called {name!r}; the file has {', '.join(t.name for t in tensors)}")
