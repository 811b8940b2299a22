"""ONNX: parse, check, sign, and give every model one digest.

Decides: which ONNX files are refused and why, and which bytes stand for a model. Leaves out: whether an engine loads it
(`controller/models/importing.py` tries) and what it computes (`controller/models/graph.py`).

    model = parse_onnx(Path("m.onnx"))
    canonical_digest(model)  # the same for two files that differ only in notes
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from controller.convert import signature as limits
from controller.convert.operators import check_operators
from controller.convert.signature import Signature, check_readable, described
from controller.errors import UnusableModel
from wire.canonical import sha256_hex
from wire.spec import DType, TensorSpec

if TYPE_CHECKING:
    import onnx

_DTYPES: dict[int, DType] = {1: "float32", 10: "float16", 3: "int8", 2: "uint8"}  # onnx.TensorProto.DataType
_TOKENS: dict[int, DType] = {6: "int32", 7: "int64"}
"""What goes in as numbers of tokens, and never comes out: no answer is read from such an output."""


def parse_onnx(path: Path) -> onnx.ModelProto:
    """Return the model in `path`; weights in files beside it are loaded, weights elsewhere refused.

    Raises:
        UnusableModel: Not ONNX, too large, or its external data leave the folder, are missing or too short.
    """
    import onnx

    check_readable(path)
    try:
        model = onnx.load(path, load_external_data=False)
    except (_decode_error(), onnx.checker.ValidationError) as exc:
        raise UnusableModel(f"{path}: not an ONNX file ({exc}); export the model again") from exc
    if not model.graph.node:
        raise UnusableModel(f"{path}: not an ONNX file, or an empty graph; export the model again")
    _load_external(model, path)
    return model


def _decode_error() -> type[Exception]:
    """Return protobuf's error for bytes that are no message; the package ships no types."""
    error: type[Exception] = importlib.import_module("google.protobuf.message").DecodeError
    return error


def _load_external(model: onnx.ModelProto, path: Path) -> None:
    """Load weights that lie in other files, which must be inside the model's folder."""
    import onnx
    from onnx.external_data_helper import load_external_data_for_model, uses_external_data

    folder = path.resolve().parent
    size = path.stat().st_size
    for tensor in constant_tensors(model):
        if uses_external_data(tensor):
            size += _external_bytes(tensor, folder, path)
    if size > limits.LARGEST_MODEL_BYTES:
        raise UnusableModel(
            f"{path}: {size} bytes with its external weights, at most {limits.LARGEST_MODEL_BYTES} are supported; "
            f"split or shrink the model"
        )
    try:
        load_external_data_for_model(model, str(folder))
    except (ValueError, OSError, onnx.checker.ValidationError) as exc:
        raise UnusableModel(f"{path}: external weights cannot be read: {exc}") from exc


def _external_bytes(tensor: onnx.TensorProto, folder: Path, path: Path) -> int:
    """Return how many bytes of another file a tensor takes; that file is not read."""
    said = {entry.key: entry.value for entry in tensor.external_data}
    place = said.get("location", "")
    outside = not (folder / place).resolve().is_relative_to(folder)
    if not place or Path(place).is_absolute() or outside:
        raise UnusableModel(f"{path}: weights of {tensor.name!r} lie outside the model's folder ({place!r}): refused")
    if not (folder / place).is_file():
        raise UnusableModel(f"{path}: weights of {tensor.name!r} are missing: {folder / place} is not there")
    offset, length = said.get("offset", "0"), said.get("length", "")
    if not offset.isdecimal() or (length and not length.isdecimal()):
        raise UnusableModel(f"{path}: weights of {tensor.name!r} have no place in {place}: export the model again")
    return int(length) if length else max(0, (folder / place).stat().st_size - int(offset))


def external_files(path: Path) -> tuple[Path, ...]:
    """Return the files beside an ONNX file that hold weights of it."""
    import onnx
    from onnx.external_data_helper import uses_external_data

    model = onnx.load(path, load_external_data=False)
    places = {
        entry.value
        for tensor in constant_tensors(model)
        if uses_external_data(tensor)
        for entry in tensor.external_data
        if entry.key == "location"
    }
    return tuple(path.parent / place for place in sorted(places))


