"""The front of all results of a model, our pick, and what is claimed of it. Pure.

Decides: that a result is as good as another where it is as accurate, as small on the wire and as fast; that times whose
ranges over processes overlap are a tie, which is said and not counted as faster, as two equal files are; and how ours
is picked, without a look at the samples that judge: of our recipes that keep the limit on samples of the calibration
set, that with the smallest product of time and bytes; where none does, that which loses least there.
"""

import math
from collections.abc import Mapping, Sequence

from benchmarks.common import Claim, at_least, at_most, not_measured
from benchmarks.compression.peers.entrants import OURS
from benchmarks.compression.peers.rows import BASELINE, Row
from benchmarks.compression.peers.subjects import EFFICIENTNET

LIMITS: Mapping[str, float] = {"leaf_outline": 0.01, "fashion": 0.005, "soil_carbon": 0.01, EFFICIENTNET: 0.07}
"""Most that a pick may lose of its score; where nothing is labelled, of the agreement with fp32."""

UNTRIED = ("not run yet", "the environment", "the converter environment")
LEAST_SQNR_DB, LEAST_AGREEMENT, LEAST_SURE, LEAST_SMALLER, LEAST_FASTER = 18.0, 0.93, 0.99, 4.0, 2.2


def at_least_as_good(one: Row, other: Row) -> bool:
    """Return whether a result is at once as accurate, as small and as fast as another."""
    return all(a >= b for a, b in zip(_goods(one), _goods(other), strict=True))


def dominates(one: Row, other: Row) -> bool:
    """Return whether it is besides better in something."""
    return at_least_as_good(one, other) and _goods(one) != _goods(other)


def front(rows: Sequence[Row]) -> list[Row]:
    """Return the results that none dominates, of those that were measured whole."""
    whole = [row for row in rows if row.is_whole]
    return [row for row in whole if not any(dominates(other, row) and not same_file(other, row) for other in whole)]


def same_file(one: Row, other: Row) -> bool:
    """Return whether two came to the same bytes: what differs in their times is the clock's."""
    return one.sha256 is not None and one.sha256 == other.sha256


def ties(pick: Row, row: Row) -> bool:
    """Return whether a result is as accurate and as small as the pick, and as fast within the spread of the times."""
    if same_file(row, pick):
        return True
    if not (row.is_whole and pick.is_whole) or at_least_as_good(row, pick):
        return False
    as_small = float(row.score or 0) >= float(pick.score or 0) and int(row.wire_bytes or 0) <= int(pick.wire_bytes or 0)
    return as_small and float(row.time_low or 0) <= float(pick.time_high or 0)


def our_pick(rows: Sequence[Row]) -> Row | None:
    """Return ours, or null where no recipe of ours was measured; where none keeps the limit, that which loses least."""
    baseline = next((row for row in rows if row.toolkit == BASELINE), None)
    if baseline is None or baseline.seen_score is None:
        return None
    least = baseline.seen_score - LIMITS[baseline.model]
    ours = [row for row in rows if row.toolkit == OURS and row.is_whole]
    keeping = [row for row in ours if _seen(row) >= least]
    if not keeping:
        return max(ours, key=_seen, default=None)
    return min(keeping, key=lambda row: float(row.time_ratio or 0) * int(row.wire_bytes or 0))


def model_claims(name: str, rows: Sequence[Row]) -> list[Claim]:
    """Return what is claimed of a model's rows; of EfficientNet-Lite0 its own goals as well."""
    pick, peers = our_pick(rows), [row for row in rows if row.toolkit not in (OURS, BASELINE)]
    held = f"{name}: our pick on the front of all", f"{name}: peers as accurate, as small and as fast as our pick"
    if pick is None:
        return [not_measured(each, "", "<= 0", "no recipe of ours was made and timed") for each in held]
    whole = [row for row in rows if row.is_whole]
    others = [row for row in whole if not same_file(row, pick)]
    above = [row.name for row in others if dominates(row, pick)]
    better = [row.name for row in others if row in peers and at_least_as_good(row, pick)]
    tied = [row.name for row in peers if ties(pick, row)]
    said = f"{_told(pick)}; front of {len(whole)}: {', '.join(row.name for row in front(rows))}"
    beside = f"{', '.join(better) or 'none'} of {sum(row.is_whole for row in peers)}"
    beside += f"; as fast within the spread: {', '.join(tied)}" if tied else ""
    claims = [
        at_most(held[0], len(above), 0, "", f"{said}{_above(above)}"),
        at_most(held[1], len(better), 0, "", beside),
    ]
    return [*claims, *(goal_claims(pick) if name == EFFICIENTNET else ())]


def goal_claims(pick: Row) -> list[Claim]:
    """Return what EfficientNet-Lite0 in int8 is held to, without labels."""
    sure = pick.sure or 0, pick.sure_samples or 0
    counted = f"{sure[0]} of {sure[1]} of which fp32 is sure, {pick.counted()} of all; {pick.setting}"
    title = EFFICIENTNET
    return [
        at_least(f"{title}: SQNR", pick.sqnr_db or 0, LEAST_SQNR_DB, "dB", pick.setting),
        at_least(f"{title}: agreement", pick.score or 0, LEAST_AGREEMENT, "", counted),
        at_least(f"{title}: agreement where sure", sure[0] / max(sure[1], 1), LEAST_SURE, "", counted),
        at_least(f"{title}: smaller on the wire", 1 / (pick.wire_ratio or 1), LEAST_SMALLER, "x", pick.setting),
        at_least(f"{title}: faster", 1 / (pick.time_ratio or 1), LEAST_FASTER, "x", f"one thread; {_told(pick)}"),
    ]


def run_claims(rows: Sequence[Row]) -> list[Claim]:
    """Return that every cell holds a number or a reason, and that none of the reasons is that nothing was tried."""
    empty = [row.name for row in rows if not row.because and not row.is_whole and not row.untimed]
    failed = sum(bool(row.because) for row in rows)
    untried = [f"{row.model} {row.name}" for row in rows if row.because.startswith(UNTRIED)]
    return [
        at_most("cells without a number or a reason", len(empty), 0, "", f"{len(rows)} rows, {failed} with a reason"),
        at_most("settings that were not run", len(untried), 0, "", ", ".join(untried) or "every toolkit was there"),
    ]


def _seen(row: Row) -> float:
    return -math.inf if row.seen_score is None else row.seen_score


def _goods(row: Row) -> tuple[float, float, float]:
    """Return what is wanted of a row that is whole, the more the better."""
    return float(row.score or 0), -float(row.wire_bytes or 0), -float(row.time_ratio or 0)


def _told(row: Row) -> str:
    times = f"{1 / (row.time_ratio or 1):.2f}x as fast [{1 / (row.time_high or 1):.2f}, {1 / (row.time_low or 1):.2f}]"
    return f"{row.setting}: {row.counted()}, {1 / (row.wire_ratio or 1):.2f}x smaller, {times}"


def _above(names: Sequence[str]) -> str:
    return f"; above it: {', '.join(names)}" if names else ""
