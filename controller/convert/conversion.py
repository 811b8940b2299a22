"""The record of a conversion: which file, made of what, by which versions, how near it came; and whether it counts.

Decides: where conversions lie in a model's folder and when one counts: not flagged, its file unharmed, and its source
still what it was made of. Leaves out: making them (`making/`), and what the model's folder offers
(`controller/models/folder.py`).

    conversions/tflite-int8/conversion.json beside conversions/tflite-int8/model.tflite
"""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from controller.bundle.atomic import write_whole
from controller.convert.parity import Parity
from controller.errors import UnusableModel
from wire.manifest import Format

FOLDER = "conversions"
RECORD = "conversion.json"

Target = Literal["onnx", "tflite", "executorch", "coreml", "tensorrt"]
Precision = Literal["float", "fp16", "int8", "pal6", "pal4"]
Source = Literal["torch", "tensorflow", "onnx", "tflite"]
Layout = Literal["NCL", "NLC", "NCHW", "NHWC", "NFT", "NTF"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Ends(_Strict):
    """Which of the file's tensors are meant, as in `formats` of model.yaml."""

    input: str | None = None
    output: str | None = None
    scores: str | None = None
    mask: str | None = None
    types: str | None = None
    layout: Layout | None = None
    state: dict[str, str] = {}


class WeightParity(_Strict):
    """How far stored weights lie from the float ones, where nothing here runs the file.

    compared: tensors. lowest_sqnr_db: of the worst one [dB]; null where none differs. worst: its name.
    """

    compared: int
    lowest_sqnr_db: float | None
    worst: str


class Conversion(_Strict):
    """What `conversion.json` says.

    target, precision: as asked for. format, engine, engine_options: as a bundle would have them; `engine` is null where
    no engine of ours runs the format. source, source_sha256: what it was made of. converter: versions, by distribution.
    parity: against the source, over `parity.samples` queries; null where nothing here runs the file, `unproven` says
    why. flagged: why it is never deployed. min_os: the oldest systems that run it, where the format tells.
    """

    schema_: Literal[1] = Field(default=1, alias="schema")
    target: Target
    precision: Precision
    format: Format
    engine: str | None
    engine_options: dict[str, Any] = Field(default_factory=dict)
    source: Source
    source_sha256: str
    file: str = Field(pattern=r"^[A-Za-z0-9_.-]+$")
    sha256: str
    bytes: int
    ends: Ends = Ends()
    converter: dict[str, str] = Field(default_factory=dict)
    parity: Parity | None = None
    weights: WeightParity | None = None
    unproven: str | None = None
    flagged: str | None = None
    min_os: str | None = None
    notes: tuple[str, ...] = ()
    took_s: float = Field(ge=0)

    @property
    def name(self) -> str:
        """Its folder in `conversions/`."""
        return conversion_name(self.target, self.precision)


@dataclass(frozen=True)
class Kept:
    """A conversion in a model's folder. `because`: why it is not offered; null where it is."""

    folder: Path
    conversion: Conversion
    because: str | None

    @property
    def path(self) -> Path:
        return self.folder / self.conversion.file


def conversion_name(target: str, precision: str) -> str:
    """Return the name of a conversion's folder."""
    return f"{target}-{precision}"


def kept_conversions(root: Path, sources: dict[str, tuple[Path, ...]]) -> tuple[Kept, ...]:
    """Return the conversions in a model's folder, by name.

    Args:
        root: The model's folder.
        sources: Per source that the model has now, the files that make it up.
    Raises:
        UnusableModel: A record that cannot be read; the text says what to remove.
    """
    return tuple(
        Kept(folder, conversion, _because(folder, conversion, sources)) for folder, conversion in _records(root)
    )


def write_record(conversion: Conversion, folder: Path) -> None:
    """Write `conversion.json` beside the file."""
    write_whole(folder / RECORD, (conversion.model_dump_json(by_alias=True, indent=2) + "\n").encode())


def files_digest(paths: tuple[Path, ...]) -> str:
    """Return one SHA-256 over the files' contents, in their order."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(bytes.fromhex(file_digest(path)))
    return digest.hexdigest()


def file_digest(path: Path) -> str:
    """Return a file's SHA-256; computed again only where its size or its time of change is another."""
    found = path.stat()
    return _digest(path, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=256)
def _digest(path: Path, _size: int, _changed_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _records(root: Path) -> Iterator[tuple[Path, Conversion]]:
    for path in sorted((root / FOLDER).glob(f"[!.]*/{RECORD}")):
        try:
            yield path.parent, Conversion.model_validate_json(path.read_bytes())
        except (ValidationError, OSError) as exc:
            fault = exc.errors(include_url=False)[0]["msg"] if isinstance(exc, ValidationError) else exc
            raise UnusableModel(
                f"{path} cannot be read ({fault}): remove {path.parent}, then convert the model again"
            ) from exc


def _because(folder: Path, conversion: Conversion, sources: dict[str, tuple[Path, ...]]) -> str | None:
    path = folder / conversion.file
    again = f"convert it again: controller model convert MODEL --to {conversion.target}"
    if conversion.flagged:
        return conversion.flagged
    if not path.is_file() or path.stat().st_size != conversion.bytes or file_digest(path) != conversion.sha256:
        return f"{path.name} is not the file that was converted; {again}"
    source = sources.get(conversion.source, ())
    if not source or not all(map(os.path.isfile, source)) or files_digest(source) != conversion.source_sha256:
        return f"the model's {conversion.source} source is no longer what this was made of; {again}"
    return None