def check_onnx(model: onnx.ModelProto, path: Path) -> None:
    """Run ONNX's own checks, shape inference included.

    Raises:
        UnusableModel: The checker finds a fault, or an operator is one that no engine here can have.
    """
    import onnx

    check_operators(model, path)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as exc:
        raise UnusableModel(f"{path}: onnx.checker refuses it: {exc}") from exc


def check_finite(model: onnx.ModelProto, path: Path) -> None:
    """Refuse weights that are not numbers.

    Raises:
        UnusableModel: A NaN or an infinity among the weights; the text names the tensor.
    """
    from onnx import numpy_helper

    for tensor in constant_tensors(model):
        values = numpy_helper.to_array(tensor)
        if values.dtype.kind == "V":  # bfloat16 and floats of 8 bits
            values = values.astype(np.float32)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise UnusableModel(
                f"{path}: the weights {tensor.name!r} hold NaN or infinite values; train or export again"
            )


def onnx_signature(model: onnx.ModelProto) -> Signature:
    """Return the model's signature; an input that has a default among the weights is none.

    Outputs of types that no answer is read from (numbers of classes, yes and no) are left out where others remain.

    Raises:
        UnusableModel: An input is not a tensor of a type that a bundle carries, or no output is.
    """
    weights = {tensor.name for tensor in model.graph.initializer}
    known = {**_DTYPES, **_TOKENS}
    inputs = tuple(_tensor_spec(value, known) for value in model.graph.input if value.name not in weights)
    read = [value for value in model.graph.output if value.type.tensor_type.elem_type in _DTYPES]
    return Signature(inputs, tuple(_tensor_spec(value, _DTYPES) for value in read or model.graph.output))


def _tensor_spec(value: onnx.ValueInfoProto, known: Mapping[int, DType]) -> TensorSpec:
    """Describe a tensor. Whole numbers of 8 bits stand for themselves: ONNX keeps no quantisation beside a tensor."""
    tensor = value.type.tensor_type
    if not value.type.HasField("tensor_type") or tensor.elem_type not in known:
        *most, last = known.values()
        raise UnusableModel(
            f"{value.name!r} has element type {tensor.elem_type}; {', '.join(most)} and {last} are supported"
        )
    if not tensor.HasField("shape"):
        raise UnusableModel(
            f"{value.name!r} has no shape; export the model with its shapes (only the batch may be free)"
        )
    shape = tuple(
        axis.dim_value if axis.HasField("dim_value") and axis.dim_value > 0 else -1 for axis in tensor.shape.dim
    )
    return described(value.name, shape, known[tensor.elem_type])


def constant_tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Yield every constant: initializers, and tensors in attributes (Constant operators), subgraphs included."""
    yield from _graph_constants(model.graph)
    for function in model.functions:
        yield from _attribute_constants(function.node)


def _graph_constants(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    yield from (tensor.values for tensor in graph.sparse_initializer)
    yield from _attribute_constants(graph.node)


def _attribute_constants(operators: object) -> Iterator[onnx.TensorProto]:
    for operator in cast("list[onnx.NodeProto]", operators):
        for attribute in operator.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _graph_constants(graph)


def canonical_digest(model: onnx.ModelProto) -> str:
    """Return the digest of what the model computes: graph and weights, without notes and without the exporter's name.

    Constants are compared by their raw bytes and by name, not by their order in the file.
    """
    import onnx
    from onnx import numpy_helper

    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    for field in ("producer_name", "producer_version", "doc_string", "metadata_props"):
        bare.ClearField(field)
    graph = bare.graph
    for noted in (graph, *graph.node, *graph.initializer, *graph.value_info, *graph.input, *graph.output):
        noted.ClearField("doc_string")
        noted.ClearField("metadata_props")
    constants = sorted(
        (numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name) for tensor in graph.initializer),
        key=lambda tensor: tensor.name,
    )
    del graph.initializer[:]
    graph.initializer.extend(constants)
    return sha256_hex(bare.SerializeToString(deterministic=True))
