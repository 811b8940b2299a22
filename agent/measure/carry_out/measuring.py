"""A replicate, and a run that is there for its memory.

Decides: that wrong golden outputs end a replicate before anything is timed. Leaves out: the timing (`scenarios/`).
"""

from collections.abc import Sequence

from agent.errors import BatchFixed
from agent.inference.arrays import golden_inputs
from agent.inference.batch import open_batch
from agent.inference.bundle import Bundle
from agent.inference.pipeline import Pipeline
from agent.measure.carry_out.outputs import check_golden, judged, predict
from agent.measure.carry_out.work import Work
from agent.measure.orders import MeasureOrder, MemoryOrder, Result
from agent.measure.scenarios import Subject, check_settings, queries_at_once
from agent.measure.scenarios.loop import Query, rotation
from agent.measure.scenarios.replicate import take_replicate
from agent.measure.scenarios.turns import Turns

MEMORY_RUNS = 32
"""Inferences of a memory run: arenas have grown to their size after a few."""

BATCH_RUNS = 4


def measure(order: MeasureOrder, work: Work) -> Result:
    """Load, answer once, hold the golden outputs against this device's, then warm up and time.

    Raises:
        ScenarioUnfit: The bundle cannot do what the scenario asks for.
    """
    check_settings(order.scenario, order.settings)
    pipeline = work.pipeline(order.threads, answers=True)
    queries = rotation(golden_inputs(work.bundle))
    with work.phase("first_inference_ms"):
        pipeline.answer(queries[0])
    version = pipeline.engine.version
    golden = check_golden(pipeline, work.bundle) if order.check_golden else None
    if golden is not None and not golden.passed:
        return judged(golden, Result(outcome="ok", engine_version=version))
    subject = Subject(work.bundle, pipeline, queries)
    turns = None if order.lock_step is None else Turns(order.lock_step, work.say)
    replicate = take_replicate(subject, order, work.phases(), turns)
    return Result(outcome="ok", engine_version=version, golden=golden, replicate=replicate)


def memory(order: MemoryOrder, work: Work) -> Result:
    """Answer a few queries and tell the memory that it took; then, if asked, answer the evaluation set."""
    pipeline = work.pipeline(order.threads, answers=True)
    work.meter.loaded()
    queries = rotation(golden_inputs(work.bundle))
    _answer_some(work.bundle, pipeline, queries, queries_at_once(order.scenario, order.settings))
    used = work.meter.use()
    predictions = None if order.evaluation_dir is None else predict(pipeline, order, work)
    return Result(outcome="ok", engine_version=pipeline.engine.version, memory=used, predictions=predictions)


def _answer_some(bundle: Bundle, pipeline: Pipeline, queries: Sequence[Query], size: int) -> None:
    """Answer each query, and `MEMORY_RUNS` of them at least; so many at once where the model takes a batch."""
    for number in range(max(MEMORY_RUNS, len(queries))):
        pipeline.answer(queries[number % len(queries)])
    if size == 1:
        return
    try:
        batch = open_batch(bundle, pipeline, size, queries)
    except BatchFixed:
        return
    filling = [queries[row % len(queries)] for row in range(size)]
    for _ in range(BATCH_RUNS):
        batch.prepare(filling)
        batch.finish(batch.infer())
    pipeline.engine.take_batch(1)
