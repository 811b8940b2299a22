"""What is asked of an import, and what every kind of source gives back.

Decides: the words for both. Leaves out: the sources themselves, one a module, and the model.yaml that is made of a
draft (`controller/models/importing.py`).
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from controller.errors import ConfigurationError
from wire.spec import Kind

Shape = tuple[int, ...]
Activation = Literal["softmax", "sigmoid", "none"]
_SHAPE = re.compile(r"(?:(?P<name>[^=]+)=)?(?P<sizes>-?\d+(?:,-?\d+)*)(?::(?P<dtype>\w+))?")
_DTYPES = ("float32", "float16", "int8", "uint8", "int32", "int64")


@dataclass(frozen=True)
class GivenShape:
    """A shape that the user gives: `[NAME=]SIZES[:DTYPE]`, e.g. `image=1,3,224,224`. -1 leaves the first axis free."""

    sizes: Shape
    name: str | None = None
    dtype: str = "float32"

    @classmethod
    def parse(cls, text: str, option: str) -> "GivenShape":
        """Read what stands behind an option.

        Raises:
            ConfigurationError: Not of that form.
        """
        match = _SHAPE.fullmatch(text.replace(" ", ""))
        sizes = tuple(int(size) for size in match["sizes"].split(",")) if match else ()
        dtype = (match["dtype"] if match else None) or "float32"
        if match is None or min(sizes[1:], default=1) < 1 or (sizes[0] < 1 and sizes[0] != -1):
            raise ConfigurationError(
                f"{option} {text}: give the size of each axis, the batch first: {option} [NAME=]1,3,224,224"
            )
        if dtype not in _DTYPES:
            raise ConfigurationError(
                f"{option} {text}: {dtype!r} is no type of an input; known are {', '.join(_DTYPES)}"
            )
        return cls(sizes, match["name"], dtype)


def read_constants(given: Sequence[str]) -> dict[str, float]:
    """Read what stands behind `--set`: NAME=NUMBER, each name once.

    Raises:
        ConfigurationError: Not of that form.
    """
    found: dict[str, float] = {}
    for text in given:
        name, _, number = text.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not name or name in found or not math.isfinite(value):
            raise ConfigurationError(f"--set {text}: give an input's name and one number: --set sr=16000")
        found[name] = value
    return found


@dataclass(frozen=True)
class ImportRequest:
    """What to import.

    source: A file, a folder, or `FILE.py:FUNCTION`. For a folder with a model.yaml only this counts.
    name, samples, kind, labels, activation: Describe a model that has no model.yaml; an activation that is left out
    follows from the file's last operator.
    shapes: Sizes for free axes of an ONNX file's inputs.
    constants: Values for inputs that are the same in every query; such an input becomes a weight.
    output: Which output holds the answer; the first that a bundle carries when left out.
    state, inputs: A PyTorch module's weights, and the shapes that it takes.
    progress: Told what takes long.
    """

    source: Path
    name: str | None = None
    samples: Path | None = None
    kind: Kind | None = None
    labels: tuple[str, ...] = ()
    activation: Activation | None = None
    shapes: tuple[GivenShape, ...] = ()
    constants: Mapping[str, float] = field(default_factory=dict)
    output: str | None = None
    state: Path | None = None
    inputs: tuple[GivenShape, ...] = ()
    progress: Callable[[str], None] = field(default=lambda _: None, compare=False)

    @property
    def stem(self) -> str:
        """What the source is called, without its folder and its suffixes."""
        return self.source.name.partition(":")[0].rpartition(".")[0] or self.source.name


@dataclass(frozen=True)
class Draft:
    """What a source became: files in the new model's folder, and how its model.yaml names them.

    formats: That of model.yaml. original: `torch` or `tensorflow` of model.yaml, where there is one. notes: What the
    user should know, kept in facts.json. made_by: Versions of the converters that made the files; empty where they are
    the user's own.
    """

    formats: Mapping[str, Mapping[str, Any]]
    original: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    made_by: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Origin:
    """What a model folder was made of: the source's name, and a draft's notes and versions. Kept in facts.json."""

    source: str
    notes: tuple[str, ...] = ()
    made_by: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {"source": self.source, "notes": list(self.notes), "made_by": dict(self.made_by)}


def refuse_unused(request: ImportRequest, what: str, *used: str) -> None:
    """Refuse options that this kind of source has no use for, rather than pass over them.

    Raises:
        ConfigurationError: The first such option, and for which sources it is.
    """
    given = {
        "shapes": ("--shape", request.shapes, "fixes free axes of an .onnx file"),
        "constants": ("--set", request.constants, "fixes an input of an .onnx file"),
        "output": ("--output", request.output, "names an output of an .onnx or .tflite file"),
        "state": ("--state", request.state, "goes with a PyTorch module, FILE.py:FUNCTION"),
        "inputs": ("--input", request.inputs, "goes with PyTorch, Keras and SavedModel"),
    }
    for name, (option, value, purpose) in given.items():
        if value and name not in used:
            raise ConfigurationError(f"{option} {purpose}; {request.source} is {what}: leave it out")


def refuse_descriptions(request: ImportRequest) -> None:
    """Refuse options that say of a model folder what its model.yaml says.

    Raises:
        ConfigurationError: The first such option.
    """
    given = {
        "--name": request.name,
        "--data": request.samples,
        "--kind": request.kind,
        "--labels": request.labels,
        "--activation": request.activation,
    }
    for option, value in given.items():
        if value:
            raise ConfigurationError(
                f"{option}: {request.source} is a model folder, whose model.yaml says this itself: change it there"
            )
