"""The points of a sweep in one table: what another thread, or a larger batch, is worth."""

import statistics
from collections import defaultdict
from collections.abc import Sequence

from agent.bench.numbers import is_void, query_times_ns
from agent.bench.rows import Row, aligned, flag_rows
from wire.statistics import log_interval
from wire.trial import TrialRecord

HEAD = ("threads", "batch", "ms a query", "95 % interval", "queries/s", "peak MiB", "against the first")


def points_table(records: Sequence[TrialRecord]) -> str:
    """Return a line a point, and below it the doubts of each.

    `against the first` is the time of the first point over a point's: above 1 it is faster. It has no verdict: of many
    points, some differ by chance.
    """
    first = query_times_ns(records[0]) if records else []
    lines = [HEAD, *(_line(record, first) for record in records)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(HEAD))]
    text = "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    doubts = _doubts(records)
    return f"{text}\n\n{aligned(doubts)}" if doubts else text


def _line(record: TrialRecord, first: Sequence[float]) -> tuple[str, ...]:
    point = (str(record.threads), str(record.settings.batch))
    times = query_times_ns(record)
    if not times:
        return (*point, record.outcome, "", "", "", "")
    middle = statistics.geometric_mean(times)
    interval = "one process"
    if len(times) > 1:
        _, lower, upper = log_interval(times)
        interval = f"{lower / 1e6:.4f} to {upper / 1e6:.4f}"
    gain = f"{statistics.geometric_mean(first) / middle:.2f}x" if first else ""
    peak = "" if record.memory is None else f"{record.memory.peak_bytes / 2**20:.1f}"
    void = " (void)" if is_void(record) else ""
    return (*point, f"{middle / 1e6:.4f}{void}", interval, f"{1e9 / middle:.1f}", peak, gain)


def _doubts(records: Sequence[TrialRecord]) -> list[Row]:
    """Return each reason to doubt once, with the points that have it."""
    points = defaultdict[Row, list[str]](list)
    for record in records:
        failed = [("not measured", record.error)] if record.outcome != "measured" else []
        for row in failed + flag_rows(record):
            points[row].append(f"{record.threads} thread(s), batch {record.settings.batch}")
    return [(name, f"{said} [{_listed(have, len(records))}]") for (name, said), have in points.items()]


def _listed(points: Sequence[str], of: int) -> str:
    return "every point" if len(points) == of else "; ".join(points)
