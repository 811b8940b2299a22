"""A record as plain text for people, conditions and doubts included.

Decides: what is shown, and in which words. Leaves out: what the numbers are (`numbers.py`).
"""

import statistics
from collections.abc import Sequence
from typing import Any

from agent.bench.numbers import (
    has_single_samples,
    is_void,
    median_text,
    percentile_text,
    rates,
    samples_ns,
    sustained_ns,
)
from agent.measure.record import counted, process_medians
from wire.statistics import log_interval
from wire.trial import Phases, Profile, TrialRecord

Row = tuple[str, str]

TAILS = (0.95, 0.99)
MOST_OPERATORS = 8
MIB = 2**20

MOMENT = (
    "governor",
    "frequency_khz",
    "temperatures_celsius",
    "throttled_bits",
    "throttled_by",
    "power_source",
    "psi_cpu_some_avg10",
    "psi_memory_some_avg10",
    "load_1m",
)
"""Readings of one moment that are worth a line; what a device does not offer is left out."""

FIXED = (
    "board",
    "cores",
    "affinity",
    "power_mode",
    "cpu_quota_cores",
    "container",
    "virtualisation",
    "worker_affinity",
    "memory_cap_bytes",
    "memory_cap_by",
    "preflight_waited_s",
)
"""Conditions that hold for all of a trial."""


EMULATED = "this device's limits are imposed by configuration, the processor is the host's"


def table(record: TrialRecord) -> str:
    """Return the record as plain text, conditions included."""
    return aligned(
        [
            ("variant", f"{record.variant} ({engine_text(record)}, {record.threads} thread(s))"),
            *([("emulated", EMULATED)] if record.emulated else []),
            ("outcome", f"{record.outcome}{': ' + record.error if record.error else ''}"),
            ("validity", validity_text(record)),
            *_latency_rows(record),
            *_rate_rows(record),
            *_phase_rows(record),
            *_load_rows(record),
            *_memory_rows(record),
            *_energy_rows(record),
            *_golden_rows(record),
            *_answer_rows(record),
            *_profile_rows(record),
            *_condition_rows(record),
            *flag_rows(record),
        ]
    )


def engine_text(record: TrialRecord) -> str:
    """Return the engine with its version, which is not known where it could not be loaded."""
    return f"{record.engine} {record.engine_version}".strip()


def aligned(rows: Sequence[Row]) -> str:
    """Return rows of a name and a text, the texts one below the other."""
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {text}".rstrip() for name, text in rows)


def validity_text(record: TrialRecord) -> str:
    """Return whether the speed may be used, and the reasons against it."""
    if record.outcome != "measured":
        return "no speed"
    if not is_void(record):
        return "valid"
    reasons = record.validity.reasons if record.validity is not None else ()
    listed = ", ".join(reasons or [flag.reason for flag in record.flags if flag.void])
    return f"NOT VALID: {listed} (what to do stands below)"


def flag_rows(record: TrialRecord) -> list[Row]:
    """Return each reason to doubt the numbers, with what to do about it."""
    return [(f"flag {flag.reason}", flag.remedy + (" (voids the speed)" if flag.void else "")) for flag in record.flags]


def scenario_text(record: TrialRecord) -> str:
    """Return how queries came."""
    chosen = record.settings
    rate = "half of what the device could answer" if chosen.rate_hz is None else f"{chosen.rate_hz:g} a second"
    said = {
        "single_stream": "one query after the other",
        "multi_stream": f"{chosen.streams} queries at once; latencies are of all of them together",
        "offline": f"batches of {chosen.batch}, one after the other; latencies are of a batch",
        "server": f"Poisson arrivals, {rate}; latencies are from the arrival",
        "paced": f"one query every {chosen.period_ms:g} ms; latencies are from when it was due",
    }
    return f"{record.scenario}: {said[record.scenario]}"


def _latency_rows(record: TrialRecord) -> list[Row]:
    if not record.replicates:
        return []
    medians = process_medians(record.replicates)
    count = sum(replicate.total_ns.count for replicate in counted(record.replicates))
    rows = [
        ("scenario", scenario_text(record)),
        ("grade", f"{record.grade}: {len(medians)} processes, {count} samples"),
    ]
    if not medians:
        return rows
    rows.append(("p50", median_text(medians)))
    samples = samples_ns(record) if has_single_samples(record) else []
    rows += [(f"p{fraction * 100:g}", percentile_text(samples, fraction)) for fraction in TAILS if samples]
    rows.append(("process medians", ", ".join(f"{value / 1e6:.4f}" for value in medians) + " ms"))
    lasting = sustained_ns(record)
    return rows if lasting is None else [*rows, ("sustained", f"{lasting / 1e6:.4f} ms at the end of the timed loops")]


def _rate_rows(record: TrialRecord) -> list[Row]:
    rows, found = [], rates(record)
    if found:
        rows.append(("queries per second", f"{statistics.geometric_mean(found):.1f}{_interval_text(found)}"))
    waits = [
        value for replicate in counted(record.replicates) if replicate.wait_ns for value in replicate.wait_ns.unpack()
    ]
    if waits:
        rows.append(
            ("of which waiting", f"median {statistics.median(waits) / 1e6:.4f} ms, most {max(waits) / 1e6:.4f} ms")
        )
    over = [value.over_bound_ratio for value in counted(record.replicates) if value.over_bound_ratio is not None]
    if over and record.settings.bound_ms is not None:
        rows.append(("later than bound", f"{100 * statistics.fmean(over):.2f} % over {record.settings.bound_ms:g} ms"))
    return rows


