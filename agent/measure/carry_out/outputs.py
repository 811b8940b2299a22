"""Answers: raw outputs, golden outputs, the evaluation set; and the orders that ask for nothing else.

Decides: how a query that does not fit is named. Leaves out: whether outputs agree (`agent/inference/golden.py`).
"""

import base64
import time
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.errors import BadQuery, ConfigurationError
from agent.inference.arrays import golden_inputs, golden_outputs, load_array, open_dataset
from agent.inference.bundle import Bundle
from agent.inference.golden import judge_golden
from agent.inference.pipeline import Pipeline
from agent.inference.post import Answer
from agent.measure.carry_out.work import Say, Work
from agent.measure.orders import BaseOrder, MemoryOrder, Result, ResultError, RunOrder
from wire.trial import Golden, Predictions, Samples

PROGRESS_EVERY_S = 1.0


def run(order: RunOrder, work: Work) -> Result:
    """Answer raw queries with the model's raw outputs."""
    inputs = load_array(order.inputs_path.parent, order.inputs_path.name, mapped=True)
    pipeline = work.pipeline(order.threads, answers=False)
    outputs = raw_outputs(pipeline, inputs, work.say)
    np.save(order.outputs_path, outputs, allow_pickle=False)
    work.meter.loaded()
    return Result(outcome="ok", engine_version=pipeline.engine.version, samples=len(outputs), memory=work.meter.use())


def selftest(order: BaseOrder, work: Work) -> Result:
    """Hold the golden outputs against this device's, and answer all golden queries."""
    pipeline = work.pipeline(order.threads, answers=True)
    work.meter.loaded()
    golden = check_golden(pipeline, work.bundle)
    for query in golden_inputs(work.bundle):
        pipeline.answer(query)
    return judged(golden, Result(outcome="ok", engine_version=pipeline.engine.version, memory=work.meter.use()))


def check_golden(pipeline: Pipeline, bundle: Bundle) -> Golden:
    """Return how the golden outputs come out on this device, from a fresh state as they were made."""
    manifest = bundle.manifest
    pipeline.forget()
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
        ConfigurationError: The order does not say which set it is, or no metric judges answers of the bundle's kind.
        BadBundle: The set's files are not what its manifest says.
    """
    digest = order.evaluation or work.bundle.manifest.evaluation
    if order.evaluation_dir is None or digest is None:
        raise ConfigurationError("an evaluation set needs its digest: name it in the order or in the bundle")
    kind = work.bundle.manifest.kind
    if kind not in ("classification", "regression"):
        raise ConfigurationError(f"answers of a {kind} have no metric: measure the bundle without an evaluation set")
    _, inputs = open_dataset(order.evaluation_dir)
    pipeline.forget()
    answers = [_answer(pipeline, inputs, number) for number in _with_progress(len(inputs), work.say)]
    if kind == "classification":
        classes = Samples.pack([answer.best for answer in answers])
        return Predictions(evaluation=digest, samples=len(answers), classes=classes)
    values = np.array([answer.values for answer in answers], dtype="<f4")
    return Predictions(evaluation=digest, samples=len(answers), values=_packed(values), width=int(values.shape[1]))


def judged(golden: Golden, result: Result) -> Result:
    """Return `result` with how the golden outputs came out; wrong ones make it `unfit`."""
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
