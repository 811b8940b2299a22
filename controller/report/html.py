"""The report as one HTML file that needs nothing else: figures, tables, timeline, light and dark, printable.

Decides: what the page shows. Leaves out: the numbers (`build`). Names from files and devices are hostile until escaped:
the template escapes everything, figures escape themselves, and the page's policy forbids any network access.

    path.write_text(render_html(report))
"""

import json
from collections.abc import Mapping
from datetime import datetime
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from controller.report.by_class.figure import class_figure
from controller.report.fleetwide.figure import variance_figure

Report = Mapping[str, Any]
NOT_KNOWN = "-"


def render_html(report: Report) -> str:
    """Return the page of a report made by `build.build_report`."""
    lineages = {row["variant"]: row["lineage"] for row in report["variants"]}
    figures = [class_figure(choice, lineages) for choice in report["choices"]]
    return page(
        "report.html",
        report=report,
        figures=figures,
        fleet_figures=[variance_figure(row) for row in report["fleetwide"]],
        stages=stage_bars(report),
        waves=wave_bars(report),
    )


def page(template: str, **shown: Any) -> str:
    """Return a page made of a template that extends `page.html`, with Plotly's script in it."""
    # plotly brings its script as a file of the package: read it without importing the rest.
    script = files("plotly").joinpath("package_data", "plotly.min.js").read_text(encoding="utf-8")
    shown["plotly_script"] = Markup(script.replace("</script", "<\\/script"))
    return environment().get_template(template).render(shown)


def stage_bars(report: Report) -> list[dict[str, Any]]:
    """Return where the deploy's time went: one bar a stage, in shares of the whole [ratio]."""
    spans = [(name, times["started_s"], times["ended_s"]) for name, times in report["deployment"]["stages"].items()]
    return _bars([(name, name, start, end) for name, start, end in spans if end is not None])


def wave_bars(report: Report) -> list[dict[str, Any]]:
    """Return the rollout's waves as bars: offer, then soak, in shares of the whole [ratio]."""
    spans = []
    for wave in report["waves"]:
        if wave["offered_s"] is None:
            continue
        soak = wave["soak_from_s"] or wave["ended_s"]
        last = wave["ended_s"] or soak or wave["offered_s"]
        spans.append((f"wave {wave['number'] + 1}", "offer", wave["offered_s"], soak or last))
        if wave["soak_from_s"] is not None:
            spans.append((f"wave {wave['number'] + 1}", "soak and gate", wave["soak_from_s"], last))
    return _bars(spans)


def _bars(spans: list[tuple[str, str, float, float]]) -> list[dict[str, Any]]:
    if not spans:
        return []
    first = min(start for _, _, start, _ in spans)
    whole = max(max(end for _, _, _, end in spans) - first, 1e-6)
    return [
        {
            "row": row,
            "kind": kind,
            "from": (start - first) / whole,
            "width": (end - start) / whole,
            "seconds": end - start,
        }
        for row, kind, start, end in spans
    ]


def environment() -> Environment:
    """Return what the report's templates are rendered in: all text escaped, nothing undefined."""
    made = Environment(
        loader=PackageLoader("controller.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        number=number, compact=compact, size=size, when=when, seconds=seconds, short=short, plain_json=plain_json
    )
    return made


def number(value: float | None, digits: int = 3) -> str:
    """Return `value` with `digits` significant digits, a dash where there is none."""
    if value is None:
        return NOT_KNOWN
    if isinstance(value, int) or abs(value) >= 10**digits:
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"


def compact(count: float | None) -> str:
    """Return a large count in few digits: 503 k, 214 M."""
    if count is None:
        return NOT_KNOWN
    for unit, scale in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(count) >= scale:
            return f"{count / scale:.3g} {unit}"
    return f"{count:.0f}"


def size(count: float | None) -> str:
    """Return bytes as people read them: 1.5 MiB."""
    if count is None:
        return NOT_KNOWN
    if abs(count) < 1024:
        return f"{count:.0f} B"
    for unit in ("KiB", "MiB"):
        count /= 1024
        if abs(count) < 1024:
            return f"{count:.1f} {unit}"
    return f"{count / 1024:.1f} GiB"


def when(moment_s: float | None) -> str:
    """Return seconds since the epoch as local time."""
    if moment_s is None:
        return NOT_KNOWN
    return datetime.fromtimestamp(moment_s).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")


def seconds(span_s: float | None) -> str:
    """Return a span of time."""
    if span_s is None:
        return NOT_KNOWN
    return f"{span_s:.1f} s" if span_s < 120 else f"{span_s / 60:.1f} min"


def short(digest: str | None) -> str:
    """Return the first digits of a digest."""
    return digest[:12] if digest else NOT_KNOWN


def plain_json(document: object) -> Markup:
    """Return JSON that can stand inside a script element, whatever strings it holds."""
    text = json.dumps(document, allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)
