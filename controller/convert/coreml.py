"""Core ML packages (`.mlpackage`, zipped): signature and oldest systems, read from the specification itself.

Decides: which fields of the specification are read (protobuf, by their numbers in Apple's Model.proto and
FeatureTypes.proto). Leaves out: running it, which only Apple's systems do, and its weights (compared when converted).

    read_coreml(Path("m.mlpackage.zip")).min_os  # "iOS 16, macOS 13, watchOS 9, tvOS 16"
"""

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from controller.convert.signature import LARGEST_MODEL_BYTES, Signature, check_readable
from controller.errors import UnusableModel
from wire.spec import DType, TensorSpec

MINIMUM_OS = {
    6: "iOS 15, macOS 12, watchOS 8, tvOS 15",
    7: "iOS 16, macOS 13, watchOS 9, tvOS 16",
    8: "iOS 17, macOS 14, watchOS 10, tvOS 17",
    9: "iOS 18, macOS 15, watchOS 11, tvOS 18",
}
"""By the specification's version; ML Programs begin with 6."""

SPECIFICATION = ".mlpackage/Data/com.apple.CoreML/model.mlmodel"
_DTYPES: dict[int, DType] = {65552: "float16", 65568: "float32", 131104: "int32"}
_VERSION, _DESCRIPTION, _PROGRAM = 1, 2, 502  # of Model
_INPUT, _OUTPUT = 1, 10  # of ModelDescription
_FEATURE_NAME, _FEATURE_TYPE, _MULTI_ARRAY = 1, 3, 5  # of FeatureDescription and FeatureType
_SHAPE, _DATA_TYPE = 1, 2  # of ArrayFeatureType


@dataclass(frozen=True)
class CoremlFacts:
    """What a package says of itself. An output whose shape is left open has none."""

    signature: Signature
    specification: int
    min_os: str


def read_coreml(path: Path) -> CoremlFacts:
    """Return the facts of a zipped `.mlpackage`.

    Raises:
        UnusableModel: Not such a file, no ML Program, broken, or with a tensor type that no bundle carries.
    """
    check_readable(path)
    content = _specification(path)
    try:
        fields = list(_fields(content))
        version = next((value for number, value in fields if number == _VERSION and isinstance(value, int)), 0)
        if version not in MINIMUM_OS or not any(number == _PROGRAM for number, _ in fields):
            raise UnusableModel(f"{path}: specification {version} is no ML Program that is known; convert it again")
        described = b"".join(_bytes(value) for number, value in fields if number == _DESCRIPTION)
        signature = Signature(_tensors(described, _INPUT), _tensors(described, _OUTPUT))
    except (ValueError, IndexError) as exc:
        raise UnusableModel(f"{path}: a broken Core ML specification ({exc}); convert it again") from exc
    return CoremlFacts(signature, version, MINIMUM_OS[version])


def _specification(path: Path) -> bytes:
    try:
        with zipfile.ZipFile(path) as archive:
            found = [entry for entry in archive.infolist() if entry.filename.endswith(SPECIFICATION)]
            if len(found) != 1:
                raise UnusableModel(f"{path}: no zipped .mlpackage: {len(found)} specifications in it, one is needed")
            if found[0].file_size > LARGEST_MODEL_BYTES:
                raise UnusableModel(f"{path}: its specification is larger than {LARGEST_MODEL_BYTES} bytes")
            return archive.read(found[0])
    except (zipfile.BadZipFile, EOFError) as exc:
        raise UnusableModel(f"{path}: no zipped .mlpackage ({exc}); convert it again") from exc


def _tensors(description: bytes, field: int) -> tuple[TensorSpec, ...]:
    return tuple(_tensor(_bytes(value)) for number, value in _fields(description) if number == field)


def _tensor(feature: bytes) -> TensorSpec:
    fields = dict(_fields(feature))
    array = dict(_fields(_bytes(fields.get(_FEATURE_TYPE, b"")))).get(_MULTI_ARRAY)
    if array is None:
        raise ValueError("an input or output is no array")
    kind, shape = 0, []
    for number, value in _fields(_bytes(array)):
        if number == _SHAPE:
            shape += list(_varints(value)) if isinstance(value, bytes) else [value]
        elif number == _DATA_TYPE and isinstance(value, int):
            kind = value
    if kind not in _DTYPES:
        raise ValueError(f"an array has type {kind}; known are {', '.join(_DTYPES.values())}")
    return TensorSpec(name=_bytes(fields[_FEATURE_NAME]).decode(), shape=tuple(shape), dtype=_DTYPES[kind])


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield number and value of a protobuf message's fields."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield key >> 3, value
            continue
        length, at = {1: (8, at), 5: (4, at)}.get(kind) or (_varint(message, at) if kind == 2 else (-1, at))
        if length < 0 or at + length > len(message):
            raise ValueError(f"field {key >> 3} runs over the end")
        yield key >> 3, message[at : at + length]
        at += length


def _varints(packed: bytes) -> Iterator[int]:
    at = 0
    while at < len(packed):
        value, at = _varint(packed, at)
        yield value


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
        if shift > 63:
            raise ValueError("a number of more than 64 bits")


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number stands where a message is expected")
    return value
