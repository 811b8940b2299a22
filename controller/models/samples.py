"""Labelled samples: loaded from a factory or an `.npz`, checked before anything is computed, kept in the workspace.

Decides: what usable samples are, the split into calibration and evaluation, and their digest. Leaves out: normalisation
(part of the pipeline). Evaluation samples are never used for calibration, and never leave as golden inputs.

    evaluation = evaluation_samples(model, Path(".thresher/datasets"))  # 242 outlines
"""

import hashlib
import importlib.util
import io
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controller.bundle.atomic import write_whole
from controller.errors import UnusableData
from controller.models.folder import ModelFolder
from controller.models.labels.arrays import NEEDED, are_known, as_labels, found_in
from controller.models.labels.check import check_judged, check_labels
from controller.models.labels.declared import FactorySamples, NpzSamples
from controller.models.labels.kinds import Judging, ModelKind
from controller.models.npz import read_npz
from controller.models.preprocess.text import made_up_texts
from controller.models.queries import as_queries, check_queries, check_values, drawn_queries
from wire.spec import Pipeline, TextPre

Inputs = NDArray[Any]
Labels = NDArray[Any]


@dataclass(frozen=True)
class LabelledData:
    """Raw queries and what is true of them.

    inputs: Shape (n, ...) as the pipeline takes them; float32, but whole numbers of pictures, sound and text. labels:
    in the form that `labels/arrays.py` names, (n, 0) where nothing is known. digest: SHA-256 over both arrays. judging:
    what model.yaml says of it. calibration: of anomalies alone, the samples on which variants' thresholds are set.
    """

    name: str
    kind: ModelKind
    inputs: Inputs
    labels: Labels
    digest: str
    judging: Judging = field(default_factory=Judging)
    calibration: "LabelledData | None" = None

    def __len__(self) -> int:
        return len(self.inputs)


def evaluation_samples(model: ModelFolder, cache: Path, *, named: Path | None = None) -> LabelledData:
    """Return the samples on which variants are judged.

    Args:
        model: Its samples are read.
        cache: Keeps what was loaded.
        named: The user's `.npz`, for messages, where the model's is our copy of it.
    Raises:
        UnusableData: Missing, empty, or not what the model takes; the text says which and what was expected. Or no
            metric of the model's kind is defined for such labels.
    """
    samples = _load(model, "evaluation", cache, named)
    check_judged(model.kind, samples.labels, f"{named or model.identity}, evaluation samples")
    if model.kind != "anomaly":
        return samples
    return replace(samples, calibration=_load(model, "calibration", cache, named))


def can_be_judged(model: ModelFolder, cache: Path, *, named: Path | None = None) -> bool:
    """Return whether the model's samples say what is true of them; without, they only calibrate."""
    return are_known(model.kind, _load(model, "evaluation", cache, named).labels)


def calibration_samples(model: ModelFolder, cache: Path, at_most: int = 512, *, named: Path | None = None) -> Inputs:
    """Return raw queries for calibration, of all classes alike where they are known; none is an evaluation sample."""
    samples = _load(model, "calibration", cache, named)
    return samples.inputs[stratified_rows(samples.labels, samples.kind, at_most)]


def training_samples(model: ModelFolder, cache: Path) -> LabelledData:
    """Return the whole training part with its labels; none is an evaluation sample."""
    source = model.spec.data
    separate = isinstance(source, FactorySamples) and source.training is not None
    return _load(model, "training" if separate else "calibration", cache)


def golden_inputs(model: ModelFolder, cache: Path, count: int = 16, seed: int = 2017) -> Inputs:
    """Return synthetic queries for the self-test.

    From the folder's golden factory, else drawn evenly from each element's range in the calibration samples, and for
    text from the tokeniser's own vocabulary. Never a
    row of the evaluation set: a bundle goes to every device, the samples need not.
    """
    source, kind = model.spec.data, str(model.spec.pre.get("kind"))
    if isinstance(source, FactorySamples) and source.golden:
        made = as_queries(_function(model, source.golden)(count), kind)
        if len(made) != count or not np.isfinite(made).all():
            raise UnusableData(
                f"{source.golden} of {model.identity} gave {made.shape} golden inputs, {count} were asked for"
            )
        return made
    known = _load(model, "calibration", cache).inputs
    pre = model.pipeline(model.baseline_format).pre
    if isinstance(pre, TextPre):
        return made_up_texts(pre, model.inside(pre.tokeniser, "pre.tokeniser"), (count, known.shape[1]), seed)
    return drawn_queries(known, kind, count, seed)


def stratified_rows(labels: Labels, kind: ModelKind, count: int, seed: int = 0) -> NDArray[np.int64]:
    """Return at most `count` row numbers, ascending, from all classes in turn; same labels and seed, same rows."""
    random = np.random.default_rng(seed)
    if kind not in ("classification", "anomaly") or not are_known(kind, labels):
        return np.sort(random.permutation(len(labels))[:count])
    queues = [random.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels)]
    turns = [
        row for turn in range(max(map(len, queues))) for queue in queues if turn < len(queue) for row in [queue[turn]]
    ]
    return np.sort(np.asarray(turns[:count], dtype=np.int64))


def check_samples(samples: LabelledData, pipeline: Pipeline, where: str) -> None:
    """Refuse samples that the pipeline cannot take or a metric cannot judge.

    Raises:
        UnusableData: Empty, wrong shape, NaN that is not allowed, labels missing, out of range or of the wrong number.
    """
    inputs, labels = samples.inputs, samples.labels
    if len(inputs) == 0:
        raise UnusableData(f"{where}: no samples; give inputs and labels of at least one sample")
    if len(labels) != len(inputs):
        raise UnusableData(f"{where}: {len(inputs)} inputs and {len(labels)} labels; each sample needs one label")
    check_queries(inputs, pipeline.pre, where)
    check_values(inputs, pipeline.pre, where)
    check_labels(samples.kind, labels, pipeline, where)


