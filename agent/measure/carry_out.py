"""The four kinds of order, carried out: run, self-test, measure, memory.

Decides: phases and their order (import, compile, load, first inference, then the order's own work). Leaves out: limits
and how the process ends (`worker.py`).
"""

import base64
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.errors import BadQuery, ConfigurationError
from agent.inference.arrays import golden_inputs, golden_outputs, load_array, open_dataset
from agent.inference.bundle import Bundle, order_bundle
from agent.inference.engines.registry import engine_class
from agent.inference.golden import judge_golden
from agent.inference.kernels.compiled import Kernel
from agent.inference.pipeline import Pipeline, open_pipeline
from agent.inference.post import Answer
from agent.measure.memory import MemoryMeter
from agent.measure.orders import BaseOrder, MeasureOrder, MemoryOrder, Result, ResultError, RunOrder
from agent.measure.protocol import GRADES
from agent.measure.replicate import rotation, take_replicate
from wire.trial import Golden, Phases, Predictions, Samples

PROGRESS_EVERY_S = 1.0
MEMORY_RUNS = 32
"""Inferences of a memory run: arenas have grown to their size after a few."""

Say = Callable[..., None]


@dataclass
class Work:
    """One order under way."""

    bundle: Bundle
    meter: MemoryMeter
    say: Say
    started_ns: int
    phases_ms: dict[str, float] = field(default_factory=dict)
    kernels: str = "none"

    @contextmanager
    def phase(self, name: str, start_ns: int | None = None) -> Iterator[None]:
        """Time what happens inside, or since `start_ns`."""
        start = time.perf_counter_ns() if start_ns is None else start_ns
        yield
        self.phases_ms[name] = round((time.perf_counter_ns() - start) / 1e6, 3)
        self.say("phase", phase=name, ms=self.phases_ms[name])

    def pipeline(self, threads: int, answers: bool) -> Pipeline:
        """Import the engine, load the model, and load the kernels: where no answer is asked, only the first ones."""
        with self.phase("import_ms", self.started_ns):
            engine_class(self.bundle.manifest.engine).import_library()
        with self.phase("load_ms"):
            pipeline = open_pipeline(self.bundle, threads)
        with self.phase("compile_ms"):
            self.kernels = load_kernels(pipeline, answers)
        return pipeline

    def phases(self) -> Phases:
        return Phases.model_validate({**self.phases_ms, "kernels": self.kernels})


def carry_out(order: BaseOrder, meter: MemoryMeter, say: Say, started_ns: int) -> Result:
    """Carry out `order`.

    Args:
        order: What is asked for.
        meter: Made before anything heavy was imported.
        say: Reports progress: (event, fields).
        started_ns: When this process began its own work, on the clock of `time.perf_counter_ns`.

    Raises:
        AgentError: The order, bundle, engine or a query is faulty.
        MemoryError: There was not enough.
    """
    work = Work(order_bundle(order.bundle_dir, order.manifest, order.root), meter, say, started_ns)
    if isinstance(order, RunOrder):
        result = _run(order, work)
    elif isinstance(order, MeasureOrder):
        result = _measure(order, work)
    elif isinstance(order, MemoryOrder):
        result = _memory(order, work)
    else:
        result = _selftest(order, work)
    info = engine_class(work.bundle.manifest.engine)
    return result.model_copy(update={"engine": info.name})


def load_kernels(pipeline: Pipeline, answers: bool) -> str:
    """Load the machine code of the pipeline's kernels; return how: `none`, `library`, `llvmlite` or `numba`."""
    kernels: tuple[Kernel[..., Any], ...] = pipeline.pre.kernels
    kernels += pipeline.post.kernels if answers else pipeline.post.readers
    ways = {kernel.load() for kernel in kernels}
    return "none" if not ways else "+".join(sorted(ways))


def _run(order: RunOrder, work: Work) -> Result:
    inputs = load_array(order.inputs_path.parent, order.inputs_path.name, mapped=True)
    pipeline = work.pipeline(order.threads, answers=False)
    outputs = raw_outputs(pipeline, inputs, work.say)
    np.save(order.outputs_path, outputs, allow_pickle=False)
    work.meter.loaded()
    return Result(outcome="ok", engine_version=pipeline.engine.version, samples=len(outputs), memory=work.meter.use())


def _selftest(order: BaseOrder, work: Work) -> Result:
    pipeline = work.pipeline(order.threads, answers=True)
    work.meter.loaded()
    golden = check_golden(pipeline, work.bundle)
    for query in golden_inputs(work.bundle):
        pipeline.answer(query)
    return _judged(golden, Result(outcome="ok", engine_version=pipeline.engine.version, memory=work.meter.use()))


