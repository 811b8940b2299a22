"""A model folder: `model.yaml` beside the model's files, and the pipeline that follows from both.

Decides: the schema of `model.yaml` and how `pre` and `post` meet the file's own signature. Leaves out: the labelled
samples (`samples.py`) and making such a folder from a bare file (`importing.py`).

    model = ModelFolder.load(Path("models/leaf_outline"))
    model.pipeline("onnx").pre.input.shape  # (-1, 1, 427)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from controller.config.yaml_file import load_yaml
from controller.convert.conversion import Ends, Kept, Layout, conversion_name, kept_conversions
from controller.convert.signature import read_signature
from controller.errors import NotFound, UnusableModel
from controller.models.fitting import check_fit, checked_part, further_inputs, model_ends, state_tensors
from controller.models.labels.declared import FactorySamples, NpzSamples
from controller.models.labels.kinds import ANSWERED_AS, Judging, ModelKind
from wire.base import Name
from wire.canonical import sha256_hex
from wire.manifest import Format
from wire.spec import Kind, Pipeline, PostSpec, PreSpec, bundle_files

FILE_NAME = "model.yaml"
HEADS_WITH_SCORES = ("ssd", "boxes")
LAYOUTS = {"series": ("NCL", "NLC"), "image": ("NCHW", "NHWC"), "audio": ("NFT", "NTF")}
"""Orders of the input's axes that a format's file may have, by the kind of pre-processing."""
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
    layout: Layout | None = None
    state: dict[str, str] = {}
    """State of a model that takes and gives it: the input's name, and the output's that goes into it next time."""

    @property
    def ends(self) -> Ends:
        """Everything but the file."""
        return Ends(**self.model_dump(exclude={"file"}))


class TorchEntry(_Strict):
    """The torch module beside the exported files, or an exported program: what `controller model convert` starts from.

    `factory`: `FILE.py:FUNCTION` in this folder, called without arguments. `state`: its weights, `.safetensors` or what
    torch.save wrote of a state_dict. `program`: instead of both, what torch.export.save wrote.
    """

    factory: str | None = Field(default=None, pattern=r"^[\w./-]+\.py:\w+$")
    state: str | None = None
    program: str | None = None

    @model_validator(mode="after")
    def _one_or_the_other(self) -> Self:
        if bool(self.factory and self.state) == bool(self.program) or bool(self.factory) != bool(self.state):
            raise ValueError("torch: give factory and state, or program alone")
        return self

    @property
    def files(self) -> tuple[str, ...]:
        """The files that make the network."""
        named = (self.factory.partition(":")[0] if self.factory else None, self.state, self.program)
        return tuple(name for name in named if name)


class TensorflowEntry(_Strict):
    """The Keras model (`.keras`) or the SavedModel (its folder): what `controller model convert` starts from."""

    model: str


class ModelYaml(_Strict):
    """The schema of `model.yaml`."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"required": ["formats"], "properties": {"formats": {"minProperties": 1}}},
                {"required": ["torch"]},
                {"required": ["tensorflow"]},
            ]
        }
    )

    schema_: Literal[1] = Field(alias="schema")
    name: Name
    version: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    kind: ModelKind
    licence: str = Field(default="", max_length=200)
    formats: dict[Format, FormatEntry] = Field(default_factory=dict)
    torch: TorchEntry | None = None
    tensorflow: TensorflowEntry | None = None
    pre: dict[str, Any]
    post: dict[str, Any]
    data: FactorySamples | NpzSamples | None = None
    judging: Judging = Field(default_factory=Judging)

    @model_validator(mode="after")
    def _pipeline_is_well_formed(self) -> Self:
        if "input" in self.pre or "output" in self.post:
            raise ValueError("pre.input and post.output follow from the model's file: leave them out")
        if "mask" in self.pre or "types" in self.pre:
            raise ValueError("pre.mask and pre.types follow from the model's file: name the inputs in formats.FORMAT")
        if "scores" in self.post:
            raise ValueError("post.scores follows from the model's file: name the output in formats.FORMAT.scores")
        checked_part(
            _PRE, "pre", {**self.pre, "input": _UNKNOWN_PICTURE if self.pre.get("kind") == "image" else _UNKNOWN_INPUT}
        )
        scores = {"scores": _UNKNOWN_INPUT} if self.has_scores else {}
        post = checked_part(_POST, "post", {**self.post, "output": _UNKNOWN_INPUT, **scores})
        if post.kind != (wanted := ANSWERED_AS[self.kind]):
            asked = "" if wanted == self.kind else f", which is answered as {wanted!r}"
            raise ValueError(f"post.kind is {post.kind!r} where the model's kind is {self.kind!r}{asked}")
        self.judging.check_kind(self.kind)
        if not (self.formats.keys() & {"onnx", "tflite"} or self.torch or self.tensorflow):
            raise ValueError("formats needs onnx or tflite, unless there is torch or tensorflow to convert from")
        if not self.has_scores and (named := [form for form, entry in self.formats.items() if entry.scores]):
            raise ValueError(f"formats.{named[0]}.scores: only the detection heads ssd and boxes have such an output")
        return self

    @model_validator(mode="after")
    def _layouts_are_those_of_the_kind(self) -> Self:
        known = LAYOUTS.get(str(self.pre.get("kind")), ())
        for form, entry in self.formats.items():
            if entry.layout and entry.layout not in known:
                raise ValueError(
                    f"formats.{form}.layout: {entry.layout} is no layout of `pre.kind: {self.pre.get('kind')}`; "
                    f"it has {' and '.join(known) or 'none'}"
                )
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
    def kind(self) -> ModelKind:
        return self.spec.kind

    @property
    def answered_as(self) -> Kind:
        """What bundles of the model say that they do: devices know fewer kinds."""
        return ANSWERED_AS[self.kind]

    @property
    def augment(self) -> dict[str, Any]:
        """The changes of samples that the data allow, as plain values; empty: none."""
        declared = self.spec.data.augment if self.spec.data else None
        return declared.model_dump(exclude_defaults=True) if declared else {}

    @property
    def code_digest(self) -> str:
        """The digest of the user's own Python and of weights of PyTorch in the folder."""
        files = sorted(path for path in self.root.rglob("*") if path.suffix in (".py", ".safetensors", ".pt", ".pth"))
        return sha256_hex(b"".join(path.name.encode() + path.read_bytes() for path in files))

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
        """The format of the uncompressed model with which variants are compared.

        Raises:
            UnusableModel: There is none yet.
        """
        known = self.formats
        if "onnx" not in known and "tflite" not in known:
            raise UnusableModel(
                f"{self.identity} has neither an onnx nor a tflite file yet; make one: controller model convert "
                f"{self.identity} --to onnx"
            )
        return "onnx" if "onnx" in known else "tflite"

    @property
    def formats(self) -> dict[Format, FormatEntry]:
        """The model's files by format: those of model.yaml, and float conversions that kept parity."""
        converted: dict[Format, FormatEntry] = {
            kept.conversion.format: FormatEntry(file=self._relative(kept.path), **kept.conversion.ends.model_dump())
            for kept in self.conversions()
            if kept.because is None and kept.conversion.precision == "float"
        }
        return {**converted, **self.spec.formats}

    def conversions(self) -> tuple[Kept, ...]:
        """Return the conversions in this folder, those too that are not offered, by name.

        Raises:
            UnusableModel: The record of one cannot be read.
        """
        return kept_conversions(self.root, self.sources())

    def converted(self, target: str, precision: str) -> Kept:
        """Return a conversion that may be deployed.

        Raises:
            UnusableModel: There is none, or it is not offered; the text says why, and how to make it.
        """
        wanted = conversion_name(target, precision)
        for kept in self.conversions():
            if kept.conversion.name == wanted:
                if kept.because is not None:
                    raise UnusableModel(f"{self.identity}, {wanted}: never deployed: {kept.because}")
                return kept
        raise UnusableModel(
            f"{self.identity} has no {wanted} conversion; make it: controller model convert {self.identity} "
            f"--to {target} --precision {precision}"
        )

    def sources(self) -> dict[str, tuple[Path, ...]]:
        """Return what the model can be converted from: the files of each source, by its name."""
        found: dict[str, tuple[Path, ...]] = {}
        if self.spec.torch is not None:
            found["torch"] = tuple(self.root / name for name in self.spec.torch.files)
        if self.spec.tensorflow is not None:
            path = self.root / self.spec.tensorflow.model
            inner = (each for each in path.rglob("*") if each.is_file())
            found["tensorflow"] = tuple(sorted(inner)) if path.is_dir() else (path,)
        for form in ("onnx", "tflite"):
            if form in self.spec.formats:
                found[form] = (self.root / self.spec.formats[form].file,)
        return found

    def file(self, form: str) -> Path:
        """Return the path of the model's file of a format.

        Raises:
            UnusableModel: No such format or file, or the file lies outside the folder.
        """
        entry = self.entry(form)
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
        entry = self.entry(form)
        original = self.inside(entry.file, f"formats.{form}.file")
        return self.pipeline_of(form, entry, file or original, original)

    def pipeline_of(self, form: str, entry: FormatEntry, path: Path, of: Path | None = None) -> Pipeline:
        """Return the pre- and post-processing of a file that `entry` describes, in this folder or elsewhere.

        Args:
            form: Its format.
            entry: Names its tensors, or those of the file `of` that it is a variant of.
            path: The file.
            of: What it is a variant of; itself when left out.
        Raises:
            UnusableModel: The file's signature does not fit what `pre` and `post` declare.
        """
        signature = read_signature(form, path)
        original = signature if of in (None, path) else read_signature(form, of)
        source, results = model_ends(signature, original, entry, self.spec.has_scores)
        pre: dict[str, Any] = {**self.spec.pre, "input": source.model_dump()}
        if entry.layout:
            pre["layout"] = entry.layout
        if self.takes_text:
            pre.update(further_inputs(signature, original, entry))
        try:
            pipeline = Pipeline(
                pre=checked_part(_PRE, "pre", pre),
                post=checked_part(_POST, "post", {**self.spec.post, **results}),
                state=state_tensors(signature, original, entry),
            )
        except ValueError as exc:
            raise UnusableModel(f"{path}: {exc}") from exc
        check_fit(pipeline, path)
        for field, name in bundle_files(pipeline).items():
            self.inside(name, field)
        return pipeline

    def entry(self, form: str) -> FormatEntry:
        """Return which of a format's tensors are meant, and in which file.

        Raises:
            UnusableModel: The model has no file of that format.
        """
        if form in self.spec.formats:  # asked for far more often than conversions are
            return self.spec.formats[form]
        known: Mapping[str, FormatEntry] = dict(self.formats.items())
        if form not in known:
            raise UnusableModel(f"{self.identity} has no {form} file; it has {', '.join(known) or 'none'}")
        return known[form]

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()
