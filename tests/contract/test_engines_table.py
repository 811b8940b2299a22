"""The committed result of the benchmark `engines`: whole, within its limits, and what the page says."""

from typing import Any

from benchmarks.engine_parts.cells import SOURCES, Row, every_cell, silent_rows
from benchmarks.engine_parts.making import way
from benchmarks.engine_parts.subjects.packages import NETWORKS
from benchmarks.engine_parts.subjects.reference import REFERENCE
from controller.convert.parity import LIMITS
from tools.engines_table import page, read_result
from tools.source import ROOT

RESULT = read_result()
ROWS = [Row.read(cell) for cell in RESULT["cells"]]


def test_the_page_is_what_the_result_says() -> None:
    written = (ROOT / "docs/reference/engines-table.md").read_text(encoding="utf-8")
    assert written == page(RESULT), "out of date: run  make docs"


def test_every_cell_that_the_routes_know_has_a_row_and_no_other() -> None:
    """A new source, format, precision or engine has none: run the benchmark again."""
    sources = {**dict.fromkeys(REFERENCE, SOURCES), **{each.name: tuple(each.files) for each in NETWORKS}}
    known = {cell for name, each in sources.items() for cell in every_cell(name, each)}
    assert {row.cell for row in ROWS} == known
    assert len(ROWS) == len(known)


def test_every_row_says_what_became_of_it() -> None:
    assert silent_rows(ROWS) == []


def test_what_the_code_refuses_is_refused_in_the_same_words_and_nothing_else() -> None:
    """A way that was built, or taken away, since the benchmark ran shows here."""
    ways = {row.cell: way(row.cell) for row in ROWS}
    refused = {cell: reason for cell, reason in ways.items() if isinstance(reason, str)}
    assert {row.cell: row.reason for row in ROWS if row.cell in refused} == refused
    told = set(refused.values())
    assert [row.cell for row in ROWS if row.cell not in refused and row.reason in told] == []


def test_what_works_keeps_the_limits_of_parity() -> None:
    broken = []
    for row in ROWS:
        limits = LIMITS.get((row.target, row.precision))
        sqnr_db = (row.engine_parity or {}).get("sqnr_db")
        if row.outcome.startswith("works") and row.subject in REFERENCE and limits and sqnr_db is not None:
            broken += [row.cell] if sqnr_db < limits.sqnr_db else []
    assert broken == []


def test_every_reference_model_ran_from_every_source_on_every_engine() -> None:
    ran = {(row.subject, row.source, row.engine) for row in ROWS if row.p50_ms is not None}
    for name in REFERENCE:
        assert {engine for subject, source, engine in ran if (subject, source) == (name, "torch")} == {
            "onnxruntime", "litert", "tflite-runtime", "executorch"
        }  # fmt: skip
        assert {source for subject, source, _ in ran if subject == name} == set(SOURCES)


def test_times_are_those_of_their_processes() -> None:
    for row in ROWS:
        assert (row.sha256 is None) == (row.bytes is None), row.cell
        if row.p50_ms is not None:
            assert min(row.p50s_ms) <= row.p50_ms <= max(row.p50s_ms), row.cell
            assert len(row.p50s_ms) == RESULT["conditions"]["processes"], row.cell


def test_claims_and_conditions_are_complete() -> None:
    claim: dict[str, Any]
    for claim in RESULT["claims"]:
        assert set(claim) == {"name", "value", "unit", "goal", "holds", "how"}
    assert {"processor", "cores", "load_1m", "load_1m_after", "packages", "at", "converters"} <= set(
        RESULT["conditions"]
    )
    assert RESULT["conditions"]["quick"] is False
    assert next(each for each in RESULT["claims"] if each["name"] == "cells without a result or a reason")["holds"]
