"""Energy of queries, from a sensor that this device has; without one, null.

meter = find_meter()
idle_w = idle_watts(meter)
with meter.span() as span:
    ...  # the worker runs, in its own process
energy(meter, span, (timed_begin_ns, timed_end_ns), queries, idle_w)
"""

from agent.measure.energy.meter import EnergyMeter, Span, energy, find_meter, idle_watts

__all__ = ["EnergyMeter", "Span", "energy", "find_meter", "idle_watts"]