def _measure(order: MeasureOrder, work: Work) -> Result:
    if order.scenario != "single_stream":
        raise ConfigurationError(f"scenario {order.scenario!r} cannot be measured by this agent: ask for single_stream")
    pipeline = work.pipeline(order.threads, answers=True)
    queries = rotation(golden_inputs(work.bundle))
    with work.phase("first_inference_ms"):
        pipeline.answer(queries[0])
    version = pipeline.engine.version
    golden = check_golden(pipeline, work.bundle) if order.check_golden else None
    if golden is not None and not golden.passed:
        return _judged(golden, Result(outcome="ok", engine_version=version))
    replicate = take_replicate(pipeline, queries, GRADES[order.grade], order.order, work.phases())
    return Result(outcome="ok", engine_version=version, golden=golden, replicate=replicate)


def _memory(order: MemoryOrder, work: Work) -> Result:
    pipeline = work.pipeline(order.threads, answers=True)
    work.meter.loaded()
    queries = rotation(golden_inputs(work.bundle))
    for number in range(max(MEMORY_RUNS, len(queries))):
        pipeline.answer(queries[number % len(queries)])
    memory = work.meter.use()
    predictions = None if order.evaluation_dir is None else predict(pipeline, order, work)
    return Result(outcome="ok", engine_version=pipeline.engine.version, memory=memory, predictions=predictions)


def check_golden(pipeline: Pipeline, bundle: Bundle) -> Golden:
    """Return how the golden outputs come out on this device."""
    manifest = bundle.manifest
    given = raw_outputs(pipeline, golden_inputs(bundle), lambda *_, **__: None)
    return judge_golden(golden_outputs(bundle), given, manifest.golden, manifest.kind)


def raw_outputs(pipeline: Pipeline, inputs: NDArray[Any], say: Say) -> NDArray[np.float32]:
    """Return the model's raw outputs, de-quantised, shape (n, …).

    Raises:
        BadQuery: No inputs, or one that does not fit; the text says which.
    """
    if len(inputs) == 0:
        raise BadQuery("no inputs: give at least one sample")
    first = _raw(pipeline, inputs, 0)
    outputs = np.empty((len(inputs), *first.shape), dtype=np.float32)
    outputs[0] = first
    for number in _with_progress(len(inputs), say, first=1):
        outputs[number] = _raw(pipeline, inputs, number)
    return outputs


def predict(pipeline: Pipeline, order: MemoryOrder, work: Work) -> Predictions:
    """Return the answers on the evaluation set.

    Raises:
        ConfigurationError: The order does not say which set it is.
        BadBundle: The set's files are not what its manifest says.
    """
    digest = order.evaluation or work.bundle.manifest.evaluation
    if order.evaluation_dir is None or digest is None:
        raise ConfigurationError("an evaluation set needs its digest: name it in the order or in the bundle")
    _, inputs = open_dataset(order.evaluation_dir)
    answers = [_answer(pipeline, inputs, number) for number in _with_progress(len(inputs), work.say)]
    if work.bundle.manifest.kind == "classification":
        classes = Samples.pack([answer.classes[0] for answer in answers])
        return Predictions(evaluation=digest, samples=len(answers), classes=classes)
    values = np.array([answer.values for answer in answers], dtype="<f4")
    return Predictions(evaluation=digest, samples=len(answers), values=_packed(values), width=int(values.shape[1]))


def _judged(golden: Golden, result: Result) -> Result:
    if golden.passed:
        return result.model_copy(update={"golden": golden, "samples": golden.samples})
    error = ResultError(code="golden_mismatch", detail=golden.detail)
    return result.model_copy(update={"outcome": "unfit", "golden": golden, "samples": golden.samples, "error": error})


def _raw(pipeline: Pipeline, inputs: NDArray[Any], number: int) -> NDArray[np.float32]:
    try:
        return pipeline.raw(inputs[number])
    except BadQuery as exc:
        raise BadQuery(f"sample {number}: {exc}") from exc


def _answer(pipeline: Pipeline, inputs: NDArray[Any], number: int) -> Answer:
    try:
        return pipeline.answer(inputs[number])
    except BadQuery as exc:
        raise BadQuery(f"sample {number}: {exc}") from exc


def _with_progress(samples: int, say: Say, first: int = 0) -> Iterator[int]:
    last = time.monotonic()
    for number in range(first, samples):
        yield number
        if time.monotonic() - last > PROGRESS_EVERY_S:
            last = time.monotonic()
            say("progress", samples=number + 1, of=samples)


def _packed(values: NDArray[Any]) -> str:
    return base64.b64encode(zlib.compress(values.tobytes(), 6)).decode()
