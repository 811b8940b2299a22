"""The numbers of a record that people compare: which samples they are of, and when they are not given.

Decides: what a process's time per query is in each scenario, and whether percentiles of single queries are known. Pure.
"""

from agent.measure.record import counted, process_medians
from wire.statistics import fewest_samples, percentile, percentile_bounds
from wire.trial import TrialRecord


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
    """Return every timed sample of the processes that count [ns]."""
    return [value for replicate in counted(record.replicates) for value in replicate.total_ns.unpack()]


def has_single_samples(record: TrialRecord) -> bool:
    """Return whether a sample is one call, and not the mean of several: else nothing is known of the tail."""
    return all(replicate.conditions.get("calls_per_sample", 1) == 1 for replicate in counted(record.replicates))


def percentile_text(samples: list[int], fraction: float) -> str:
    """Return a percentile with its bounds in milliseconds, or why it is not given."""
    if len(samples) < fewest_samples(fraction):
        return f"not given: needs {fewest_samples(fraction)} samples"
    bounds = percentile_bounds(samples, fraction)
    text = f"{percentile(samples, fraction) / 1e6:.4f} ms"
    return text if bounds is None else f"{text} ({bounds[0] / 1e6:.4f} to {bounds[1] / 1e6:.4f})"


def is_void(record: TrialRecord) -> bool:
    """Return whether the record's speed must not be used."""
    if record.validity is not None and not record.validity.valid:
        return True
    return any(flag.void for flag in record.flags)
