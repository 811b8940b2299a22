"""The order to profile: the engine's own profiler, beside the engine as it serves."""

from agent.inference.arrays import golden_inputs
from agent.measure.carry_out.work import Work
from agent.measure.orders import ProfileOrder, Result
from agent.measure.profile import Subject, take_profile
from agent.measure.scenarios.loop import rotation


def profile(order: ProfileOrder, work: Work) -> Result:
    """Return what each operator type costs.

    Raises:
        EngineFailed: The engine has no profiler that can be used.
    """
    pipeline = work.pipeline(order.threads, answers=False)
    queries = rotation(golden_inputs(work.bundle))
    found = take_profile(Subject(pipeline, work.bundle, queries, order.threads), order.result_path.parent)
    return Result(outcome="ok", engine_version=pipeline.engine.version, samples=found.queries, profile=found)
