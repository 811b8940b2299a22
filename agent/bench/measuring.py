"""One bundle, one bundle at several thread counts and batches, or two bundles against each other.

Decides: which requests are measured together. Leaves out: the measuring itself (`agent/measure/`), and how records are
shown (`rows.py`, `comparing.py`, `points.py`).
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import agent
from agent.errors import BadBundle, ConfigurationError
from agent.inference.bundle import Bundle
from agent.measure.queue import MeasureContext, measure_group
from wire.artifact import ArtifactRef
from wire.manifest import manifest_digest
from wire.sweep import sweep
from wire.trial import Grade, Scenario, ScenarioSettings, TrialRecord, TrialRequest

GROUP = "bench"


@dataclass(frozen=True)
class BenchOptions:
    """How to measure. `evaluation` is the folder of an evaluation set to answer as well.

    `sweep_threads` and `sweep_batches` are the points of `bench_points`; `threads` holds where there are none.
    """

    grade: Grade = "normal"
    scenario: Scenario = "single_stream"
    settings: ScenarioSettings = field(default_factory=ScenarioSettings)
    threads: int = 1
    sweep_threads: tuple[int, ...] = ()
    sweep_batches: tuple[int, ...] = ()
    profile: bool = False
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
    return _measured([_request(folder, "bench", options)], {folder}, options, cancel)[0]


def bench_points(folder: Path, options: BenchOptions, cancel: threading.Event | None = None) -> list[TrialRecord]:
    """Measure the bundle at every point of the sweep, all of them interleaved; a record for each.

    Raises:
        NotFound, BadBundle: As `bench`.
        ConfigurationError: Points that the scenario does not have.
    """
    try:
        points = sweep(_request(folder, "bench", options), options.sweep_threads, options.sweep_batches)
    except ValueError as exc:
        raise ConfigurationError(str(exc)) from exc
    return _measured(points, {folder}, options, cancel)


def bench_pair(
    folder: Path, other: Path, options: BenchOptions, cancel: threading.Event | None = None
) -> tuple[TrialRecord, TrialRecord]:
    """Measure two bundles interleaved (ABBA), so that a drift of the machine favours neither; a record of each.

    Raises:
        NotFound, BadBundle: As `bench`, for either.
    """
    # The reference goes on as long as the bundle does: a comparison needs as many processes of both.
    reference = _request(other, "other", options).model_copy(update={"control": True})
    records = _measured([reference, _request(folder, "bench", options)], {folder, other}, options, cancel)
    return records[1], records[0]


def _measured(
    requests: Sequence[TrialRequest], folders: set[Path], options: BenchOptions, cancel: threading.Event | None
) -> list[TrialRecord]:
    bundles = {manifest_digest(Bundle.open(folder).manifest): folder for folder in folders}
    sets = {request.evaluation.digest: options.evaluation for request in requests if request.evaluation is not None}
    found = {digest: folder for digest, folder in sets.items() if folder is not None}
    if options.progress is not None:
        options.progress("begin", {})
    records = list(measure_group(requests, bundles, found, _context(options), cancel or threading.Event()))
    if len(records) < len(requests):
        listed = ", ".join(sorted(str(folder) for folder in folders))
        raise BadBundle(f"measuring {listed} was cancelled: there is no record")
    return records


def _request(folder: Path, trial: str, options: BenchOptions) -> TrialRequest:
    manifest = Bundle.open(folder).manifest
    digest = manifest_digest(manifest)
    return TrialRequest(
        trial=trial,
        workload="main",
        bundle=_reference(digest, sum(file.size_bytes for file in manifest.files)),
        variant=manifest.variant,
        format=manifest.format,
        engine=manifest.engine,
        evaluation=None if options.evaluation is None else _reference(manifest.evaluation or digest, 1),
        scenario=options.scenario,
        settings=options.settings,
        grade=options.grade,
        profile=options.profile,
        group=GROUP,
    )


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
