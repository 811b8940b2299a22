"""The course of a run: every cell is made, run and judged; then all that ran is timed together, model by model.

Decides: that the times of one model's cells are taken in rounds, a fresh process of each in turn and every second round
the other way about, so that a busy spell meets all of them. Leaves out: how each step is done.
"""

import os
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.engine_parts.cells import COREML_NOTE, TENSORRT_NOTE, Cell, Row, every_cell
from benchmarks.engine_parts.finished import Finished
from benchmarks.engine_parts.interpreters import Devices
from benchmarks.engine_parts.making import File, NotMade, Workshop, made, plain, way
from benchmarks.engine_parts.running import (
    ON_PROCESSOR,
    Answered,
    Reference,
    Timing,
    answered,
    answered_before,
    reference,
    timed,
    write_bundle,
)
from benchmarks.engine_parts.subjects import Subject
from controller.compress.variant import ENGINE_OF
from controller.convert.making.judge import BY_CONVERTER, ON_CPU
from controller.errors import ControllerError
from controller.models.folder import ModelFolder

NO_CAVEATS = (ON_CPU, BY_CONVERTER.partition("{")[0], "calibrated on")
"""How notes begin that are no caveat: this benchmark has run the file on its engine itself, or they tell the usual."""

VARIED = "leaf_outline"
OPTIONS: dict[str, tuple[dict[str, Any], ...]] = {
    "onnxruntime": ({"graph_optimization": "disabled"}, {"spinning": False}),
    "litert": ({"xnnpack": False},),
}
"""Engine -> options that are timed beside the defaults, on one model, in a run that is not quick."""


@dataclass(frozen=True)
class Ground:
    """What a run works with. rounds: processes a cell."""

    workshop: Workshop
    devices: Devices
    folder: Path
    rounds: int


@dataclass
class Timed:
    """A bundle to be timed, and what came of it. `options`: of the engine, where they are not the defaults."""

    bundle: Path
    engine: str
    options: dict[str, Any] = field(default_factory=dict)
    taken: list[Timing] = field(default_factory=list)
    fault: str | None = None

    @property
    def p50_ms(self) -> float:
        return round(statistics.median(each.infer_ms for each in self.taken), 5)

    @property
    def cpu_ms(self) -> float:
        return round(statistics.median(each.cpu_ms for each in self.taken), 5)


@dataclass
class Course:
    """A model under way."""

    rows: list[Row] = field(default_factory=list)
    timed: dict[tuple[str, str], Timed] = field(default_factory=dict)
    """(digest of the file, engine with its options) -> its times: equal files are timed once."""
    answers: dict[tuple[str, ...], Answered] = field(default_factory=dict)
    """(digest, engine, target, precision) -> what it answers: equal files are run once."""


def run_subject(subject: Subject, ground: Ground) -> Finished:
    """Make, run, judge and time all cells of a model."""
    course = Course()
    for source, model in subject.sources.items():
        course.rows += _source_rows(subject.name, source, model, (ground, course))
    ground.workshop.told(f"{subject.name}: {len(course.timed)} bundles, {ground.rounds} rounds")
    at, load = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), round(os.getloadavg()[0], 2)
    take_times(list(course.timed.values()), ground)
    for row in course.rows:
        if (key := (str(row.sha256), row.engine)) in course.timed:
            _fill(row, course.timed[key])
    taken = {"at": at, "load_1m": load, "load_1m_after": round(os.getloadavg()[0], 2)}
    return Finished(subject.name, tuple(course.rows), tuple(_varied(course)), taken)


def _source_rows(name: str, source: str, model: ModelFolder | str, around: tuple[Ground, Course]) -> list[Row]:
    """Return the rows of one source; their times are still to be taken."""
    ground, course = around
    cells = every_cell(name, (source,))
    if isinstance(model, str):
        return [_unmade(cell, plain(model)) for cell in cells]
    try:
        given = reference(model, source, ground.workshop)
    except ControllerError as exc:
        return [_unmade(cell, plain(str(exc))) for cell in cells]
    return [_row(cell, given, ground, course) for cell in cells]


def take_times(waiting: Sequence[Timed], ground: Ground) -> None:
    """Time bundles in rounds."""
    for number in range(ground.rounds):
        for one in waiting if number % 2 == 0 else reversed(waiting):
            if one.fault is not None:
                continue
            try:
                one.taken.append(timed(one.bundle, number, ground.devices.of(one.engine)))
            except RuntimeError as exc:
                one.fault = plain(str(exc))


