"""The interactive figure of one device class: accuracy against latency, with size and memory in the marks.

Decides: what is drawn for each variant. Leaves out: colours of the page (the page's script sets them) and drawing
(plotly.js does, from this plain JSON). Names come from files and devices: everything shown is escaped here.
"""

import html
from collections.abc import Mapping, Sequence
from typing import Any

AXES = (
    ("p50_ms", "latency p50 [ms]"),
    ("p95_ms", "latency p95 [ms]"),
    ("wire_kib", "download [KiB]"),
    ("memory_mib", "peak memory [MiB]"),
)
_SMALLEST_PX, _LARGEST_PX = 14.0, 34.0
Row = Mapping[str, Any]


def class_figure(choice: Row, lineages: Mapping[str, Sequence[str]]) -> dict[str, Any] | None:
    """Return the figure of a class as plotly JSON, or None where nothing was measured.

    Args:
        choice: An entry of the report's `choices`.
        lineages: Variant -> the passes that made it.
    """
    rows = [row for row in choice["measured"] if row.get("p50_ms") is not None and row.get("score") is not None]
    if not rows:
        return None
    kinds = [("control", "baseline"), ("chosen", "chosen"), ("other", "not chosen")]
    traces = [_front(choice, rows)] + [
        _points(
            [row for row in rows if _kind(choice, row) == kind],
            label,
            kind,
            every=rows,
            choice=choice,
            lineages=lineages,
        )
        for kind, label in kinds
    ]
    score = rows[0].get("score_name", "accuracy")
    return {"data": traces, "layout": _layout(str(score), traces, rows)}


def _kind(choice: Row, row: Row) -> str:
    if row["variant"] == choice["variant"]:
        return "chosen"
    return "control" if row["control"] else "other"


def _points(
    rows: list[Row],
    label: str,
    kind: str,
    *,
    every: list[Row],
    choice: Row,
    lineages: Mapping[str, Sequence[str]],
) -> dict[str, Any]:
    symbol = {"control": "diamond", "chosen": "star", "other": "circle"}[kind]
    memory = [value for row in every if (value := axis_value(row, "memory_mib")) is not None]
    return {
        "type": "scatter",
        "mode": "markers+text",
        "name": label,
        "x": [axis_value(row, "p50_ms") for row in rows],
        "y": [row["score"] for row in rows],
        "text": ["" if kind == "other" else html.escape(str(row["variant"])) for row in rows],
        "textposition": "bottom center" if kind == "control" else "top right",
        "cliponaxis": False,
        "error_x": _interval(rows, "p50"),
        "marker": {
            "symbol": symbol,
            "size": [_pixels(row, every) * (1.25 if kind == "chosen" else 1) for row in rows],
            "color": [axis_value(row, "memory_mib") for row in rows],
            "cmin": min(memory, default=0),
            "cmax": max(memory, default=1),
            "coloraxis": "coloraxis",
            "opacity": 1.0 if kind != "other" else 0.75,
            "line": {"width": 2.5 if kind == "chosen" else 1},
        },
        "hovertext": [_hover(row, choice, lineages) for row in rows],
        "hoverinfo": "text",
        "meta": {"axes": {key: [axis_value(row, key) for row in rows] for key, _ in AXES}},
    }


def _front(choice: Row, rows: list[Row]) -> dict[str, Any]:
    names = set(choice["front_accuracy_latency_size"])
    on_front = sorted((row for row in rows if row["variant"] in names), key=lambda row: float(row["p50_ms"]))
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "front",
        "x": [row["p50_ms"] for row in on_front],
        "y": [row["score"] for row in on_front],
        "line": {"dash": "dot", "width": 1.5},
        "hoverinfo": "skip",
        "meta": {"axes": {key: [axis_value(row, key) for row in on_front] for key, _ in AXES}},
    }


def axis_value(row: Row, key: str) -> float | None:
    """Return a variant's value on one of the figure's x axes."""
    if key == "wire_kib":
        return None if row.get("wire_bytes") is None else row["wire_bytes"] / 1024
    if key == "memory_mib":
        return None if row.get("peak_memory_bytes") is None else row["peak_memory_bytes"] / 1024**2
    value = row.get(key)
    return None if value is None else float(value)


