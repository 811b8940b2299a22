"""A file on its engine: a bundle, its answers held against the model's reference file, and its time.

Decides: which queries are compared, and what is timed: the median inference of a process of the product's quick grade,
one thread. Leaves out: which interpreter that is (`interpreters.py`).
"""

import json
import shutil
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from benchmarks.engine_parts.interpreters import Device
from benchmarks.engine_parts.making import File, Workshop, plain
from controller.bundle.pack import file_entries, npy_bytes
from controller.compress.process.host import engine_version
from controller.compress.process.run import EvaluationContext, run_variant
from controller.compress.variant import ENGINE_OF, Variant
from controller.convert.making.queries import ParityQueries, parity_queries, source_pre
from controller.convert.operators import file_precision
from controller.convert.parity import LIMITS, compare, fault
from controller.errors import UnusableModel
from controller.models.folder import ModelFolder
from controller.models.queries import as_queries
from wire.base import encode
from wire.manifest import BundleManifest, Format, GoldenSpec
from wire.trial import Samples

GOLDEN = 16
MADE_UP = 32
"""Queries to a model without samples: more of what was made up would tell no more."""

ON_PROCESSOR: Mapping[str, str] = {"tensorrt": "onnxruntime"}
"""Engine of a cell -> the engine that answers in its place here."""


@dataclass(frozen=True)
class Reference:
    """What a model answers: its own ONNX file, else its TFLite file, on that format's default engine.

    queries: raw. outputs: one row a query. whole: whether the reference file computes in float32.
    """

    model: ModelFolder
    queries: ParityQueries
    outputs: NDArray[Any]
    whole: bool


@dataclass(frozen=True)
class Answered:
    """What an engine made of a file. `reason`: why its answers do not count; null where they do."""

    parity: dict[str, float | int | None] | None
    version: str | None
    reason: str | None


@dataclass(frozen=True)
class Timing:
    """Medians of one process [ms].

    infer_ms: wall time of the inference. cpu_ms: processor time of a whole query, pre- and post-processing with it:
    neighbours who take the processor away do not count.
    """

    infer_ms: float
    cpu_ms: float
    phases_ms: Mapping[str, Any]
    flags: tuple[str, ...]


def reference(model: ModelFolder, source: str, workshop: Workshop) -> Reference:
    """Return the answers that all cells of a model's source are held against.

    Raises:
        ControllerError: The model's samples cannot be used, or its file does not run.
    """
    queries = parity_queries(model, source_pre(model, source)[0], workshop.datasets)
    if model.spec.data is None:
        queries = replace(queries, every=queries.every[:MADE_UP])
    form = "onnx" if "onnx" in model.spec.formats else "tflite"
    path = model.file(form)
    file = File(path, form, model.pipeline(form), None)
    outputs = _outputs(file, model, queries, workshop)
    return Reference(model, queries, outputs, file_precision(form, path) == "float32")


def _outputs(file: File, model: ModelFolder, queries: ParityQueries, workshop: Workshop) -> NDArray[Any]:
    """Return what a file answers on its format's default engine, by the agent's worker beside the controller."""
    assert file.pipeline is not None, "nothing here runs Core ML"
    variant = Variant(
        name=f"{model.identity} {file.form}",
        recipe={},
        lineage=(),
        format=cast("Format", file.form),
        engine=ENGINE_OF[file.form],
        engine_options={},
        model_file=file.path,
        pipeline=file.pipeline,
        model_root=model.root,
    )
    path = run_variant(variant, queries.every, EvaluationContext(workshop.cache, queries.every[:1]))
    return cast("NDArray[Any]", np.load(path, allow_pickle=False))