def _interval_text(values: Sequence[float]) -> str:
    if len(values) < 2:
        return ""
    _, lower, upper = log_interval(values)
    return f", 95 % interval {lower:.1f} to {upper:.1f}"


def _phase_rows(record: TrialRecord) -> list[Row]:
    if not record.replicates:
        return []
    phases = record.replicates[-1].phases
    counts = "" if phases.cache_hits is None else f" ({phases.cache_hits} ready, {phases.cache_misses or 0} compiled)"
    return [("phases", f"{_phases_text([phases])}; kernels: {phases.kernels}{counts}")]


def _load_rows(record: TrialRecord) -> list[Row]:
    loads = (("cold start", record.cold_loads), ("warm start", record.warm_loads))
    return [(name, f"{_phases_text(found)} (median of {len(found)})") for name, found in loads if found]


def _phases_text(found: Sequence[Phases]) -> str:
    """Return the median of each phase that took place."""
    texts = []
    for name in (name for name in Phases.model_fields if name.endswith("_ms")):
        values = [value for value in (getattr(phases, name) for phases in found) if value is not None]
        if values:
            texts.append(f"{name.removesuffix('_ms')} {statistics.median(values):.1f} ms")
    return ", ".join(texts)


def _memory_rows(record: TrialRecord) -> list[Row]:
    if record.memory is None:
        return []
    used = record.memory
    sizes = (used.baseline_bytes, used.loaded_bytes, used.peak_bytes)
    baseline, loaded, peak = (f"{size / MIB:.1f} MiB" for size in sizes)
    kinds = ((used.anonymous_bytes, "that cannot be dropped"), (used.file_bytes, "of files"))
    split = "".join(f", {size / MIB:.1f} MiB {what}" for size, what in kinds if size is not None)
    return [("memory", f"peak {peak}, loaded {loaded}, before {baseline}{split} ({used.by})")]


def _energy_rows(record: TrialRecord) -> list[Row]:
    if record.energy is None:
        return [("energy", "no sensor that the agent can read")] if record.outcome == "measured" else []
    used = record.energy
    mean = f"{used.mean_w:.2f} W, idle {used.idle_w:.2f} W, over {used.seconds:.0f} s and {used.queries} queries"
    return [("energy", f"{1000 * used.joules_per_query:.4g} mJ a query above idle ({mean}; {used.source})")]


def _golden_rows(record: TrialRecord) -> list[Row]:
    if record.golden is None:
        return []
    verdict = "passed" if record.golden.passed else "FAILED"
    return [("golden outputs", f"{verdict}, {record.golden.samples} samples: {record.golden.detail}")]


def _answer_rows(record: TrialRecord) -> list[Row]:
    if record.predictions is None:
        return []
    found = record.predictions
    said = f"{found.samples} on the evaluation set {found.evaluation[:12]}; the labels are the controller's"
    return [("answers", said)]


def _profile_rows(record: TrialRecord) -> list[Row]:
    if record.profile is not None:
        return profile_rows(record.profile)
    why = record.conditions.get("profile_error")
    return [] if why is None else [("operators", f"not profiled: {why}")]


def profile_rows(profile: Profile) -> list[Row]:
    """Return the dearest operator types, and what profiling itself cost."""
    cost = "" if profile.overhead_ratio is None else f"; profiling cost {100 * profile.overhead_ratio:+.0f} %"
    rows = [("operators", f"of {profile.queries} queries{cost}; {profile.note}")]
    for place, one in enumerate(profile.operators[:MOST_OPERATORS]):
        calls = f"{one.calls} call{'s' if one.calls != 1 else ''}"
        share = f"{100 * one.share_ratio:5.1f} %  {one.total_ns / 1e6:9.4f} ms"
        rows.append((f"  {place + 1}.", f"{share}  {one.operator} ({calls})"))
    rest = profile.operators[MOST_OPERATORS:]
    if rest:
        rows.append(("  rest", f"{100 * sum(one.share_ratio for one in rest):5.1f} %  {len(rest)} more operator types"))
    return rows


def _condition_rows(record: TrialRecord) -> list[Row]:
    found = record.conditions
    processor = f"{found.get('cpu_model')} ({found.get('machine')}), kernel {found.get('kernel')}"
    fixed = ", ".join(f"{name} {found[name]}" for name in FIXED if found.get(name) is not None)
    moments = [(name, moment_text(found.get(name, {}))) for name in ("before", "after")]
    return [("processor", processor), *([("held", fixed)] if fixed else []), *moments]


def moment_text(readings: dict[str, Any]) -> str:
    """Return the readings of one moment that a device offers."""
    known = {name: readings.get(name) for name in MOMENT}
    return ", ".join(f"{name} {value}" for name, value in known.items() if value is not None) or "no readings"
