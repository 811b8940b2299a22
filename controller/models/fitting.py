"""Does what `model.yaml` declares fit the model's file, and which of the file's tensors are meant?

Decides: how inputs and outputs are found, and which sizes are refused before anything is made. Leaves out: reading the
signature (`controller/convert/signature.py`).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from controller.convert.signature import Signature
from controller.errors import UnusableModel
from wire.base import given_number
from wire.spec import (
    AudioPre,
    DetectionPost,
    ImagePre,
    Pipeline,
    PostSpec,
    PreSpec,
    SegmentationPost,
    SeriesPre,
    StateTensor,
    TablePre,
    TensorSpec,
    TextPre,
    input_tensors,
    output_tensors,
)
from wire.spec.heads import detection_sizes, known, map_sizes

if TYPE_CHECKING:
    from controller.models.folder import FormatEntry


def model_ends(
    signature: Signature, original: Signature, entry: "FormatEntry", has_scores: bool
) -> tuple[TensorSpec, dict[str, Any]]:
    """Return the input, and the outputs by name; where a pass renamed them, they are found by their place.

    Raises:
        UnusableModel: There is no such tensor, or a variant lost it.
    """
    source = original.input(entry.input)
    place = original.inputs.index(source)
    if len(signature.inputs) <= place:
        raise UnusableModel(f"the variant lost the input {source.name!r}")
    results = {"output": original.output(entry.output)}
    if has_scores:
        results["scores"] = _scores(original, results["output"], entry)
    found = {}
    for name, result in results.items():
        index = original.outputs.index(result)
        if len(signature.outputs) <= index:
            raise UnusableModel(f"the variant lost the output {result.name!r}")
        found[name] = signature.outputs[index].model_dump()
    return signature.inputs[place], found


def further_inputs(signature: Signature, original: Signature, entry: "FormatEntry") -> dict[str, dict[str, Any]]:
    """Return the inputs for mask and types of a model of text, as the entry names them; found by their place.

    Raises:
        UnusableModel: There is no such input, a variant lost it, or the file has one that nothing is named for.
    """
    named = {part: name for part, name in (("mask", entry.mask), ("types", entry.types)) if name is not None}
    found = {}
    for part, name in named.items():
        place = original.inputs.index(original.input(name))
        if len(signature.inputs) <= place:
            raise UnusableModel(f"the variant lost the input {name!r}")
        found[part] = signature.inputs[place].model_dump()
    fed = {original.input(entry.input).name, *named.values()}
    if unfed := [tensor.name for tensor in original.inputs if tensor.name not in fed]:
        raise UnusableModel(
            f"nothing feeds the input {unfed[0]!r}: name it in formats.FORMAT.mask or .types, or export without it"
        )
    return found


def state_tensors(signature: Signature, original: Signature, entry: "FormatEntry") -> tuple[StateTensor, ...] | None:
    """Return the state that the entry names, input and output, found by their place; null where it names none.

    Raises:
        UnusableModel: There is no such tensor, or a variant lost it.
    """
    found = []
    for source, result in entry.state.items():
        places = (original.inputs.index(original.input(source)), original.outputs.index(original.output(result)))
        if len(signature.inputs) <= places[0] or len(signature.outputs) <= places[1]:
            raise UnusableModel(f"the variant lost the state {source!r}, or the output {result!r} that gives it")
        found.append(StateTensor(input=signature.inputs[places[0]], output=signature.outputs[places[1]]))
    return tuple(found) or None


def _scores(signature: Signature, boxes: TensorSpec, entry: "FormatEntry") -> TensorSpec:
    """Return the output with the scores: as named, or the one besides the boxes."""
    if entry.scores is not None and entry.scores != boxes.name:
        return signature.output(entry.scores)
    others = [tensor for tensor in signature.outputs if tensor != boxes]
    if entry.scores is not None or len(others) != 1:
        names = ", ".join(tensor.name for tensor in signature.outputs)
        raise UnusableModel(f"which output holds the scores? set formats.FORMAT.scores to one of: {names}")
    return others[0]


def check_fit(pipeline: Pipeline, path: Path) -> None:
    """Refuse a pipeline whose declared sizes are not the file's.

    Raises:
        UnusableModel: Both sides are named.
    """
    shape, declared = pipeline.pre.input.shape, declared_shape(pipeline.pre)
    given = shape[1:]
    if isinstance(pipeline.pre, AudioPre):  # its axis of channels, of one, may be there or not
        given, declared = (tuple(axis for axis in axes if axis != 1) for axes in (given, declared))
    if len(given) != len(declared) or any(have not in (want, -1) for have, want in zip(given, declared, strict=True)):
        raise UnusableModel(f"{path}: the model takes {shape}, `pre` declares (batch, {', '.join(map(str, declared))})")
    if isinstance(pipeline.pre, TextPre):
        _check_tokens(pipeline.pre, path)
    _check_outputs(pipeline.post, path)


def _check_tokens(pre: TextPre, path: Path) -> None:
    for tensor in input_tensors(pre):
        if tensor.dtype not in ("int32", "int64") or tensor.shape[1:] not in ((pre.length,), (-1,)):
            raise UnusableModel(
                f"{path}: the input {tensor.name!r} is {tensor.dtype} of shape {tensor.shape}, "
                f"`pre` declares int32 or int64 of (batch, {pre.length})"
            )


def declared_shape(pre: PreSpec) -> tuple[int, ...]:
    """Return the shape of one query as it goes into the model."""
    if isinstance(pre, SeriesPre):
        return (pre.channels, pre.length) if pre.layout == "NCL" else (pre.length, pre.channels)
    if isinstance(pre, AudioPre):
        return (pre.bins, pre.frames) if pre.layout == "NFT" else (pre.frames, pre.bins)
    if isinstance(pre, ImagePre):
        return pre.axes
    if isinstance(pre, TextPre):
        return (pre.length,)
    return (pre.features,) if isinstance(pre, TablePre) else pre.input.shape[1:]


def _check_outputs(post: PostSpec, path: Path) -> None:
    """Refuse post-processing that the file's outputs do not fit; axes that stay free are left to the device."""
    shapes = [tensor.shape for tensor in output_tensors(post)]
    try:
        if isinstance(post, DetectionPost) and known(shapes):
            detection_sizes(post, shapes)
        elif isinstance(post, SegmentationPost) and known(shapes):
            map_sizes(post, shapes[0])
    except ValueError as exc:
        raise UnusableModel(f"{path}: {exc}") from exc
    labels = post.labels if post.kind == "classification" else ()
    classes = post.output.shape[-1] if post.output.shape else -1
    if labels and classes not in (-1, len(labels)):
        raise UnusableModel(f"{path}: the model has {classes} outputs, `post.labels` names {len(labels)} classes")


def checked_part(adapter: TypeAdapter[Any], field: str, document: Mapping[str, Any]) -> Any:
    """Validate a part of the pipeline; an unknown key is refused here, though the wire would keep it.

    Raises:
        ValueError: The key and what is wrong with it.
    """
    try:
        part = adapter.validate_python(document)
    except ValidationError as exc:
        fault = exc.errors(include_url=False)[0]
        steps = ".".join([field, *(str(step) for step in fault["loc"] if step != document.get("kind"))])
        raise ValueError(f"{steps}: {fault['msg']}{given_number(fault)}") from exc
    unknown = [*_unknown_keys(part, field)]
    if unknown:
        raise ValueError(f"{unknown[0]}: unknown key; known are {', '.join(type(part).model_fields)}")
    return part


def _unknown_keys(part: BaseModel, at: str) -> list[str]:
    found = [f"{at}.{key}" for key in part.model_extra or {}]
    for name in type(part).model_fields:
        value = getattr(part, name)
        if isinstance(value, BaseModel):
            found += _unknown_keys(value, f"{at}.{name}")
    return found
