"""What `model probe` does: make variants, run them on emulated processors, and tell which of those are there."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from numpy.typing import NDArray

from controller.cli.progress import make_progress
from controller.compress.build import build_wanted
from controller.compress.cache import PassCache
from controller.compress.probe.emulated import Machine
from controller.compress.probe.emulator import find
from controller.compress.probe.processors import PROCESSORS, Processor
from controller.compress.probe.programs import programs_of
from controller.compress.probe.root import places
from controller.compress.probe.verdicts import Bench, Check, check, probed
from controller.compress.variant import FailedVariant, Variant, Wanted
from controller.deploy.progress import Progress, of_builds
from controller.errors import EmulatorMissing, ProbeRootMissing, UnusableData
from controller.models.folder import ModelFolder
from controller.models.samples import calibration_samples, evaluation_samples, stratified_rows
from controller.workspace import Workspace


@dataclass(frozen=True)
class Probed:
    """All that was found. rows: verdicts, as JSON types. source: of the samples, `evaluation` or `calibration`."""

    rows: list[dict[str, Any]]
    checks: list[Check]
    samples: int
    source: str

    def document(self) -> dict[str, Any]:
        """Return it as JSON types."""
        checks = [asdict(each) for each in self.checks]
        return {"samples": self.samples, "samples_are": self.source, "checks": checks, "verdicts": self.rows}


def probe_model(
    model: ModelFolder,
    wanted: Sequence[Wanted],
    machines: Sequence[Machine],
    workspace: Workspace,
    *,
    samples: int = 128,
    aside: bool = False,
) -> Probed:
    """Make variants and say what they answer on each emulated processor.

    Args:
        model: Of which variants are made.
        wanted: What is made.
        machines: Processors, each with its emulator and its programs.
        workspace: Whose cache keeps the results.
        samples: How many are answered, at most.
        aside: Progress goes to stderr.
    Raises:
        UnusableModel: The model's samples cannot be used, or the baseline does not run here.
    """
    queries, source = probe_queries(model, workspace, samples)
    bench = Bench(model, queries, PassCache(workspace.cache))
    rows: list[dict[str, Any]] = []
    checks: list[Check] = []
    with make_progress(aside=aside) as progress:
        variants = _made(wanted, bench, workspace, progress)
        formats = sorted({each.format for each in variants})
        for machine in machines:
            name = machine.processor.name
            progress.stage(f"check {name}", len(formats))
            found = []
            for form in formats:
                found.append(check(machine, form, bench))
                progress.advance(found[-1].told)
            progress.stage(f"emulate {name}", len(variants))
            rows += [each.document() for each in probed(variants, machine, found, bench, progress.advance)]
            checks += found
    return Probed(rows, checks, len(queries), source)


def probe_queries(model: ModelFolder, workspace: Workspace, count: int) -> tuple[NDArray[Any], str]:
    """Return raw queries of all classes alike, and which samples they are: those of evaluation where there are any.

    Raises:
        UnusableData: The model has no samples.
    """
    try:
        known = evaluation_samples(model, workspace.datasets)
    except UnusableData:  # no labels, which are not needed here; what is wrong otherwise is told of these too
        return calibration_samples(model, workspace.datasets, count), "calibration"
    return known.inputs[stratified_rows(known.labels, known.kind, count)], "evaluation"


def _made(
    wanted: Sequence[Wanted], bench: Bench, workspace: Workspace, progress: Progress
) -> list[Variant | FailedVariant]:
    progress.stage("compressing", len(wanted))
    told, calibration = of_builds(progress), calibration_samples(bench.model, workspace.datasets)
    return build_wanted(bench.model, wanted, calibration, bench.cache, told, datasets=workspace.datasets)


def status() -> dict[str, Any]:
    """Return which processors can be probed here, and the state of the root, as JSON types."""
    return {"processors": [_row(each) for each in PROCESSORS.values()], "root": places.status()}


def _row(processor: Processor) -> dict[str, Any]:
    """Return a processor with its emulator; `fault` says why it cannot be probed, null: it can."""
    row: dict[str, Any] = {"cpu": processor.name, "title": processor.title, "emulator": None, "fault": None}
    try:
        emulator = find(processor)
        row["emulator"] = f"{emulator.program} {emulator.version}"
        programs_of(processor)
    except (EmulatorMissing, ProbeRootMissing) as exc:
        row["fault"] = str(exc)
    return row
