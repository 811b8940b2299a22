"""A model folder: `model.yaml` beside the model's files, and the pipeline that follows from both.

Decides: the schema of `model.yaml` and how `pre` and `post` meet the file's own signature. Leaves out: the labelled
samples (`samples.py`) and making such a folder from a bare file (`importing.py`).

    model = ModelFolder.load(Path("models/leaf_outline"))
    model.pipeline("onnx").pre.input.shape  # (-1, 1, 427)
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from controller.config.yaml_file import load_yaml
from controller.convert.signature import Signature, read_signature
from controller.errors import NotFound, UnusableModel
from wire.base import Name
from wire.manifest import Format
from wire.spec import Kind, Pipeline, PostSpec, PreSpec, SeriesPre, TensorSpec

FILE_NAME = "model.yaml"
_UNKNOWN_INPUT = {"name": "unread", "shape": [-1], "dtype": "float32"}
_PRE: TypeAdapter[Any] = TypeAdapter(PreSpec)
_POST: TypeAdapter[Any] = TypeAdapter(PostSpec)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FormatEntry(_Strict):
    """One file of the model. `input` and `output` may be left out where the file has only one."""

    file: str
    input: str | None = None
    output: str | None = None
    layout: Literal["NCL", "NLC"] | None = None


class TorchEntry(_Strict):
    """The torch module beside the exported files; no part of a deploy reads it."""

    factory: str
    state: str


class FactorySamples(_Strict):
    """Samples from a function in the folder: `FILE:FUNCTION`, called with the split's name."""

    factory: str = Field(pattern=r"^[\w./-]+\.py:\w+$")
    train: str = "train"
    test: str = "test"
    golden: str | None = Field(default=None, pattern=r"^[\w./-]+\.py:\w+$")


class NpzSamples(_Strict):
    """Samples from an `.npz` in the folder.

    Without train arrays, a fixed part of the samples is kept for calibration.
    """

    npz: str
    inputs: str = "inputs"
    labels: str = "labels"
    train_inputs: str | None = None
    train_labels: str | None = None
    calibration_ratio: float = Field(default=0.2, gt=0, lt=1)
    seed: int = Field(default=0, ge=0)


class ModelYaml(_Strict):
    """The schema of `model.yaml`."""

    schema_: Literal[1] = Field(alias="schema")
    name: Name
    version: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    kind: Kind
    licence: str = Field(default="", max_length=200)
    formats: dict[Format, FormatEntry] = Field(min_length=1)
    torch: TorchEntry | None = None
    pre: dict[str, Any]
    post: dict[str, Any]
    data: FactorySamples | NpzSamples | None = None

    @model_validator(mode="after")
    def _pipeline_is_well_formed(self) -> Self:
        if "input" in self.pre or "output" in self.post:
            raise ValueError("pre.input and post.output follow from the model's file: leave them out")
        _checked(_PRE, "pre", {**self.pre, "input": _UNKNOWN_INPUT})
        post = _checked(_POST, "post", {**self.post, "output": _UNKNOWN_INPUT})
        if post.kind != self.kind:
            raise ValueError(f"post.kind is {post.kind!r} where the model's kind is {self.kind!r}")
        if "onnx" not in self.formats and "tflite" not in self.formats:
            raise ValueError("formats needs onnx or tflite")
        return self


