"""What the table is held to.

Decides: the goals. A goal that was missed is printed as such: int8 is slower than float where the processor lacks the
instructions, and that is worth knowing. Leaves out: how the numbers came about.
"""

from collections.abc import Iterable, Sequence

from benchmarks.common import MEGABYTE, Claim, at_least, at_most, not_measured
from benchmarks.engine_parts.cells import Row, silent_rows
from benchmarks.engine_parts.footprint import Footprint
from controller.convert.parity import LIMITS

LARGEST_LOADED_MB = 100
LONGEST_START_S = 1.0
MODEL = "leaf_outline"
HOW_TIMED = "processor time of a query, interleaved in one run"


def claims(rows: Sequence[Row], footprints: Sequence[Footprint]) -> list[Claim]:
    """Return all claims on a run."""
    subjects = dict.fromkeys(row.subject for row in rows)
    return [
        _said(rows),
        *(_parity(rows, precision) for precision in ("float", "fp16", "int8")),
        *(claim for subject in subjects for claim in _fastest(rows, subject)),
        *(_quantised(rows, engine) for engine in dict.fromkeys(row.engine for row in rows if row.p50_ms)),
        *(claim for each in footprints for claim in _footprint(each)),
    ]


def _said(rows: Sequence[Row]) -> Claim:
    outcomes = [f"{sum(row.outcome == each for row in rows)} {each}" for each in _outcomes(rows)]
    how = f"of {len(rows)} cells: {', '.join(outcomes)}"
    return at_most("cells without a result or a reason", len(silent_rows(rows)), 0, "", how)


def _parity(rows: Sequence[Row], precision: str) -> Claim:
    """Return the claim on the worst answers of what works: on its engine, against the model's own float file."""
    limit = min(limits.sqnr_db for (_, each), limits in LIMITS.items() if each == precision)
    name = f"lowest parity of what works, {precision}"
    found = [
        (float(row.engine_parity["sqnr_db"]), row)
        for row in rows
        if row.precision == precision and row.outcome.startswith("works") and row.engine_parity
        if not (row.cell.is_own_file and row.notes)  # a source that is quantised itself is no float cell
        if row.engine_parity["sqnr_db"] is not None
    ]
    if not found:
        return not_measured(name, "dB", f">= {limit:g}", "no such cell ran")
    worst, row = min(found, key=lambda each: each[0])
    return at_least(name, worst, limit, "dB", f"{_told(row)}; {len(found)} cells that differ at all")


def _fastest(rows: Sequence[Row], subject: str) -> Iterable[Claim]:
    """Return the claim on the fastest cell of a model against float on ONNX Runtime."""
    mine = [row for row in rows if row.subject == subject and row.cpu_ms]
    usual = next((row for row in mine if (row.engine, row.precision) == ("onnxruntime", "float")), None)
    if usual is None or usual.cpu_ms is None:
        return
    fastest = min(mine, key=lambda row: row.cpu_ms or 0.0)
    assert fastest.cpu_ms
    how = f"{_told(fastest)} {fastest.cpu_ms:g} ms, float on ONNX Runtime {usual.cpu_ms:g} ms; {HOW_TIMED}"
    yield at_least(f"{subject}, fastest cell against float on ONNX Runtime", usual.cpu_ms / fastest.cpu_ms, 1, "x", how)


def _quantised(rows: Sequence[Row], engine: str) -> Claim:
    """Return the claim that int8 pays on an engine; both in the same rounds."""
    name = f"int8 against float on {engine}, {MODEL}"
    best = {}
    for precision in ("float", "int8"):
        mine = [row for row in rows if (row.subject, row.engine, row.precision) == (MODEL, engine, precision)]
        best[precision] = min((row.cpu_ms for row in mine if row.cpu_ms), default=None)
    if best["float"] is None or best["int8"] is None:
        return not_measured(name, "x", ">= 1", "one of both did not run")
    how = f"float {best['float']:g} ms, int8 {best['int8']:g} ms, the faster source of each; {HOW_TIMED}"
    return at_least(name, best["float"] / best["int8"], 1, "x", how)


def _footprint(each: Footprint) -> Iterable[Claim]:
    how = f"resident set of the worker, {MODEL} in float; {each.bare_bytes / MEGABYTE:.0f} MB before the engine"
    loaded = each.loaded_bytes / MEGABYTE
    yield at_most(f"memory after load, {each.engine}", loaded, LARGEST_LOADED_MB, "MB", how)
    how = f"import {each.import_ms:g}, load {each.load_ms:g}, first answer {each.first_inference_ms:g} ms"
    yield at_most(f"import to first answer, {each.engine}", each.start_ms / 1000, LONGEST_START_S, "s", how)


def _outcomes(rows: Iterable[Row]) -> list[str]:
    return sorted({row.outcome for row in rows})


def _told(row: Row) -> str:
    return f"{row.subject}: {row.source} -> {row.target} {row.precision} on {row.engine}"