def write_bundle(
    folder: Path, file: File, engine: str, given: Reference, options: Mapping[str, Any] | None = None
) -> Path:
    """Write a bundle as a device would get it; its golden outputs are the reference's."""
    assert file.pipeline is not None, "nothing here runs Core ML"
    shutil.rmtree(folder, ignore_errors=True)
    queries = as_queries(given.queries.every[:GOLDEN], file.pipeline.pre.kind)
    golden = GoldenSpec(samples=len(queries))
    outputs = np.ascontiguousarray(given.outputs[:GOLDEN], dtype=np.float32)
    name = f"model.{file.form}"
    contents = {name: file.path.read_bytes(), golden.inputs: npy_bytes(queries), golden.outputs: npy_bytes(outputs)}
    manifest = BundleManifest(
        model=given.model.name,
        model_version=given.model.version,
        kind=given.model.answered_as,
        variant=folder.name,
        format=cast("Format", file.form),
        engine=engine,
        engine_options=dict(options or {}),
        model_file=name,
        pipeline=file.pipeline,
        golden=golden,
        files=file_entries(contents),
    )
    for path, content in contents.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    (folder / "manifest.json").write_bytes(encode(manifest))
    return folder


def answered(bundle: Path, cell: tuple[str, str], given: Reference, device: Device) -> Answered:
    """Run the reference's queries through a bundle and compare.

    Args:
        bundle: Its folder.
        cell: Target and precision, which decide the limits; of an own file `precision` may be what it really is.
        given: What the model answers.
        device: The engine's interpreter.
    """
    run = device.folder / "run"
    run.mkdir(exist_ok=True)
    kind = json.loads((bundle / "manifest.json").read_bytes())["pipeline"]["pre"]["kind"]
    rows = given.queries.rows(cell[1] == "int8")
    np.save(run / "inputs.npy", as_queries(given.queries.every[rows], kind), allow_pickle=False)
    paths = {"inputs_path": run / "inputs.npy", "outputs_path": run / "outputs.npy"}
    result = device.order(kind="run", bundle_dir=bundle, **paths)
    version = result.get("engine_version")
    if result["outcome"] != "ok":
        return Answered(None, version, _error(result))
    return _compared(np.load(run / "outputs.npy", allow_pickle=False), cell, given, version)


def answered_before(file: File, cell: tuple[str, str], given: Reference, workshop: Workshop) -> Answered:
    """As `answered`, from what the file answered when its conversion was judged: kept, so that nothing is run twice.

    Args:
        file: Of an engine that is installed beside the controller.
        cell: Target and precision.
        given: What the model answers.
        workshop: Has the outputs.
    """
    version = engine_version(ENGINE_OF[file.form])
    try:
        outputs = _outputs(file, given.model, given.queries, workshop)
    except UnusableModel as exc:
        return Answered(None, version, plain(str(exc)))
    return _compared(outputs[given.queries.rows(cell[1] == "int8")], cell, given, version)


def _compared(outputs: NDArray[Any], cell: tuple[str, str], given: Reference, version: str | None) -> Answered:
    """Compare the outputs for the queries that count."""
    wanted = given.outputs[given.queries.rows(cell[1] == "int8")]
    try:
        parity = compare(wanted, outputs, given.model.answered_as)
    except ValueError as exc:
        return Answered(None, version, plain(str(exc)))
    # Integer engines differ from each other by rounding, so a model whose own file is quantised is held to that limit.
    limits = LIMITS.get((cell[0], cell[1] if given.whole else "int8"))
    return Answered(asdict(parity), version, fault(parity, limits) if limits else None)


def timed(bundle: Path, order: int, device: Device) -> Timing:
    """Return the times of one fresh process.

    Raises:
        RuntimeError: The process failed.
    """
    asked = {"kind": "measure", "bundle_dir": bundle, "grade": "quick", "order": order, "check_golden": False}
    result = device.order(**asked)
    if result["outcome"] != "ok":
        raise RuntimeError(f"{bundle.name}: {_error(result)}")
    replicate = result["replicate"]
    flags = tuple(replicate.get("flags", ()))
    return Timing(_median_ms(replicate["infer_ns"]), _median_ms(replicate["cpu_ns"]), replicate["phases"], flags)


def _median_ms(samples: Mapping[str, Any]) -> float:
    return float(statistics.median(Samples.model_validate(samples).unpack())) / 1e6


def _error(result: Mapping[str, Any]) -> str:
    error = result.get("error") or {}
    return plain(f"{error.get('code', result['outcome'])}: {error.get('detail', '')}")