@dataclass(frozen=True)
class ModelFolder:
    """A model on disk: its folder and what `model.yaml` says."""

    root: Path
    spec: ModelYaml

    @classmethod
    def load(cls, path: Path) -> "ModelFolder":
        """Read a model folder.

        Args:
            path: The folder, or its `model.yaml`.
        Raises:
            NotFound: No `model.yaml` there.
            ConfigurationError: It does not follow the schema; the text names the line and the field.
            UnusableModel: A file that it names is missing, or lies outside the folder.
        """
        file = path if path.name == FILE_NAME else path / FILE_NAME
        if not file.is_file():
            raise NotFound(f"{file}: no such model; `controller model list` shows those in the workspace")
        folder = cls(file.parent.resolve(), load_yaml(file, ModelYaml))
        for form in folder.spec.formats:
            folder.file(form)
        return folder

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def version(self) -> str:
        return self.spec.version

    @property
    def kind(self) -> Kind:
        return self.spec.kind

    @property
    def identity(self) -> str:
        """`NAME@VERSION`, as fleets name it."""
        return f"{self.name}@{self.version}"

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the classes, or of the outputs of a regression."""
        return tuple(self.spec.post.get("labels", self.spec.post.get("names", ())))

    @property
    def baseline_format(self) -> Format:
        """The format of the uncompressed model with which variants are compared."""
        return "onnx" if "onnx" in self.spec.formats else "tflite"

    def file(self, form: str) -> Path:
        """Return the path of the model's file of a format.

        Raises:
            UnusableModel: No such format or file, or the file lies outside the folder.
        """
        entry = self._entry(form)
        return self.inside(entry.file, f"formats.{form}.file")

    def inside(self, relative: str, field: str) -> Path:
        """Return a file of this folder that `model.yaml` names.

        Raises:
            UnusableModel: It is missing or lies outside the folder.
        """
        path = (self.root / relative).resolve()
        if not path.is_relative_to(self.root):
            raise UnusableModel(f"{self.root / FILE_NAME}: {field}: {relative!r} lies outside the model's folder")
        if not path.is_file():
            raise UnusableModel(
                f"{self.root / FILE_NAME}: {field}: {path} is not there; put it back or import the model again"
            )
        return path

    def pipeline(self, form: str, file: Path | None = None) -> Pipeline:
        """Return the pre- and post-processing of one model file.

        Args:
            form: Format, as in `formats`.
            file: A variant of the model in that format; the model's own file when left out.
        Returns:
            The declared pipeline with the input and output that the file really has, quantisation included.
        Raises:
            UnusableModel: The file's signature does not fit what `pre` and `post` declare.
        """
        entry = self._entry(form)
        path = file or self.file(form)
        signature = read_signature(form, path)
        original = signature if file is None else read_signature(form, self.file(form))
        source, result = _ends(signature, original, entry)
        pre: dict[str, Any] = {**self.spec.pre, "input": source.model_dump()}
        if self.spec.pre.get("kind") == "series" and entry.layout:
            pre["layout"] = entry.layout
        pipeline = Pipeline(
            pre=_checked(_PRE, "pre", pre),
            post=_checked(_POST, "post", {**self.spec.post, "output": result.model_dump()}),
        )
        _check_fit(pipeline, path)
        return pipeline

    def _entry(self, form: str) -> FormatEntry:
        for known, entry in self.spec.formats.items():
            if known == form:
                return entry
        raise UnusableModel(f"{self.identity} has no {form} file; it has {', '.join(self.spec.formats)}")


def _ends(signature: Signature, original: Signature, entry: FormatEntry) -> tuple[TensorSpec, TensorSpec]:
    """Return input and output; where a pass renamed them, they are found by their place in the original."""
    source, result = original.input(entry.input), original.output(entry.output)
    place_in, place_out = original.inputs.index(source), original.outputs.index(result)
    if len(signature.inputs) <= place_in or len(signature.outputs) <= place_out:
        raise UnusableModel(f"the variant lost the input {source.name!r} or the output {result.name!r}")
    return signature.inputs[place_in], signature.outputs[place_out]


def _checked(adapter: TypeAdapter[Any], field: str, document: dict[str, Any]) -> Any:
    """Validate a part of the pipeline; an unknown key is refused here, though the wire would keep it."""
    try:
        part = adapter.validate_python(document)
    except ValidationError as exc:
        fault = exc.errors(include_url=False)[0]
        steps = ".".join([field, *(str(step) for step in fault["loc"] if step != document.get("kind"))])
        raise ValueError(f"{steps}: {fault['msg']}") from exc
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


def _check_fit(pipeline: Pipeline, path: Path) -> None:
    """Refuse a pipeline whose declared sizes are not the file's."""
    shape = pipeline.pre.input.shape
    if isinstance(pipeline.pre, SeriesPre):
        pre = pipeline.pre
        declared: tuple[int, ...] = (pre.channels, pre.length) if pre.layout == "NCL" else (pre.length, pre.channels)
    elif pipeline.pre.kind == "table":
        declared = (pipeline.pre.features,)
    else:
        declared = shape[1:]
    fits = len(shape) == len(declared) + 1 and all(
        have in (want, -1) for have, want in zip(shape[1:], declared, strict=True)
    )
    if not fits:
        raise UnusableModel(f"{path}: the model takes {shape}, `pre` declares (batch, {', '.join(map(str, declared))})")
    labels = pipeline.post.labels if pipeline.post.kind == "classification" else ()
    classes = pipeline.post.output.shape[-1] if pipeline.post.output.shape else -1
    if labels and classes not in (-1, len(labels)):
        raise UnusableModel(f"{path}: the model has {classes} outputs, `post.labels` names {len(labels)} classes")
