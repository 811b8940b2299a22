"""Trials as rows for other programs: one row per trial, or one per sample.

Decides: columns (units in their names) and their types. Leaves out: which trials (the command's), the numbers
(`figures`) and the file (`table_file`). Conditions differ from device to device: each is a column of its own,
`condition_before_governor`, empty where a device did not have it.

    export_trials(views, Path("trials.parquet"), "parquet")
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from controller.fleet.views import TrialView
from controller.trial.figures import Cell, Row, figures
from controller.trial.summary import REPLACED, summarise
from controller.trial.table_file import Columns, Exported, Format, Kind, write_table
from wire.trial import Replicate, Samples, TrialRecord

SERIES = ("total_ns", "pre_ns", "infer_ns", "post_ns", "cpu_ns", "wait_ns")
SAMPLE_COLUMNS: Columns = {
    **dict.fromkeys(("deployment", "trial", "device", "device_class", "workload", "variant"), str),
    "control": bool,
    "scenario": str,
    "process": int,
    "replaced": bool,
    "phase": str,
    "sample": int,
    **dict.fromkeys(SERIES, int),
}
"""`phase` is `warm_up` or `timed`. Times [ns]: of a query, of several calls' mean where the process is flagged
`mean_of_k`, of all streams in `multi_stream`, of a batch in `offline`."""

_KNOWN: Columns = {
    **dict.fromkeys(("processes", "samples", "threads", "cache_misses"), int),
    **dict.fromkeys(("golden_passed", "valid", "emulated"), bool),
}
_FLOAT_UNITS = ("_ms", "_s", "_w", "_j", "_hz", "_ratio", "_per_second")
_WHOLE_UNITS = ("_bytes", "_ns")
_LARGEST_WHOLE = 2**63 - 1


def export_trials(views: Iterable[TrialView], path: Path, form: Format) -> Exported:
    """Write one row per trial: what was asked, its numbers, its conditions.

    Raises:
        ConfigurationError: Parquet without its extra.
        DiskFull: No room.
    """
    rows = [trial_columns(view) for view in views]
    columns = columns_of(rows)
    return write_table(path, form, columns, [[_typed(row, columns) for row in rows]])


def export_samples(views: Iterable[TrialView], path: Path, form: Format) -> Exported:
    """Write one row per sample; the samples of one process are in memory at a time.

    Raises:
        ConfigurationError: Parquet without its extra.
        DiskFull: No room.
    """
    batches = (
        list(sample_rows(view, replicate))
        for view in views
        for replicate in (view.record.replicates if view.record else ())
    )
    return write_table(path, form, SAMPLE_COLUMNS, batches)


def trial_columns(view: TrialView) -> Row:
    """Return a trial as one flat row; the record's columns are empty where none has come."""
    names = ("deployment", "fleet", "trial", "device", "device_class", "workload", "variant", "bundle", "control",
             "stage", "outcome", "asked_s", "received_s")  # fmt: skip
    row: Row = {name: getattr(view, name) for name in names}
    return row if view.record is None else {**row, **_record_columns(view.record)}


def _record_columns(record: TrialRecord) -> Row:
    summary = summarise(record, None)
    names = ("error", "engine", "engine_version", "threads", "scenario", "grade", "emulated", "agent_version",
             "started_s", "wall_s", "serving_lost_s")  # fmt: skip
    said = record.validity
    return {
        **{name: getattr(record, name) for name in names},
        "serving_policy": summary.serving_policy,
        **{f"setting_{name}": value for name, value in record.settings.model_dump(mode="json").items()},
        "valid": said.valid if said else record.outcome == "measured" and not summary.void,
        "void": "; ".join(summary.void) or None,
        "flags": ",".join(summary.flags) or None,
        "golden_passed": record.golden.passed if record.golden else None,
        **figures(record, summary),
        **flattened("engine_option", record.engine_options),
        **flattened("condition", record.conditions),
    }


def flattened(name: str, value: object) -> Row:
    """Return nested values as columns `name_key_key`; a list is one column of JSON."""
    if isinstance(value, Mapping):
        found: Row = {}
        for key, each in value.items():
            found |= flattened(f"{name}_{_column(str(key))}", each)
        return found
    if value is None or isinstance(value, str | int | float | bool):
        return {name: value}
    return {name: json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)}


def _column(key: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in key)


def sample_rows(view: TrialView, replicate: Replicate) -> Iterator[Row]:
    """Yield the samples of one process: its warm-up, then what was timed."""
    shared: Row = {
        "deployment": view.deployment,
        "trial": view.trial,
        "device": view.device,
        "device_class": view.device_class,
        "workload": view.workload,
        "variant": view.variant,
        "control": view.control,
        "scenario": view.record.scenario if view.record else None,
        "process": replicate.order,
        "replaced": REPLACED in replicate.flags,
    }
    for number, total_ns in enumerate(replicate.warm_up_ns.unpack()):
        yield {**shared, "phase": "warm_up", "sample": number, "total_ns": total_ns}
    series: dict[str, Samples | None] = {name: getattr(replicate, name) for name in SERIES}
    times = {name: packed.unpack() for name, packed in series.items() if packed is not None}
    for number in range(len(times["total_ns"])):
        own: Row = {name: values[number] for name, values in times.items() if number < len(values)}
        yield {**shared, "phase": "timed", "sample": number, **own}


def columns_of(rows: Sequence[Row]) -> dict[str, Kind]:
    """Return every column of `rows` in the order seen, with the type that holds all of its values."""
    found: dict[str, Kind | None] = {}
    for row in rows:
        for name, value in row.items():
            known = found.setdefault(name, None)
            found[name] = known if value is None else _wider(known, value)
    return {name: _settled(name, kind) for name, kind in found.items()}


def _wider(known: Kind | None, value: Cell) -> Kind:
    kind: Kind = float if isinstance(value, int) and abs(value) > _LARGEST_WHOLE else type(value)  # type: ignore[assignment]
    if known is None or known is kind:
        return kind
    return float if {known, kind} == {int, float} else str


def _settled(name: str, kind: Kind | None) -> Kind:
    """Return a column's type; its unit decides where it is empty here, or holds whole numbers by chance."""
    if kind in (None, int, float) and (name.endswith(_FLOAT_UNITS) or name.startswith("score_")):
        return float
    if kind is None and name.endswith(_WHOLE_UNITS):
        return int
    return kind or _KNOWN.get(name, str)


def _typed(row: Row, columns: Columns) -> Row:
    return {name: _cell(row.get(name), kind) for name, kind in columns.items()}


def _cell(value: Cell, kind: Kind) -> Cell:
    if value is None or type(value) is kind:
        return value
    return float(value) if kind is float else str(value)