def _load(model: ModelFolder, part: str, cache: Path, named: Path | None = None) -> LabelledData:
    source = model.spec.data
    if source is None:
        raise UnusableData(
            f"{model.identity} names no labelled samples; add `data` to its model.yaml, or import it with --data"
        )
    kept = cache / f"{model.name}-{model.version}-{part}-{_source_digest(model, source)[:16]}.npz"
    if (known := _kept(kept, model, part)) is not None:
        return known
    if isinstance(source, NpzSamples):
        samples = _from_npz(model, source, part, named)
    else:
        where = f"{model.identity}, {part} samples"
        samples = _labelled(model, part, *_made(model, source, part), where)
        check_samples(samples, model.pipeline(model.baseline_format), where)
    _keep(kept, samples)
    return samples


def _kept(path: Path, model: ModelFolder, part: str) -> LabelledData | None:
    """Return what an earlier load kept; a file that does not read is made again."""
    if not path.is_file():
        return None
    try:
        arrays = read_npz(path)
        return _labelled(model, part, arrays["inputs"], arrays["labels"], str(path))
    except (UnusableData, KeyError):
        return None


def _made(model: ModelFolder, source: FactorySamples, part: str) -> tuple[Any, Any]:
    split = {"evaluation": source.test, "training": source.training}.get(part) or source.train
    try:
        inputs, labels = _function(model, source.factory)(split)
    except (FileNotFoundError, ValueError, ImportError, TypeError) as exc:
        raise UnusableData(f"{source.factory} of {model.identity} gave no {split!r} samples: {exc}") from exc
    return inputs, labels


def _from_npz(model: ModelFolder, source: NpzSamples, part: str, named: Path | None) -> LabelledData:
    """Check the arrays as the user gave them, then take this part of them."""
    path = model.inside(source.npz, "data.npz")
    shown = named or path
    arrays = read_npz(path, shown)
    separate = source.train_inputs is not None and (source.train_labels is not None or model.kind not in NEEDED)
    inputs, labels = source.inputs, source.labels
    if separate and part == "calibration":
        inputs, labels = str(source.train_inputs), source.train_labels or ""
    if inputs not in arrays:
        raise UnusableData(f"{shown}: no array {inputs!r}; it has {', '.join(arrays) or 'none'}")
    try:
        given = found_in(arrays, model.kind, labels) if labels else None
    except KeyError as exc:
        raise UnusableData(f"{shown}: no array {exc}; it has {', '.join(arrays) or 'none'}") from exc
    own = ", ".join(filter(None, (inputs, labels)))
    where = str(shown) if own == "inputs, labels" else f"{shown} ({own})"
    whole = _labelled(model, part, arrays[inputs], given, where)
    check_samples(whole, model.pipeline(model.baseline_format), where)
    return whole if separate or not are_known(model.kind, whole.labels) else _part_of(whole, source, part, where)


def _part_of(whole: LabelledData, source: NpzSamples, part: str, where: str) -> LabelledData:
    count = len(whole)
    rows = stratified_rows(whole.labels, whole.kind, max(1, round(source.calibration_ratio * count)), source.seed)
    if len(rows) == count:
        raise UnusableData(f"{where}: of {count} samples {count} would calibrate and none be left to judge; give more")
    chosen = rows if part == "calibration" else np.setdiff1d(np.arange(count), rows)
    inputs, labels = whole.inputs[chosen], whole.labels[chosen]
    return replace(whole, inputs=inputs, labels=labels, digest=arrays_digest(inputs, labels))


def _labelled(model: ModelFolder, part: str, inputs: Any, labels: Any, where: str) -> LabelledData:
    try:
        plain = as_queries(inputs, str(model.spec.pre.get("kind")))
        known = as_labels(model.kind, labels, len(plain), where)
    except (TypeError, ValueError) as exc:
        raise UnusableData(f"{where}: not numbers of one shape: {exc}") from exc
    digest = arrays_digest(plain, known)
    return LabelledData(f"{model.name}-{part}", model.kind, plain, known, digest, model.spec.judging)


def arrays_digest(*arrays: NDArray[Any]) -> str:
    """Return one SHA-256 over the arrays' types, shapes and contents."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _function(model: ModelFolder, place: str) -> Callable[..., Any]:
    """Return a function of a Python file of the folder. The folder is the user's own: it is run, as her scripts are."""
    file, _, name = place.partition(":")
    path = model.inside(file, "data")
    spec = importlib.util.spec_from_file_location(f"thresher_model_{model.name.replace('-', '_')}", path)
    if spec is None or spec.loader is None:
        raise UnusableData(f"{path} cannot be loaded as Python")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        function: Callable[..., Any] = getattr(module, name)
    except (ImportError, SyntaxError, AttributeError) as exc:
        raise UnusableData(f"{path}: {name} cannot be loaded: {exc}") from exc
    return function


def _source_digest(model: ModelFolder, source: FactorySamples | NpzSamples) -> str:
    file = source.npz if isinstance(source, NpzSamples) else source.factory.partition(":")[0]
    content = model.inside(file, "data").read_bytes()
    return hashlib.sha256(content + source.model_dump_json().encode()).hexdigest()


def _keep(path: Path, samples: LabelledData) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, inputs=samples.inputs, labels=samples.labels)
    write_whole(path, buffer.getvalue())
