"""The page of engines: what `python -m benchmarks.engines` found, as tables. Pure: the same result, the same page.

Decides: which table a cell stands in, and that reasons and notes are told once, by number. Leaves out: what is true of
a cell (`benchmarks/results/engines.json`).
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tools.source import ROOT

RESULT = ROOT / "benchmarks" / "results" / "engines.json"
NOTE = "<!-- Written by `make docs` from benchmarks/results/engines.json, which the benchmark `engines` writes. -->\n"

PAGE = """\
# Engines, formats, precisions: what works

{note}
What becomes of each source on each engine: converted by `controller model convert`, run by the agent's own worker, and
held against the model's own file. [How to read the tables](#how-to-read-them) stands at the end.

Measured on {processor}, {cores} cores, on {at}, at niceness {nice}. Engines: {engines}. Converters: {converters}. The
TensorFlow source of a model is the same network written in Keras with the same weights.

## Feature table

The reference models `leaf_outline` (1-D residual network), `soil_carbon` (perceptron) and `fashion` (convolutions on
pictures) alike, where no model is named.

{features}

{models}
## Options of engines

Beside the defaults, `leaf_outline`, in the same rounds.

{options}

## What an engine takes

One worker with `leaf_outline` in float, one thread: its whole resident set, and times from its own beginning.

{footprints}

## Networks of other packages

Imported from where their packages install them; nothing of them is part of Thresher. They come without samples, so
parity is on made-up inputs, and int8 has nothing to calibrate on. Ways that the feature table refuses are left out.

{packages}

{networks}

## Held to

{claims}

## Reasons and notes

{notes}

## How to read them

