"""Measure one bundle's folder, outside of any controller: what `agent bench BUNDLE_DIR` does.

Decides: how a record is shown to people. Leaves out: the measuring itself (`agent/measure/`). Light: no numpy.

    record = bench(Path("bundle"), BenchOptions(grade="quick"))
    print(table(record))
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import agent
from agent.errors import BadBundle
from agent.inference.bundle import Bundle
from agent.measure import protocol
from agent.measure.queue import MeasureContext, measure_group
from agent.measure.record import counted, process_medians
from wire.artifact import ArtifactRef
from wire.manifest import manifest_digest
from wire.trial import Grade, Phases, TrialRecord, TrialRequest

PERCENTILES = (0.5, 0.95, 0.99)


@dataclass(frozen=True)
class BenchOptions:
    """How to measure. `evaluation` is the folder of an evaluation set to answer as well."""

    grade: Grade = "normal"
    threads: int = 1
    affinity: tuple[int, ...] | None = None
    memory_cap_bytes: int | None = None
    cache_dir: Path | None = None
    lock_path: Path | None = None
    evaluation: Path | None = None
    progress: Callable[[str, Mapping[str, Any]], None] | None = None


def bench(folder: Path, options: BenchOptions, cancel: threading.Event | None = None) -> TrialRecord:
    """Measure the bundle in `folder` and return its record.

    Raises:
        NotFound: No bundle there.
        BadBundle: Its manifest is none, or the measurement was cancelled before it had a record.
    """
    manifest = Bundle.open(folder).manifest
    digest = manifest_digest(manifest)
    evaluation = None if options.evaluation is None else _reference(manifest.evaluation or digest, 1)
    request = TrialRequest(
        trial="bench",
        workload="main",
        bundle=_reference(digest, sum(file.size_bytes for file in manifest.files)),
        variant=manifest.variant,
        format=manifest.format,
        engine=manifest.engine,
        evaluation=evaluation,
        grade=options.grade,
    )
    sets = {} if evaluation is None or options.evaluation is None else {evaluation.digest: options.evaluation}
    records = measure_group([request], {digest: folder}, sets, _context(options), cancel or threading.Event())
    for record in records:
        return record
    raise BadBundle(f"measuring {folder} was cancelled: there is no record")


def _context(options: BenchOptions) -> MeasureContext:
    return MeasureContext(
        fleet="bench",
        device="local",
        agent_version=getattr(agent, "__version__", "source"),
        threads=options.threads,
        affinity=options.affinity,
        memory_cap_bytes=options.memory_cap_bytes,
        cache_dir=options.cache_dir,
        lock_path=options.lock_path,
        progress=options.progress,
    )


def _reference(digest: str, size_bytes: int) -> ArtifactRef:
    """Name a folder that lies here already: nothing of this is ever fetched."""
    return ArtifactRef(digest=digest, index=(digest,), index_bytes=1, size_bytes=max(1, size_bytes), wire_bytes=1)


def table(record: TrialRecord) -> str:
    """Return the record as plain text, conditions included."""
    rows = [
        ("variant", f"{record.variant} ({record.engine} {record.engine_version}, {record.threads} thread(s))"),
        ("outcome", f"{record.outcome}{': ' + record.error if record.error else ''}"),
        *_latency_rows(record),
        *_phase_rows(record),
        *_memory_rows(record),
        *_golden_rows(record),
        *_condition_rows(record),
        *((f"flag {flag.reason}", flag.remedy + (" (voids the speed)" if flag.void else "")) for flag in record.flags),
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {text}" for name, text in rows)


def _latency_rows(record: TrialRecord) -> list[tuple[str, str]]:
    if not record.replicates:
        return []
    processes = counted(record.replicates)
    samples = [value for replicate in processes for value in replicate.total_ns.unpack()]
    medians = process_medians(record.replicates)
    rows = [("grade", f"{record.grade}: {len(medians)} processes, {len(samples)} samples")]
    single_calls = all(replicate.conditions["calls_per_sample"] == 1 for replicate in processes)
    for fraction in PERCENTILES if single_calls else PERCENTILES[:1]:
        rows.append((f"p{fraction * 100:g}", _percentile_text(samples, fraction)))
    if len(medians) > 1:
        middle, lower, upper = protocol.log_interval(medians)
        text = f"{middle / 1e6:.4f} ms, 95 % interval {lower / 1e6:.4f} to {upper / 1e6:.4f} ms"
        rows.append(("process medians", text))
    return rows


def _percentile_text(samples: list[int], fraction: float) -> str:
    if len(samples) < protocol.fewest_samples(fraction):
        return f"not given: needs {protocol.fewest_samples(fraction)} samples"
    bounds = protocol.percentile_bounds(samples, fraction)
    text = f"{protocol.percentile(samples, fraction) / 1e6:.4f} ms"
    return text if bounds is None else f"{text} ({bounds[0] / 1e6:.4f} to {bounds[1] / 1e6:.4f})"


def _phase_rows(record: TrialRecord) -> list[tuple[str, str]]:
    if not record.replicates:
        return []
    phases = record.replicates[-1].phases
    names = [name for name in Phases.model_fields if name.endswith("_ms")]
    found = [(name.removesuffix("_ms"), getattr(phases, name)) for name in names]
    text = ", ".join(f"{name} {value:.1f} ms" for name, value in found if value is not None)
    return [("phases", f"{text}; kernels: {phases.kernels}")]


def _memory_rows(record: TrialRecord) -> list[tuple[str, str]]:
    if record.memory is None:
        return []
    used = record.memory
    sizes = (used.baseline_bytes, used.loaded_bytes, used.peak_bytes)
    baseline, loaded, peak = (f"{size / 2**20:.1f} MiB" for size in sizes)
    return [("memory", f"peak {peak}, loaded {loaded}, before {baseline} ({used.by})")]


def _golden_rows(record: TrialRecord) -> list[tuple[str, str]]:
    if record.golden is None:
        return []
    verdict = "passed" if record.golden.passed else "FAILED"
    return [("golden outputs", f"{verdict}, {record.golden.samples} samples: {record.golden.detail}")]


def _condition_rows(record: TrialRecord) -> list[tuple[str, str]]:
    found = record.conditions
    before = found.get("before", {})
    moment = {name: before.get(name) for name in ("governor", "temperatures_celsius", "psi_cpu_some_avg10", "load_1m")}
    text = ", ".join(f"{name} {value}" for name, value in moment.items() if value is not None)
    return [
        ("processor", f"{found.get('cpu_model')} ({found.get('machine')}), kernel {found.get('kernel')}"),
        ("before", text or "no readings"),
    ]
