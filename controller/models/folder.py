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
from controller.convert.signature import read_signature
from controller.errors import NotFound, UnusableModel
from controller.models.fitting import check_fit, further_inputs, model_ends
from wire.base import Name
from wire.manifest import Format
from wire.spec import Kind, Pipeline, PostSpec, PreSpec, bundle_files

FILE_NAME = "model.yaml"
HEADS_WITH_SCORES = ("ssd", "boxes")
_UNKNOWN_INPUT = {"name": "unread", "shape": [-1], "dtype": "float32"}
_UNKNOWN_PICTURE = {**_UNKNOWN_INPUT, "shape": [-1, -1, -1, -1]}
_PRE: TypeAdapter[Any] = TypeAdapter(PreSpec)
_POST: TypeAdapter[Any] = TypeAdapter(PostSpec)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FormatEntry(_Strict):
    """One file of the model. `input` and `output` may be left out where the file has only one."""

    file: str
    input: str | None = None
    output: str | None = None
    scores: str | None = None
    """Output with the scores of a detection head that has two; may be left out where the file has just two outputs."""
    mask: str | None = None
    """Input of a model of text: 1 for a token, 0 for padding."""
    types: str | None = None
    """Input of a model of text: the tokens' types."""
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
        if "mask" in self.pre or "types" in self.pre:
            raise ValueError("pre.mask and pre.types follow from the model's file: name the inputs in formats.FORMAT")
        if "scores" in self.post:
            raise ValueError("post.scores follows from the model's file: name the output in formats.FORMAT.scores")
        _checked(
            _PRE, "pre", {**self.pre, "input": _UNKNOWN_PICTURE if self.pre.get("kind") == "image" else _UNKNOWN_INPUT}
        )
        scores = {"scores": _UNKNOWN_INPUT} if self.has_scores else {}
        post = _checked(_POST, "post", {**self.post, "output": _UNKNOWN_INPUT, **scores})
        if post.kind != self.kind:
            raise ValueError(f"post.kind is {post.kind!r} where the model's kind is {self.kind!r}")
        if "onnx" not in self.formats and "tflite" not in self.formats:
            raise ValueError("formats needs onnx or tflite")
        if not self.has_scores and (named := [form for form, entry in self.formats.items() if entry.scores]):
            raise ValueError(f"formats.{named[0]}.scores: only the detection heads ssd and boxes have such an output")
        return self

    @model_validator(mode="after")
    def _further_inputs_belong_to_text(self) -> Self:
        for form, entry in self.formats.items():
            if (entry.mask or entry.types) and self.pre.get("kind") != "text":
                raise ValueError(f"formats.{form}.mask and .types: only models of text have such inputs")
        return self

    @property
    def has_scores(self) -> bool:
        """Whether post-processing reads a second output, with scores."""
        return self.post.get("kind") == "detection" and self.post.get("head") in HEADS_WITH_SCORES


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
    def takes_text(self) -> bool:
        """Whether queries are text, and the model's inputs numbers of tokens."""
        return self.spec.pre.get("kind") == "text"

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
        source, results = model_ends(signature, original, entry, self.spec.has_scores)
        pre: dict[str, Any] = {**self.spec.pre, "input": source.model_dump()}
        if self.spec.pre.get("kind") == "series" and entry.layout:
            pre["layout"] = entry.layout
        if self.takes_text:
            pre.update(further_inputs(signature, original, entry))
        pipeline = Pipeline(
            pre=_checked(_PRE, "pre", pre),
            post=_checked(_POST, "post", {**self.spec.post, **results}),
        )
        check_fit(pipeline, path)
        for field, name in bundle_files(pipeline).items():
            self.inside(name, field)
        return pipeline

    def _entry(self, form: str) -> FormatEntry:
        for known, entry in self.spec.formats.items():
            if known == form:
                return entry
        raise UnusableModel(f"{self.identity} has no {form} file; it has {', '.join(self.spec.formats)}")


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
