"""Convert a model: find the way, run the converter, finish the file here, judge it, keep it beside the model.

Decides: the order of these, and that a conversion appears whole or not at all. One that fails parity is kept and
flagged; `ModelFolder` does not offer it.

    convert(ConvertRequest(model, "tflite", "int8"), ConvertContext(cache, datasets)).parity
"""

import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from controller.bundle.atomic import sweep_unfinished, unfinished_folder
from controller.compress.cache import PassCache
from controller.compress.passes.base import CalibrationEnds
from controller.convert.conversion import (
    FOLDER,
    Conversion,
    Ends,
    Kept,
    file_digest,
    files_digest,
    write_record,
)
from controller.convert.coreml import read_coreml
from controller.convert.environments import Limits
from controller.convert.making.export import ExportSettings, Made, exported, own_file
from controller.convert.making.finish import Calibration, finished
from controller.convert.making.judge import Bench, Verdict, judged
from controller.convert.making.queries import calibration_inputs, parity_queries, source_pre
from controller.convert.making.routes import ENGINE_OPTIONS, ENGINES, FORMATS, SUFFIXES, Route, find_route
from controller.convert.making.steps import tensorrt_rules
from controller.convert.onnx_io import parse_onnx
from controller.errors import UnusableModel
from controller.models.folder import FormatEntry, ModelFolder
from controller.models.preprocess import prepare
from wire.spec import Pipeline, PreSpec, TextPre

Progress = Callable[[str], None]


@dataclass(frozen=True)
class ConvertRequest:
    """What is asked for.

    source: which of the model's sources; null: the first that leads there. channel_last: whether the input of a TFLite
    file has the channels as its last axis; null: pictures do, series do not.
    """

    model: ModelFolder
    target: str
    precision: str = "float"
    source: str | None = None
    channel_last: bool | None = None

    @property
    def route(self) -> Route:
        """The way there.

        Raises:
            UnusableModel: There is none; the text says why.
        """
        return find_route(self.model.sources(), self.target, self.precision, self.source)


@dataclass(frozen=True)
class ConvertContext:
    """Where conversions work. `datasets` keeps loaded samples; `progress` is told each step."""

    cache: PassCache
    datasets: Path
    limits: Limits = field(default_factory=Limits)
    progress: Progress = lambda _: None


def convert(request: ConvertRequest, context: ConvertContext) -> Kept:
    """Make a conversion and keep it in the model's folder, in place of an earlier one of the same name.

    Raises:
        UnusableModel: No way leads there, or a converter refuses the model; the text says what would work.
        UnusableData: The model's samples cannot be used, or int8 has none to calibrate with.
        ConverterMissing: A converter environment is not installed; the text names the command that installs it.
        ConversionFailed: A converter crashed, hung, or took too much memory.
        DiskFull: No room.
    """
    started = time.monotonic()
    route, model = request.route, request.model
    context.progress(route.told)
    pre, entry = source_pre(model, route.source)
    queries = parity_queries(model, pre, context.datasets)
    calibration = calibration_inputs(model, pre, context.datasets) if route.calibrates else None
    start = _start(request, route, (pre, entry), (queries.every, calibration), context)
    made = _finished(route, model, start, context)
    pipeline = None if route.target == "coreml" else _pipeline(route, model, made, start.path)
    context.progress("comparing")
    bench = Bench(model, queries.every, queries.rows(route.calibrates), context.cache)
    verdict = judged(route, made, pipeline, bench)
    return _keep(route, model, made, _ends(made, pipeline), (verdict, time.monotonic() - started))


def _start(
    request: ConvertRequest,
    route: Route,
    source: tuple[PreSpec, FormatEntry | None],
    samples: tuple[NDArray[Any], NDArray[Any] | None],
    context: ConvertContext,
) -> Made:
    """Return the float file, or what the converter makes in the end where it needs nothing after it."""
    if route.worker is None:
        return own_file(route, request.model)
    (pre, entry), (queries, calibration) = source, samples
    inputs: dict[str, NDArray[Any]] = {}
    if route.source != "onnx":
        inputs["inputs"] = prepare(pre, queries)
        if calibration is not None and route.then is None:
            inputs["calibration"] = calibration
    settings = ExportSettings(context.cache, inputs, context.limits, request.channel_last)
    return exported(route, request.model, pre, entry, settings)


