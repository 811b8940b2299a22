"""A process that only loads and answers once: how long an application waits after a start.

Decides: what belongs to it. Leaves out: dropping files from memory before it (`agent/measure/pages.py`, the parent's),
and how often it is done.
"""

from agent.inference.arrays import golden_inputs
from agent.measure.carry_out.work import Work
from agent.measure.orders import LoadOrder, Result
from agent.measure.scenarios.loop import rotation


def load(order: LoadOrder, work: Work) -> Result:
    """Load, answer one query, and tell the phases."""
    pipeline = work.pipeline(order.threads, answers=True)
    query = rotation(golden_inputs(work.bundle)[:1])[0]
    with work.phase("first_inference_ms"):
        pipeline.answer(query)
    found = {"cold": order.cold, "resident_ratio": order.resident_ratio}
    phases = work.phases().model_copy(update=found)
    return Result(outcome="ok", engine_version=pipeline.engine.version, phases=phases)
