"""Orders carried out: run, self-test, measure, memory, load, profile.

Decides: which module stands for which order. Leaves out: limits and how the process ends (`worker.py`).
"""

from collections.abc import Callable

from agent.inference.bundle import order_bundle
from agent.inference.engines.registry import engine_class
from agent.measure.carry_out.loads import load
from agent.measure.carry_out.measuring import measure, memory
from agent.measure.carry_out.outputs import run, selftest
from agent.measure.carry_out.profiling import profile
from agent.measure.carry_out.work import Say, Work
from agent.measure.memory import MemoryMeter
from agent.measure.orders import BaseOrder, LoadOrder, MeasureOrder, MemoryOrder, ProfileOrder, Result, RunOrder

__all__ = ["carry_out"]

KINDS: dict[type[BaseOrder], Callable[..., Result]] = {
    RunOrder: run,
    MeasureOrder: measure,
    MemoryOrder: memory,
    LoadOrder: load,
    ProfileOrder: profile,
}
"""Every other order is a self-test."""


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
    result = KINDS.get(type(order), selftest)(order, work)
    info = engine_class(work.bundle.manifest.engine)
    return result.model_copy(update={"engine": info.name})
