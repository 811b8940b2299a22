"""Carry out one order in this fresh process, and leave the result in a file.

    python -m agent.measure.worker ORDER.json

Exit 0: the result file is there, whatever its outcome. Any other end (exit code or signal) is a crash, and the parent
reports it as one. Progress: JSON lines on stdout. Limits are applied before anything heavy is imported.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from agent.errors import AgentError, EngineUnavailable, ScenarioUnfit
from agent.inference.limits import apply_limits
from agent.inference.order import prepare_process
from agent.measure.memory import MemoryMeter
from agent.measure.orders import BaseOrder, LoadOrder, Result, ResultError, read_order

_STARTED_NS = time.perf_counter_ns()


def main(arguments: list[str]) -> int:
    """Carry out the order in the file that `arguments` names; return the exit code."""
    if len(arguments) != 1:
        print("usage: python -m agent.measure.worker ORDER.json", file=sys.stderr)
        return 2
    try:
        order = read_order(Path(arguments[0]).read_bytes())
    except (OSError, AgentError) as exc:
        print(f"order refused: {exc}", file=sys.stderr)
        return 3
    result = attempt(order)
    order.result_path.write_text(result.model_dump_json(exclude_none=True))
    say("done", outcome=result.outcome)
    return 0


def attempt(order: BaseOrder) -> Result:
    """Carry out `order`; what went wrong in a way that we know becomes its outcome."""
    try:
        _prepare(order)
        meter = MemoryMeter()
        from agent.measure.carry_out import carry_out

        return carry_out(order, meter, say, _STARTED_NS)
    except (EngineUnavailable, ScenarioUnfit) as exc:
        return Result(outcome="incompatible", error=ResultError(code=exc.reason, detail=str(exc)))
    except AgentError as exc:
        return Result(outcome="failed", error=ResultError(code=exc.reason, detail=str(exc)))
    except MemoryError as exc:
        cap = f"under a cap of {order.memory_cap_bytes} bytes" if order.memory_cap_bytes else "without a cap of ours"
        return Result(outcome="failed", error=ResultError(code="out_of_memory", detail=f"{cap}: {exc}"[:2000]))


def _prepare(order: BaseOrder) -> None:
    """Impose the limits. A load that is to compile finds no kernels ready: compiling is one of its phases."""
    if isinstance(order, LoadOrder) and order.compiles:
        apply_limits(order.threads, order.affinity, None, order.memory_cap_by, order.cache_dir)
    else:
        prepare_process(order, say)


def say(event: str, **fields: Any) -> None:
    """Report progress: one JSON line."""
    print(json.dumps({"event": event, **fields}), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
