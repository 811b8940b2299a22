"""One bundle, one bundle at several thread counts and batches, or two bundles against each other.

Decides: which requests are measured together. Leaves out: the measuring itself (`agent/measure/`), and how records are
shown (`rows.py`, `comparing.py`, `points.py`).
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import agent
from agent.bench.folders import open_bundle, open_set
from agent.errors import BadBundle, ConfigurationError
from agent.measure.queue import MeasureContext, measure_group
from agent.measure.record import Interleaving
from wire.artifact import ArtifactRef
from wire.sweep import sweep
from wire.trial import Grade, Scenario, ScenarioSettings, TrialRecord, TrialRequest

GROUP = "bench"
LOCAL = MeasureContext(fleet="bench", device="local", agent_version=getattr(agent, "__version__", "source"))
"""Where and how, where no configuration says it."""


@dataclass(frozen=True)
class BenchOptions:
    """How to measure. `evaluation` is the folder of an evaluation set to answer as well.

    `interleaving`: how the two bundles of `bench_pair` take turns; what is no single stream goes process by process.

    `context`: the device's own way to measure: threads, memory cap, cores, kernels, lock. `sweep_threads` and
    `sweep_batches` are the points of `bench_points`; the context's threads hold where there are none.
    """

    grade: Grade = "normal"
    scenario: Scenario = "single_stream"
    settings: ScenarioSettings = field(default_factory=ScenarioSettings)
    sweep_threads: tuple[int, ...] = ()
    sweep_batches: tuple[int, ...] = ()
    profile: bool = False
    interleaving: Interleaving = "lock-step"
    evaluation: Path | None = None
    context: MeasureContext = LOCAL
    progress: Callable[[str, Mapping[str, Any]], None] | None = None


def bench(folder: Path, options: BenchOptions, cancel: threading.Event | None = None) -> TrialRecord:
    """Measure the bundle in `folder` and return its record.

    Args:
        folder: Of a bundle.
        options: How.
        cancel: Ends it; what was measured until then stands in a record whose outcome is `failed`.
    Raises:
        NotFound: No bundle there.
        BadBundle: Bundle or evaluation set is not what its manifest says, or `cancel` was set before a process began.
    """
    return _measured([_request(folder, "bench", options)], [folder], options, cancel)[0]


def bench_points(folder: Path, options: BenchOptions, cancel: threading.Event | None = None) -> list[TrialRecord]:
    """Measure the bundle at every point of the sweep, all of them interleaved; a record for each.

    Raises:
        NotFound, BadBundle: As `bench`.
        ConfigurationError: Points that the scenario does not have.
    """
    request = _request(folder, "bench", options)
    try:
        points = sweep(request, options.sweep_threads, options.sweep_batches)
    except ValueError as exc:
        raise ConfigurationError(str(exc)) from exc
    return _measured(points, [folder] * len(points), options, cancel)


def bench_pair(
    folder: Path, other: Path, options: BenchOptions, cancel: threading.Event | None = None
) -> tuple[TrialRecord, TrialRecord]:
    """Measure two bundles in turns, so that neither is favoured by what the machine does; a record of each.

    In lock-step where that can be, else process by process (ABBA): the records say which.

    Raises:
        NotFound, BadBundle: As `bench`, for either.
    """
    ours = _request(folder, "bench", options)
    # As the control, the reference goes on with the bundle and the bundle with it: both have as many processes.
    theirs = _request(other, "other", options).model_copy(update={"control": True})
    interleaving = options.interleaving if options.scenario == "single_stream" else "processes"
    chosen = replace(options, context=replace(options.context, interleaving=interleaving))
    records = _measured([theirs, ours], [other, folder], chosen, cancel)
    return records[1], records[0]


def _measured(
    requests: Sequence[TrialRequest], folders: Sequence[Path], options: BenchOptions, cancel: threading.Event | None
) -> list[TrialRecord]:
    """Measure what the requests ask for; the bundle of each lies in the folder at its place."""
    bundles = {request.bundle.digest: folder for request, folder in zip(requests, folders, strict=True)}
    sets = {request.evaluation.digest: options.evaluation for request in requests if request.evaluation is not None}
    found = {digest: folder for digest, folder in sets.items() if folder is not None}
    if options.progress is not None:
        options.progress("begin", {})
    context = replace(options.context, progress=options.progress, keeps_interrupted=True)
    records = list(measure_group(requests, bundles, found, context, cancel or threading.Event()))
    if len(records) < len(requests):
        listed = ", ".join(sorted({str(folder) for folder in folders}))
        raise BadBundle(f"measuring {listed} was cancelled before it began: there is no record")
    return records


def _request(folder: Path, trial: str, options: BenchOptions) -> TrialRequest:
    digest, manifest = open_bundle(folder)
    return TrialRequest(
        trial=trial,
        workload="main",
        bundle=_reference(digest, sum(file.size_bytes for file in manifest.files)),
        variant=manifest.variant,
        format=manifest.format,
        engine=manifest.engine,
        evaluation=_set_reference(options.evaluation),
        scenario=options.scenario,
        settings=options.settings,
        grade=options.grade,
        profile=options.profile,
        group=GROUP,
    )


def _set_reference(folder: Path | None) -> ArtifactRef | None:
    """Name the evaluation set by its own digest, which need not be the one that the bundle was made for."""
    return None if folder is None else _reference(open_set(folder)[0], 1)


def _reference(digest: str, size_bytes: int) -> ArtifactRef:
    """Name a folder that lies here already: nothing of this is ever fetched."""
    return ArtifactRef(digest=digest, index=(digest,), index_bytes=1, size_bytes=max(1, size_bytes), wire_bytes=1)
