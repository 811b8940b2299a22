"""Records as cells, one for each variant on each device. Pure.

Decides: which records and processes count, and whether samples are single queries. Leaves out: all statistics but the
variance that processes explain.
"""

from collections.abc import Iterable, Mapping
from math import log

from controller.trial.fleetwide.effects import Value
from controller.trial.fleetwide.observed import Cell, Process, observe
from controller.trial.summary import MEAN_OF_K, REPLACED
from wire.trial import Replicate, TrialRecord

Cells = Mapping[str, Mapping[str, Cell]]
"""Variant -> device -> what was measured."""


def is_usable(record: TrialRecord) -> bool:
    """Whether a record's speed counts: measured, not void, golden outputs as they should be."""
    void = any(flag.void for flag in record.flags) or (record.validity is not None and not record.validity.valid)
    return has_speed(record) and not void


def has_speed(record: TrialRecord) -> bool:
    """Whether a record says how fast the device was at what it was asked, void or not."""
    return record.outcome == "measured" and (record.golden is None or record.golden.passed)


def cells_of(records: Iterable[TrialRecord]) -> dict[str, dict[str, Cell]]:
    """Return the cells; processes of several trials of one variant on one device stand side by side."""
    found: dict[str, dict[str, Cell]] = {}
    for record in records:
        counted = [each for each in record.replicates if REPLACED not in each.flags and each.total_ns.count]
        if not counted:
            continue
        processes = tuple(_process(record, each) for each in counted)
        single = record.scenario != "offline" and not any(_is_mean(each) for each in counted)
        row = found.setdefault(record.variant, {})
        known = row.get(record.device)
        if known is not None:
            processes, single = known.processes + processes, known.single and single
        row[record.device] = Cell(record.device, record.variant, record.control, processes, single)
    return found


def _process(record: TrialRecord, replicate: Replicate) -> Process:
    """Return a process; offline, what a query takes is what the whole answered per second says."""
    seen = observe(replicate.total_ns.unpack())
    if record.scenario != "offline" or not replicate.queries_per_second:
        return seen
    per_query = log(1e9 / replicate.queries_per_second)
    return Process(per_query, seen.blocks, seen.block_error, seen.query, seen.spread, seen.queries)


def _is_mean(replicate: Replicate) -> bool:
    return any(flag.startswith(MEAN_OF_K) for flag in replicate.flags)


def control_first(cells: Cells) -> list[str]:
    """Return the variants, the control first."""
    return sorted(cells, key=lambda variant: (not is_control(cells[variant]), variant))


def is_control(row: Mapping[str, Cell]) -> bool:
    return any(cell.control for cell in row.values())


def control_of(cells: Cells) -> str | None:
    return next((variant for variant in sorted(cells) if is_control(cells[variant])), None)


def values_of(row: Mapping[str, Cell]) -> dict[str, Value]:
    """Return each device's mean and the variance that its processes explain, pooled over the devices."""
    squares = [
        (process.log_median - cell.mean) ** 2
        for cell in row.values()
        for process in cell.processes
        if len(cell.processes) > 1
    ]
    freedom = len(squares) - sum(len(cell.processes) > 1 for cell in row.values())
    pooled = sum(squares) / freedom if freedom > 0 else 0.0
    return {device: Value(cell.mean, pooled / len(cell.processes)) for device, cell in row.items()}
