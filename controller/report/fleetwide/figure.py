"""The figure of one class's variance: a bar a variant, split into devices, processes, time and queries.

Decides: what is drawn. Leaves out: the page's colours and drawing, as `controller/report/figure.py` does. Names come
from files and devices: everything shown is escaped here.
"""

import html
from collections.abc import Mapping
from typing import Any

COLOURS = {"device": "#2c7a4b", "process": "#5b9bd0", "time": "#d99a2b", "query": "#9a9fa3"}
"""Told apart on a light and on a dark page, and in grey."""
MEANINGS = {
    "device": "between devices",
    "process": "between processes",
    "time": "in time within a process",
    "query": "between queries",
}
Row = Mapping[str, Any]


def variance_figure(row: Row) -> dict[str, Any] | None:
    """Return the figure of a class as plotly JSON, or None where no variance was separated.

    Args:
        row: An entry of the report's `fleetwide`.
    """
    variants = [each for each in reversed(row["variants"]) if each["variance"]]
    if not variants:
        return None
    traces = [_bars(variants, name) for name in COLOURS]
    return {"data": [trace for trace in traces if trace["x"]], "layout": _layout(len(variants))}


def _bars(variants: list[Row], name: str) -> dict[str, Any]:
    found = [(each, part) for each in variants for part in each["variance"] if part["name"] == name]
    return {
        "type": "bar",
        "orientation": "h",
        "name": MEANINGS[name],
        "y": [html.escape(str(each["variant"])) for each, _ in found],
        "x": [100 * part["share_ratio"] for _, part in found],
        "marker": {"color": COLOURS[name], "line": {"width": 0}},
        "hovertext": [_hover(each, part) for each, part in found],
        "hoverinfo": "text",
    }


def _hover(each: Row, part: Row) -> str:
    upper = "no bound" if part["upper_ratio"] is None else f"{100 * part['upper_ratio']:.2g} %"
    lines = [
        f"<b>{html.escape(str(each['variant']))}</b>, {MEANINGS[part['name']]}",
        f"{100 * part['share_ratio']:.3g} % of the variance of log latency",
        f"spread {100 * part['spread_ratio']:.2g} % [{100 * part['lower_ratio']:.2g} %, {upper}]",
    ]
    return "<br>".join([*lines, *(["estimated below zero, taken as none"] if part["truncated"] else [])])


def _layout(variants: int) -> dict[str, Any]:
    return {
        "barmode": "stack",
        "height": 110 + 30 * variants,
        "margin": {"l": 20, "r": 20, "t": 40, "b": 44},
        "bargap": 0.35,
        "xaxis": {"title": {"text": "share of the variance [%]"}, "range": [0, 100], "zeroline": False},
        "yaxis": {"automargin": True, "ticksuffix": " "},
        "legend": {
            "orientation": "h",
            "y": 1.02,
            "yanchor": "bottom",
            "x": 1,
            "xanchor": "right",
            "traceorder": "normal",
        },
        "hoverlabel": {"align": "left"},
        "modebar": {"orientation": "v", "bgcolor": "rgba(0,0,0,0)"},
    }
