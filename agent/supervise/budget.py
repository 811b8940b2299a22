"""Metrics that fit: at most so many bytes for a workload and interval, however much was counted.

Decides: what loses resolution first (inputs, then phases, then latencies), and where names end. Leaves out: counting.
Every step keeps counts, sums, smallest and largest values; only quantiles become coarser, and rare names go together
into `other`. `reduced` in the message says how many steps were taken.

    fit(lambda resolution: fields, 2048)
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from wire.base import encode
from wire.telemetry import MOST_BYTES, OTHER, WorkloadMetrics


@dataclass(frozen=True)
class Resolution:
    """How finely one message is told: buckets of sketches, names in mappings, characters of a name."""

    latency: int
    """Buckets of `latency_ms` and `total_ms`."""
    phases: int
    """Buckets of the other times."""
    inputs: int
    """Buckets of each input, and of predicted values."""
    features: int
    """Inputs that are told."""
    labels: int
    reasons: int
    name: int
    """Characters of a label or reason."""


LADDER = (
    Resolution(latency=64, phases=32, inputs=28, features=8, labels=16, reasons=16, name=64),
    Resolution(latency=64, phases=16, inputs=28, features=8, labels=16, reasons=12, name=64),
    Resolution(latency=64, phases=16, inputs=16, features=8, labels=16, reasons=12, name=48),
    Resolution(latency=48, phases=12, inputs=16, features=8, labels=16, reasons=8, name=32),
    Resolution(latency=32, phases=8, inputs=16, features=8, labels=12, reasons=8, name=32),
    Resolution(latency=24, phases=8, inputs=12, features=8, labels=8, reasons=6, name=32),
    Resolution(latency=16, phases=8, inputs=8, features=8, labels=8, reasons=4, name=24),
    Resolution(latency=16, phases=4, inputs=6, features=6, labels=4, reasons=3, name=24),
    Resolution(latency=8, phases=2, inputs=4, features=2, labels=2, reasons=2, name=16),
    Resolution(latency=4, phases=0, inputs=0, features=0, labels=0, reasons=0, name=16),
)
"""From the finest down. Less than the last is never told; it stays far below the budget."""


def fit(told: Callable[[Resolution], Mapping[str, Any]], most_bytes: int = MOST_BYTES) -> WorkloadMetrics:
    """Return the message at the finest resolution at which it has at most `most_bytes` as JSON.

    Args:
        told: Resolution -> the message's fields.
        most_bytes: Below the size of the coarsest message, that one is returned all the same.
    """
    for step, resolution in enumerate(LADDER):
        fields = dict(told(resolution))
        metrics = WorkloadMetrics.model_validate({**fields, "reduced": step} if step else fields)
        if len(encode(metrics)) <= most_bytes:
            break
    return metrics


def named(counts: Mapping[str, int], most: int, longest: int) -> dict[str, int]:
    """Return the `most` largest counts, names cut to `longest` characters, and the rest together as `other`."""
    told: dict[str, int] = {}
    ranked = sorted(counts, key=lambda name: (name == OTHER, -counts[name], name))
    for place, name in enumerate(ranked):
        shown = name[:longest] if place < most and name != OTHER else OTHER
        told[shown] = told.get(shown, 0) + counts[name]
    return told