def _finished(route: Route, model: ModelFolder, start: Made, context: ConvertContext) -> Made:
    if route.then is None:
        return start
    context.progress(route.then)
    form = FORMATS[route.target]
    calibration = None
    if route.calibrates:
        pipeline = _pipeline(route, model, start, start.path)
        # As this file takes them: the converter may have moved the channels.
        inputs = calibration_inputs(model, pipeline.pre, context.datasets)
        state = {each.input.name: each.output.name for each in pipeline.state or ()}
        calibration = Calibration(inputs, CalibrationEnds(pipeline.pre.input.name, state))
    made = finished(route.then, form, start.path, calibration, context.cache)
    told = _held_against_tensorrt(made.path) if route.target == "tensorrt" else ()
    versions, notes = {**start.versions, **made.versions}, (*start.notes, *made.notes, *told)
    return replace(start, path=made.path, versions=versions, notes=notes, outputs=())


def _held_against_tensorrt(path: Path) -> tuple[str, ...]:
    """Return what TensorRT's parser would rather have; refuse what it would refuse."""
    model = parse_onnx(path)
    if against := tensorrt_rules.faults(model):
        raise UnusableModel(f"TensorRT's parser would refuse the file: {'; '.join(against)}")
    return tensorrt_rules.notes(model)


def _pipeline(route: Route, model: ModelFolder, made: Made, start: Path) -> Pipeline:
    form = FORMATS[route.target]
    return model.pipeline_of(form, FormatEntry(file="-", **made.ends.model_dump()), made.path, start)


def _ends(made: Made, pipeline: Pipeline | None) -> Ends:
    """Return the names that the tensors have in the file that was made."""
    if pipeline is None:
        return made.ends
    pre, scores = pipeline.pre, getattr(pipeline.post, "scores", None)
    return Ends(
        input=pre.input.name,
        output=pipeline.post.output.name,
        scores=scores.name if scores is not None else None,
        mask=pre.mask.name if isinstance(pre, TextPre) and pre.mask is not None else None,
        types=pre.types.name if isinstance(pre, TextPre) and pre.types is not None else None,
        layout=made.ends.layout,
        state={each.input.name: each.output.name for each in pipeline.state or ()},
    )


def _keep(route: Route, model: ModelFolder, made: Made, ends: Ends, judgement: tuple[Verdict, float]) -> Kept:
    """Write file and record into a folder of another name, then rename it into its place."""
    verdict, took_s = judgement
    root = model.root / FOLDER
    root.mkdir(exist_ok=True)
    sweep_unfinished(root)
    with unfinished_folder(root) as partial:
        path = partial / f"model.{SUFFIXES[route.target]}"
        shutil.copyfile(made.path, path)
        conversion = _record(route, model, made, ends, path).model_copy(
            update={
                "parity": verdict.parity,
                "unproven": verdict.unproven,
                "flagged": verdict.flagged,
                "notes": (*made.notes, *verdict.notes),
                "took_s": round(took_s, 3),
            }
        )
        write_record(conversion, partial)
        place = root / conversion.name
        if place.exists():
            os.replace(place, partial / "former")
        os.replace(partial, place)
        shutil.rmtree(place / "former", ignore_errors=True)
    return Kept(place, conversion, conversion.flagged)


def _record(route: Route, model: ModelFolder, made: Made, ends: Ends, path: Path) -> Conversion:
    options: Mapping[str, Any] = ENGINE_OPTIONS.get(route.target, {})
    return Conversion(
        target=route.target,
        precision=route.precision,
        format=FORMATS[route.target],
        engine=ENGINES[route.target],
        engine_options=dict(options),
        source=route.source,
        source_sha256=files_digest(model.sources()[route.source]),
        file=path.name,
        sha256=file_digest(path),
        bytes=path.stat().st_size,
        ends=ends,
        converter=dict(sorted(made.versions.items())),
        weights=made.weights,
        min_os=read_coreml(path).min_os if route.target == "coreml" else None,
        took_s=0,
    )
