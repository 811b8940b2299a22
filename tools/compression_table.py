"""The page of techniques: what `python -m benchmarks.compression` found, a table a model. Pure.

Decides: how a row is told, and that what is against a technique stands where its numbers would. Leaves out: what is
true of it (`benchmarks/results/compression.json`).
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from tools.source import ROOT

RESULT = ROOT / "benchmarks" / "results" / "compression.json"
NOTE = "<!-- Written by `make docs` from the committed result of the benchmark `compression`. -->\n"

PAGE = """\
# Techniques of compression on the reference models

{note}
Each shipped recipe for ONNX on each reference model, as `controller model compress MODEL --recipe NAME` makes it,
judged on the evaluation samples. Measured on {processor}, {cores} cores, on {at}. *Speed* is the fp32 baseline's time
over the variant's on one thread of this host, ONNX Runtime, inference alone, turn by turn in one process, with the
smallest and the largest of three processes; on another processor it is another. *Wire*: bytes of the file as chunks,
against the baseline's. *Made in*: what making it took, passes that another recipe shares left out. Where a recipe
does not apply the row says what is against it.

{models}
## Held to

| claim | value | goal | holds | how |
|---|---|---|---|---|
{claims}
"""
HEAD = (
    "| recipe | score | SQNR [dB] | parameters | MACs | on disk | on the wire | wire | p50 [ms] | speed | made in |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|\n"
)
Row = Mapping[str, Any]


def read_result() -> dict[str, Any]:
    """Return the committed result."""
    found: dict[str, Any] = json.loads(RESULT.read_text(encoding="utf-8"))
    return found


def page(result: Mapping[str, Any]) -> str:
    """Return the page of a result."""
    around, rows = result["conditions"], result["rows"]
    names = dict.fromkeys(row["model"] for row in rows)
    models = "".join(f"## {name}\n\n{HEAD}{_lines(row for row in rows if row['model'] == name)}\n\n" for name in names)
    claims = "\n".join(
        f"| {each['name']} | {each['value']} | {each['goal']} | {'yes' if each['holds'] else 'no'} | {each['how']} |"
        for each in result["claims"]
    )
    known = {"processor": around["processor"], "cores": around["cores"], "at": str(around["at"])[:10]}
    return PAGE.format(note=NOTE, models=models, claims=claims, **known)


def _lines(rows: Iterable[Row]) -> str:
    return "\n".join(_line(row) for row in rows)


def _line(row: Row) -> str:
    if row["because"]:
        return f"| `{row['recipe']}` | {_cell(row['because'])} | | | | | | | | | |"
    cells = [
        f"`{row['recipe']}`",
        score(row),
        "" if row["sqnr_db"] is None else f"{row['sqnr_db']:.1f}",
        f"{row['parameters']:,}",
        f"{row['macs']:,}",
        f"{row['disk_bytes']:,}",
        f"{row['wire_bytes']:,}",
        f"{row['wire_ratio']:.3f}",
        "" if row["p50_ms"] is None else f"{row['p50_ms']:.3f}",
        row["untimed"] or speed(row),
        f"{row['made_s']:.0f} s",
    ]
    return f"| {' | '.join(cells)} |"


def score(row: Row) -> str:
    """Return accuracy with its counts, or R2.

    >>> score({"right": 237, "samples": 242, "score": 0.9793})
    '97.9 % (237 of 242)'
    """
    if row["right"] is not None:
        return f"{row['score']:.1%} ({row['right']} of {row['samples']})".replace("%", " %")
    return f"R² {row['score']:.3f} (of {row['samples']})"


def speed(row: Row) -> str:
    """Return how many times as fast as the baseline, with its smallest and largest.

    >>> speed({"time_ratio": 0.5, "time_low": 0.4, "time_high": 0.625})
    '2.00x [1.60, 2.50]'
    """
    return f"{1 / row['time_ratio']:.2f}x [{1 / row['time_high']:.2f}, {1 / row['time_low']:.2f}]"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