def _varied(course: Course) -> Iterator[dict[str, Any]]:
    """Yield the times of engine options beside those of the defaults."""
    for (digest, _), one in course.timed.items():
        if one.options and one.taken:
            usual = next(row for row in course.rows if (row.sha256, row.engine) == (digest, one.engine))
            yield {
                "subject": usual.subject,
                "engine": one.engine,
                "target": usual.target,
                "precision": usual.precision,
                "options": one.options,
                "p50_ms": one.p50_ms,
                "cpu_ms": one.cpu_ms,
                "usual_p50_ms": usual.p50_ms,
                "usual_cpu_ms": usual.cpu_ms,
            }


def _unmade(cell: Cell, reason: str) -> Row:
    """Return the row of a cell whose source is not there: where no way leads, that is what is said."""
    found = way(cell)
    return Row.of(cell, "refused", found) if isinstance(found, str) else Row.of(cell, "not run", reason)


def _row(cell: Cell, given: Reference, ground: Ground, course: Course) -> Row:
    file = made(cell, given.model, ground.workshop)
    if isinstance(file, NotMade):
        return Row.of(cell, file.outcome, file.reason)
    row = _described(cell, file)
    if cell.engine == "coreml":
        return row
    engine = ON_PROCESSOR.get(cell.engine, cell.engine)
    if reason := ground.devices.missing(engine):
        row.outcome, row.reason = "not run", reason
        return row
    bundle = write_bundle(bundle_folder(ground, cell, file.sha256), file, engine, given)
    key = (file.sha256, engine, cell.target, cell.precision)
    if key not in course.answers:
        course.answers[key] = _answered(cell, file, bundle, given, ground)
    found = course.answers[key]
    row.engine_parity, row.engine_version = found.parity, found.version
    if found.reason is not None:
        row.outcome, row.reason = "refused", f"on {engine}: {found.reason}"
    elif cell.engine not in ON_PROCESSOR:
        _enlist(cell, file, bundle, course)
        _enlist_options(cell, file, given, (ground, course))
    return row


def _answered(cell: Cell, file: File, bundle: Path, given: Reference, ground: Ground) -> Answered:
    judged, engine = (cell.target, cell.precision), ON_PROCESSOR.get(cell.engine, cell.engine)
    if ground.workshop.alone and engine == ENGINE_OF[file.form]:
        return answered_before(file, judged, given, ground.workshop)
    return answered(bundle, judged, given, ground.devices.of(engine))


def bundle_folder(ground: Ground, cell: Cell, digest: str) -> Path:
    """Return where the bundle of a cell is."""
    return ground.folder / f"{cell.subject}-{cell.target}-{cell.precision}-{cell.engine}-{digest[:12]}"


def _described(cell: Cell, file: File) -> Row:
    notes = tuple(note for note in file.notes if not note.startswith(NO_CAVEATS))
    notes += {"coreml": (COREML_NOTE,), "tensorrt": (TENSORRT_NOTE,)}.get(cell.engine, ())
    row = Row.of(cell, "works with a note" if notes else "works")
    row.notes, row.bytes, row.sha256 = notes, file.path.stat().st_size, file.sha256
    if file.conversion is not None:
        row.parity, row.weights = file.conversion["parity"], file.conversion["weights"]
        row.min_os = file.conversion["min_os"]
    return row


def _enlist(cell: Cell, file: File, bundle: Path, course: Course) -> None:
    course.timed.setdefault((file.sha256, cell.engine), Timed(bundle, cell.engine))


def _enlist_options(cell: Cell, file: File, given: Reference, around: tuple[Ground, Course]) -> None:
    """Have an engine's options timed as well, for the own file and its int8 of one model. No claim is about them."""
    ground, course = around
    if ground.workshop.alone or cell.subject != VARIED or cell.source != cell.target or cell.precision == "fp16":
        return
    for options in OPTIONS.get(cell.engine, ()):
        told = ",".join(f"{name}={value}" for name, value in options.items())
        name = f"{cell.subject}-{cell.precision}-{cell.engine}-{told}"
        bundle = write_bundle(ground.folder / name, file, cell.engine, given, options)
        course.timed[file.sha256, f"{cell.engine} {told}"] = Timed(bundle, cell.engine, options)


def _fill(row: Row, one: Timed) -> None:
    """Enter the times into a row."""
    if one.fault is not None or not one.taken:
        row.outcome, row.reason = "refused", one.fault or "it was not timed"
        return
    row.p50_ms, row.cpu_ms = one.p50_ms, one.cpu_ms
    row.p50s_ms = tuple(round(each.infer_ms, 5) for each in one.taken)
    row.load_ms = round(statistics.median(float(each.phases_ms["load_ms"]) for each in one.taken), 3)
    row.flags = tuple(sorted({flag for each in one.taken for flag in each.flags}))
