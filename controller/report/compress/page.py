"""The page of one search: figures of everything that was tried and of the front, tables, why and why not.

Decides: what the page shows. Leaves out: the numbers (`build.py`). Names from files are hostile until escaped: the
template escapes everything, figures escape themselves, and the page's policy forbids any network access.

    path.write_text(render_search(document))
"""

from collections.abc import Mapping, Sequence
from typing import Any

from controller.report.by_class.figure import class_figure
from controller.report.by_class.front import accuracy_latency_size_front
from controller.report.html import page

Document = Mapping[str, Any]
Row = dict[str, Any]


def render_search(document: Document) -> str:
    """Return the page of a search's document."""
    figures = [figure_of(document, tried_rows(document)), figure_of(document, final_rows(document))]
    return page("compress.html", report=document, figures=figures, fleet_figures=[])


def figure_of(document: Document, rows: Sequence[Row]) -> dict[str, Any] | None:
    """Return a figure of rows as plotly JSON: accuracy against time, size and memory."""
    lineages = {row["variant"]: row["lineage"] for row in (*document["variants"], *document["finals"])}
    choice = {
        "variant": document["pick"],
        "measured": rows,
        "rejected": document["rejected"],
        "front_accuracy_latency_size": accuracy_latency_size_front(rows),
    }
    return class_figure(choice, lineages)


def tried_rows(document: Document) -> list[Row]:
    """Return all timed variants and the baseline, with scores of the validation samples."""
    baseline, name = document["baseline"], document["score_name"]
    first = {**baseline, "score": baseline["validation_score"], "control": True, "score_name": name, "engine": ""}
    memory = {row["variant"]: row["peak_memory_bytes"] for row in document["finals"]}
    rows = [{
        **row, "control": False, "score_name": name, "engine": "", "p95_ms": None,
        "speed_up": {"ratio": row["speed_up"]}, "peak_memory_bytes": memory.get(row["variant"]),
    } for row in document["variants"] if row["p50_ms"] is not None]  # fmt: skip
    return [first, *rows]


def final_rows(document: Document) -> list[Row]:
    """Return the front and the baseline, with scores of the evaluation samples."""
    return [{**row, "score_name": document["score_name"], "p95_ms": None} for row in document["finals"]]
