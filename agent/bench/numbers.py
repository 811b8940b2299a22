"""The numbers of a record that people compare: which samples they are of, and when they are not given.

Decides: what a process's time per query is in each scenario, and whether percentiles of single queries are known. Pure.
"""

from agent.measure.record import counted, process_medians
from wire.statistics import fewest_samples, log_interval, percentile, percentile_bounds, sustained
from wire.trial import TrialRecord

BOUND_CONFIDENCE = 0.95
"""Of each bound of a percentile by itself, as the controller has it."""

RISEN = frozenset({"drift", "drift_short"})
"""Flags of a process that got slower while it was timed."""


def query_times_ns(record: TrialRecord) -> list[float]:
    """Return the time of one query for each process that counts [ns].

    Its median latency; `offline`, where queries are answered in batches: the inverse of queries per second.
    """
    if record.scenario != "offline":
        return process_medians(record.replicates)
    rates = [replicate.queries_per_second for replicate in counted(record.replicates)]
    return [1e9 / rate for rate in rates if rate]


def rates(record: TrialRecord) -> list[float]:
    """Return the queries per second of each process that counts and has them."""
    found = [replicate.queries_per_second for replicate in counted(record.replicates)]
    return [rate for rate in found if rate]


def samples_ns(record: TrialRecord) -> list[int]:
    """Return as many timed samples of each process that counts, its last ones [ns].

    A fast process answers more queries in its time, and must not speak louder for the tail.
    """
    each = [replicate.total_ns.unpack() for replicate in counted(record.replicates)]
    share = min(map(len, each), default=0)
    return [value for samples in each for value in samples[len(samples) - share :]]


def sustained_ns(record: TrialRecord) -> float | None:
    """Return the latency at the end of the timed loops, where a process got slower in its loop [ns]; else None."""
    processes = counted(record.replicates)
    if record.scenario == "offline" or RISEN.isdisjoint(flag for process in processes for flag in process.flags):
        return None
    return sustained([process.total_ns.unpack() for process in processes])


def has_single_samples(record: TrialRecord) -> bool:
    """Return whether a sample is one call, and not the mean of several: else nothing is known of the tail."""
    return all(replicate.conditions.get("calls_per_sample", 1) == 1 for replicate in counted(record.replicates))


def median_text(medians: list[float]) -> str:
    """Return the median latency over processes in milliseconds: their geometric mean, with its interval."""
    if len(medians) < 2:
        return f"{medians[0] / 1e6:.4f} ms (one process: no interval)"
    middle, lower, upper = (value / 1e6 for value in log_interval(medians))
    return f"{middle:.4f} ms ({lower:.4f} to {upper:.4f} over {len(medians)} processes)"


def percentile_text(samples: list[int], fraction: float) -> str:
    """Return a percentile with its bounds in milliseconds, or why it is not given."""
    if len(samples) < fewest_samples(fraction, BOUND_CONFIDENCE):
        return f"not given: needs {fewest_samples(fraction, BOUND_CONFIDENCE)} samples"
    bounds = percentile_bounds(samples, fraction, 2 * BOUND_CONFIDENCE - 1)
    text = f"{percentile(samples, fraction) / 1e6:.4f} ms"
    return text if bounds is None else f"{text} ({bounds[0] / 1e6:.4f} to {bounds[1] / 1e6:.4f})"


def is_void(record: TrialRecord) -> bool:
    """Return whether the record's speed must not be used."""
    if record.validity is not None and not record.validity.valid:
        return True
    return any(flag.void for flag in record.flags)