def _interval(rows: list[Row], name: str) -> dict[str, Any]:
    upper = [_gap(row.get(f"{name}_upper_ms"), row[f"{name}_ms"]) for row in rows]
    lower = [_gap(row[f"{name}_ms"], row.get(f"{name}_lower_ms")) for row in rows]
    return {"type": "data", "symmetric": False, "array": upper, "arrayminus": lower, "thickness": 1, "width": 3}


def _gap(high: float | None, low: float | None) -> float:
    return 0.0 if high is None or low is None else max(0.0, high - low)


def _pixels(row: Row, every: list[Row]) -> float:
    sizes = [float(one["wire_bytes"]) for one in every if one.get("wire_bytes")]
    if not sizes or not row.get("wire_bytes") or max(sizes) == min(sizes):
        return _SMALLEST_PX
    share = (float(row["wire_bytes"]) - min(sizes)) / (max(sizes) - min(sizes))
    return float(_SMALLEST_PX + share * (_LARGEST_PX - _SMALLEST_PX))


def _hover(row: Row, choice: Row, lineages: Mapping[str, Sequence[str]]) -> str:
    name = str(row["variant"])
    speed_up = row.get("speed_up") or {}
    lines = [
        f"<b>{html.escape(name)}</b>" + (f" · {html.escape(str(row['engine']))}" if row.get("engine") else ""),
        f"p50 {_number(row.get('p50_ms'))} ms · p95 {_number(row.get('p95_ms'))} ms",
        f"{html.escape(str(row.get('score_name', 'accuracy')))} {_number(row.get('score'), 4)}",
        f"download {_number(axis_value(row, 'wire_kib'))} KiB",
        f"peak memory {_number(axis_value(row, 'memory_mib'))} MiB",
    ]
    if speed_up.get("ratio") is not None:
        lines.append(
            f"speed-up {_number(speed_up['ratio'])} "
            f"[{_number(speed_up.get('lower'))}, {_number(speed_up.get('upper'))}]"
        )
    lines += [f"· {html.escape(step[:100])}" for step in lineages.get(name, ())]
    if reason := choice.get("rejected", {}).get(name):
        lines.append(f"<i>{html.escape(reason[:160])}</i>")
    return "<br>".join(lines)


def _number(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}g}"


def _layout(score: str, traces: list[dict[str, Any]], rows: list[Row]) -> dict[str, Any]:
    buttons = [
        {
            "label": title.split(" [")[0],
            "method": "update",
            "args": [
                {"x": [trace["meta"]["axes"][key] for trace in traces], "error_x.visible": key == "p50_ms"},
                {"xaxis.title.text": title},
            ],
        }
        for key, title in AXES
    ]
    scores = [float(row["score"]) for row in rows]
    margin = max(0.01, 0.3 * (max(scores) - min(scores)))
    return {
        "height": 430,
        "margin": {"l": 64, "r": 20, "t": 56, "b": 56},
        "xaxis": {"title": {"text": AXES[0][1]}, "rangemode": "tozero", "automargin": True, "zeroline": False},
        "yaxis": {"title": {"text": html.escape(score)}, "range": [min(scores) - margin, max(scores) + margin]},
        "coloraxis": {
            "colorscale": "Viridis",
            "colorbar": {"title": {"text": "peak<br>MiB"}, "thickness": 12, "len": 0.8},
        },
        "legend": {"orientation": "h", "y": 1.18, "x": 1, "xanchor": "right", "itemsizing": "constant"},
        "updatemenus": [
            {
                "type": "buttons",
                "direction": "right",
                "x": 0,
                "y": 1.2,
                "xanchor": "left",
                "showactive": False,
                "buttons": buttons,
            }
        ],
        "hoverlabel": {"align": "left"},
        "modebar": {"orientation": "v", "bgcolor": "rgba(0,0,0,0)"},
    }