- **works**: made, run on the engine, and within the [limits of parity](../conversion.md#parity). A number in brackets
  is a note or a reason above. **not run**: nothing here runs it, or what would was not installed. A dash: the format
  has no such precision.
- **parity**: signal to noise of the outputs [dB] over golden queries and probe. *With its source*: as the conversion's
  record has it. *On its engine*: with the model's own float file on that format's default engine. Of Core ML, which
  nothing here runs, the worst stored weight.
- **p50**: median inference [ms], wall time, on one thread, without pre- and post-processing. **processor**: median
  processor time of a whole query [ms], pre- and post-processing with it. Both are medians of {processes} processes,
  which take turns with all other files of the model. The load above each table says how far p50 can be trusted:
  neighbours stretch it, and hardly the processor time. Files that are equal byte by byte are timed once.
"""

Row = Mapping[str, Any]
UNDOUBTED = {"mean_of_k", "drift_short"}
"""Flags that are no reason to doubt a median: several short calls a sample, and too few samples to see a drift."""

PRECISIONS = ("float", "fp16", "int8", "pal6", "pal4")


class Notes:
    """Texts that tables point to, each once."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def mark(self, texts: Iterable[str]) -> str:
        """Return ` [1, 2]` for texts, and nothing for none."""
        numbers = sorted({self._numbers.setdefault(text, len(self._numbers) + 1) for text in texts})
        return f" [{', '.join(map(str, numbers))}]" if numbers else ""

    def listed(self) -> str:
        return "\n".join(f"{number}. {_cell(text)}" for text, number in self._numbers.items()) or "None."


def read_result() -> dict[str, Any]:
    """Return the committed result."""
    found: dict[str, Any] = json.loads(RESULT.read_text(encoding="utf-8"))
    return found


def page(result: Mapping[str, Any]) -> str:
    """Return the page of a result."""
    around, cells, notes = result["conditions"], result["cells"], Notes()
    own = {subject["name"]: subject["taken"] for subject in result["subjects"] if not subject["about"]}
    mine = [cell for cell in cells if cell["subject"] in own]
    features = feature_table(mine, notes)
    models = "".join(
        f"## {name}\n\n{_timed(taken, _of(mine, name))}\n\n{model_table(_of(mine, name), notes)}\n\n"
        for name, taken in own.items()
    )
    others = [subject for subject in result["subjects"] if subject["about"]]
    further = [cell for cell in cells if cell["subject"] not in own and not _is_no_way(cell, mine)]
    return PAGE.format(
        note=NOTE,
        processor=around["processor"],
        cores=around["cores"],
        at=around["at"][:10],
        nice=around["nice"],
        engines=", ".join(f"{each['engine']} {each['version']}" for each in result["footprints"]) or "none",
        converters=_converters(around["converters"]),
        processes=max((len(cell.get("p50s_ms", ())) for cell in cells), default=0),
        features=features,
        models=models,
        options=_table(OPTION_HEAD, map(_option_row, result["options"])),
        footprints=_table(FOOTPRINT_HEAD, map(_footprint_row, result["footprints"])),
        packages=_table(PACKAGE_HEAD, map(_package_row, others)),
        networks=network_table(further, notes),
        claims=_table(CLAIM_HEAD, map(_claim_row, result["claims"])),
        notes=notes.listed(),
    )


def feature_table(cells: Sequence[Row], notes: Notes) -> str:
    """Return the table of what works, all models in one."""
    places = dict.fromkeys((cell["source"], cell["target"], cell["engine"]) for cell in cells)
    rows = []
    for place in places:
        here = [cell for cell in cells if (cell["source"], cell["target"], cell["engine"]) == place]
        told = [_together([cell for cell in here if cell["precision"] == each], notes) for each in PRECISIONS]
        rows.append((*(f"`{part}`" for part in place), *told))
    return _table(("source", "format", "engine", *PRECISIONS), rows)


def model_table(cells: Sequence[Row], notes: Notes) -> str:
    """Return the table of the cells of a model that were made."""
    head = (
        "source",
        "format",
        "precision",
        "engine",
        "bytes",
        "with its source",
        "on its engine",
        "same top-1",
        "p50",
        "processor",
    )
    return _table(head, (_made_row(cell, notes) for cell in cells if "bytes" in cell))


def network_table(cells: Sequence[Row], notes: Notes) -> str:
    """Return the table of networks of other packages, those too that were refused."""
    head = ("network", "source", "format", "precision", "engine", "", "bytes", "on its engine", "p50", "processor")
    return _table(head, (_network_row(cell, notes) for cell in cells))


OPTION_HEAD = ("engine", "format", "precision", "option", "p50", "by default", "processor", "by default")
FOOTPRINT_HEAD = ("engine", "package", "before the engine", "after load", "peak", "import", "load", "first answer")
PACKAGE_HEAD = ("network", "package", "licence", "sources")
CLAIM_HEAD = ("what", "found", "goal", "", "how")


def _together(cells: Sequence[Row], notes: Notes) -> str:
    """Return what a feature's cells say of all models: one word where they agree."""
    if not cells:
        return "-"
    said: dict[str, list[str]] = {}
    for cell in cells:
        said.setdefault(cell["outcome"].partition(" with")[0], []).append(cell["subject"])
    parts = []
    for outcome, subjects in said.items():
        mark = notes.mark(text for cell in cells if cell["subject"] in subjects for text in _texts(cell))
        names = "" if len(said) == 1 else f" ({', '.join(subjects)})"
        parts.append(f"{outcome}{names}{mark}")
    return "; ".join(parts)


def _made_row(cell: Row, notes: Notes) -> tuple[str, ...]:
    agreement = (cell.get("engine_parity") or cell.get("parity") or {}).get("top1_agreement_ratio")
    return (
        *(f"`{cell[part]}`" for part in ("source", "target", "precision", "engine")),
        f"{cell['bytes']:,}",
        _source_parity(cell),
        _decibels(cell.get("engine_parity")),
        "" if agreement is None else f"{agreement:.1%}",
        _time(cell, notes),
        _milliseconds(cell.get("cpu_ms")),
    )


def _network_row(cell: Row, notes: Notes) -> tuple[str, ...]:
    return (
        *(f"`{cell[part]}`" for part in ("subject", "source", "target", "precision", "engine")),
        cell["outcome"].partition(" with")[0] + notes.mark(_texts(cell)),
        f"{cell['bytes']:,}" if "bytes" in cell else "",
        _decibels(cell.get("engine_parity")) if cell["engine"] != "coreml" else _source_parity(cell),
        _milliseconds(cell.get("p50_ms")),
        _milliseconds(cell.get("cpu_ms")),
    )


def _source_parity(cell: Row) -> str:
    if weights := cell.get("weights"):
        return f"weights {_decibels({'sqnr_db': weights.get('lowest_sqnr_db')})}"
    return _decibels(cell["parity"]) if "parity" in cell else "is the source's file"


def _decibels(parity: Mapping[str, Any] | None) -> str:
    if parity is None:
        return ""
    return "equal" if parity.get("sqnr_db") is None else f"{parity['sqnr_db']:.1f} dB"


def _time(cell: Row, notes: Notes) -> str:
    if "p50_ms" in cell:
        return _milliseconds(cell["p50_ms"])
    return cell["outcome"].partition(" with")[0] + notes.mark(_texts(cell)) if "reason" in cell else ""


def _milliseconds(value: float | None) -> str:
    return "" if value is None else f"{value:#.3g}".rstrip(".")


def _option_row(row: Row) -> tuple[str, ...]:
    options = ", ".join(f"`{name}: {_plain(value)}`" for name, value in row["options"].items())
    places = (f"`{row[part]}`" for part in ("engine", "target", "precision"))
    return (*places, options, *(_milliseconds(row[f"{each}_ms"]) for each in ("p50", "usual_p50", "cpu", "usual_cpu")))


def _footprint_row(row: Row) -> tuple[str, ...]:
    megabytes = [
        f"{row[part] / 1e6:.0f} MB" for part in ("installed_bytes", "bare_bytes", "loaded_bytes", "peak_bytes")
    ]
    times = [f"{row[part]:.0f} ms" for part in ("import_ms", "load_ms", "first_inference_ms")]
    return (f"`{row['engine']}` {row['version']}, numpy {row['numpy']}", *megabytes, *times)


def _package_row(subject: Row) -> tuple[str, ...]:
    about = subject["about"]
    return (f"`{subject['name']}`", about["package"], about["licence"], ", ".join(subject["sources"]))


def _claim_row(claim: Row) -> tuple[str, ...]:
    value = "-" if claim["value"] is None else f"{claim['value']:.4g} {claim['unit']}".strip()
    goal = f"{claim['goal']} {claim['unit']}".strip()
    return (claim["name"], value, goal, "holds" if claim["holds"] else "short", claim["how"])


def _is_no_way(cell: Row, known: Sequence[Row]) -> bool:
    """Return whether the feature table refuses the same for the same reason."""
    place = [cell.get(part) for part in ("source", "target", "precision", "engine", "outcome", "reason")]
    return cell["outcome"] == "refused" and any(
        [each.get(part) for part in ("source", "target", "precision", "engine", "outcome", "reason")] == place
        for each in known
    )


def _texts(cell: Row) -> list[str]:
    return [cell["reason"]] if "reason" in cell else list(cell.get("notes", ()))


def _timed(taken: Row, cells: Sequence[Row]) -> str:
    at = taken["at"].replace("T", " ").replace("Z", " UTC")
    timed = [cell for cell in cells if "p50_ms" in cell]
    doubted = sum(not set(cell.get("flags", ())) <= UNDOUBTED for cell in timed)
    load = f"load {taken['load_1m']} before and {taken['load_1m_after']} after"
    return f"Timed from {at} on, {load}; the agent flags {doubted} of {len(timed)} times as disturbed or unsteady."


def _converters(known: Mapping[str, Mapping[str, str]]) -> str:
    versions = {name: version for each in known.values() for name, version in each.items()}
    return ", ".join(f"{name} {version}" for name, version in sorted(versions.items())) or "none"


def _of(cells: Iterable[Row], subject: str) -> list[Row]:
    return [cell for cell in cells if cell["subject"] == subject]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(map(_cell, row)) + " |" for row in rows]
    return "\n".join(["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *lines]) if lines else "None."


def _cell(text: str) -> str:
    """Return a text that Markdown takes as it is, within a table."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
