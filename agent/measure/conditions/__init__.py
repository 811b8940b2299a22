"""Under which conditions a number was taken: clocks, heat, pressure, load, power, processor, limits.

Decides: what is read and where, and what readings mean for a measurement. A reading that this device does not offer is
null, never a guess, and no reading raises. Leaves out: what is done about a reason (`agent/measure/flags.py`). Light:
the control process reads conditions as well as the workers.

    before = {**snapshot(), **interference()}
    ...
    flags = changed_flags(before, {**snapshot(), **interference()}, seconds=10.0)
"""

from pathlib import Path

from agent.measure.conditions.firmware import throttled_bits
from agent.measure.conditions.fixed import agent_sha256, fixed_conditions
from agent.measure.conditions.heat import IdleTemperature, temperatures_celsius, trip_points_celsius
from agent.measure.conditions.judge import WAITED_FOR, Readings, changed_flags, preflight_reasons
from agent.measure.conditions.moments import interference, pressure, snapshot
from agent.measure.conditions.processor import cpu_model
from agent.measure.conditions.read import ROOT

__all__ = [
    "ROOT",
    "WAITED_FOR",
    "IdleTemperature",
    "agent_sha256",
    "changed_flags",
    "cpu_model",
    "fixed_conditions",
    "interference",
    "preflight",
    "preflight_reasons",
    "pressure",
    "snapshot",
    "temperatures_celsius",
    "throttled_bits",
    "trip_points_celsius",
]


def preflight(root: Path = ROOT, idle_celsius: float | None = None, earlier: Readings | None = None) -> tuple[str, ...]:
    """Return the reasons against beginning to measure on this host now; those in `WAITED_FOR` may pass.

    Args:
        root: Of the file system.
        idle_celsius: Temperature at rest, as `IdleTemperature` knows it.
        earlier: A snapshot of a moment ago; without one, neither steal nor swapping is seen, nor, on a kernel without
            PSI, other processes.
    """
    return preflight_reasons(snapshot(root), idle_celsius, earlier, trip_points_celsius(root))
