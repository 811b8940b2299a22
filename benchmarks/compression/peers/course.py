"""A model's way through the benchmark: every toolkit makes its file, each is judged, all are timed together.

Decides: what is kept of it (`rows.py`), and that a toolkit that is not installed is asked again the next time. Leaves
out: the toolkits (`entrants.py`) and the measuring (`judging.py`).
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.compression.peers.entrants import Entrant, entrants
from benchmarks.compression.peers.environments import CONVERTER, NAMES, lock_digest, python_of
from benchmarks.compression.peers.judging import Judge
from benchmarks.compression.peers.making import Bench, made
from benchmarks.compression.peers.rows import Row, State, with_times
from benchmarks.compression.rows import key_of
from benchmarks.compression.techniques import recipe_code
from controller.compress.shipped import find_recipe
from controller.compress.variant import recipe_document
from controller.convert.conversion import file_digest
from controller.convert.environments import environment
from controller.models.folder import ModelFolder
from controller.models.samples import arrays_digest

NOT_KEPT = "not run yet: this was a run with --times-only"
PROGRAMS = Path(__file__).parent / "programs"


@dataclass(frozen=True)
class Ground:
    """What a run works with. anew: times are taken again; nothing that is not kept is made. train: recipes that train
    take part. told: for people."""

    state: State
    bench: Bench
    quick: bool
    train: bool
    anew: bool
    told: Callable[[str], None]


def model_rows(model: ModelFolder, ground: Ground) -> list[Row]:
    """Return the rows of a model, fp32's first, with their times."""
    judge = Judge(model, ground.state.folder)
    rows = [judge.baseline_row()]
    for entrant in entrants(model, ground.quick, train=ground.train):
        rows.append(_row(entrant, judge, ground))
    files = [ground.state.file(row.file) if row.file else judge.baseline.model_file for row in rows]
    rows = [row if row.because else judge.sized(row, path) for row, path in zip(rows, files, strict=True)]
    return with_times(rows, _times(rows, judge, ground))


def _row(entrant: Entrant, judge: Judge, ground: Ground) -> Row:
    """Return the row of a toolkit; one that says so where nothing is kept and nothing may be made."""
    key = _key(entrant, judge)
    if (kept := ground.state.row(key)) is not None:
        return kept
    if ground.anew:
        return Row(judge.model.name, entrant.toolkit, entrant.name, entrant.form, because=NOT_KEPT)
    row = _made(entrant, judge, key, ground)
    if entrant.is_ours or python_of(entrant.environment, ground.bench.environments) is not None:
        ground.state.keep(key, row)
    ground.told(f"{row.model}: {row.name}: {row.because or row.counted()}")
    return row


def _made(entrant: Entrant, judge: Judge, key: str, ground: Ground) -> Row:
    name = f"{key[:16]}.{entrant.form}"
    path, row = ground.state.file(name), Row(judge.model.name, entrant.toolkit, entrant.name, entrant.form)
    path.unlink(missing_ok=True)
    came = made(entrant, judge.model, judge.queries, path, ground.bench)
    known = {"took_s": came.took_s, "peak_bytes": came.peak_bytes, "base_bytes": came.base_bytes, "notes": came.notes}
    row = replace(row, because=came.because, file=None if came.because else name, **known)  # type: ignore[arg-type]
    if came.because:
        return row
    judged = judge.row(row, path)
    return replace(judged, file=None) if judged.because else judged


def _times(rows: Sequence[Row], judge: Judge, ground: Ground) -> list[dict[str, Any]]:
    """Return the times of the rows that have a variant, kept or taken now, all together."""
    there = [row for row in rows if not row.because]
    files = {row.file: ground.state.file(row.file) for row in there if row.file}
    key = key_of("times", judge.model.name, [file_digest(path) for path in files.values()])
    kept = None if ground.anew else ground.state.times(key)
    if kept is None:
        ground.told(f"{judge.model.name}: {len(there)} files are timed beside each other")
        kept = judge.times([judge.variant(row, files[row.file]) for row in there if row.file])
        ground.state.keep_times(key, kept)
    return kept


def _key(entrant: Entrant, judge: Judge) -> str:
    """Return what decides a row."""
    programs = [PROGRAMS / "frame.py", PROGRAMS / f"{entrant.program}.py"]
    source = hashlib.sha256(b"".join(path.read_bytes() for path in programs)).hexdigest()
    model, samples = file_digest(judge.model.file(entrant.form)), [judge.samples.digest, arrays_digest(judge.queries)]
    return key_of(entrant.document, source, model, samples, _of_its_own(entrant))


def _of_its_own(entrant: Entrant) -> Any:
    """Return what else a toolkit's result depends on: its lock, or our recipe and passes."""
    if entrant.environment in NAMES:
        return lock_digest(entrant.environment)
    if entrant.environment == CONVERTER:
        found = environment(CONVERTER)
        return found.versions if found else None
    recipe = find_recipe(entrant.setting["recipe"])
    return [recipe_document(recipe), recipe_code(recipe)]
