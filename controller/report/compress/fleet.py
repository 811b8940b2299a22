"""The part of a search's document that devices gave: per class what would be taken, what was measured, how well times
were guessed.

Decides: its shape: `{name, workload, driven_by, minutes, classes: {class: {pick, because, p50_ms, …, table}}}`. Times
are milliseconds, ratios the variant's time over the control's in the same sittings. Leaves out: the rest (`build.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from controller.compress.search.classes.measurer import Readings
from controller.compress.search.classes.picks import pick_of
from controller.compress.search.study import Row
from controller.compress.search.table.checked import Checked
from controller.report.compress.build import Document


@dataclass(frozen=True)
class Measured:
    """What a fleet did for a search. minutes, spent: of devices, asked for and reckoned. checked: class -> how its
    table did. readings: all that devices said."""

    fleet: str
    workload: str
    driven_by: str
    minutes: float
    spent: float
    classes: Sequence[str]
    checked: Mapping[str, Checked]
    readings: Readings


def fleet_part(found: Measured, rows: Sequence[Row]) -> Document:
    """Return the part of the document."""
    return {
        "name": found.fleet,
        "workload": found.workload,
        "driven_by": found.driven_by,
        "minutes": found.minutes,
        "minutes_spent": found.spent,
        "classes": {name: _class(found, rows, name) for name in found.classes},
    }


def _class(found: Measured, rows: Sequence[Row], name: str) -> Document:
    pick, mine = pick_of(rows, name), {key[1]: each for key, each in found.readings.items() if key[0] == name}
    measured = {variant: each for variant, each in mine.items() if each.ratio is not None}
    time = pick.classes[name] if pick is not None else None
    controls = [each.control_ms for each in measured.values() if each.control_ms is not None]
    return {
        "pick": pick.variant if pick is not None else None,
        "recipe": pick.recipe if pick is not None else None,
        "ratio": time.ratio if time is not None else None,
        "p50_ms": time.p50_ms if time is not None else None,
        "loss": pick.loss if pick is not None else None,
        "wire_bytes": pick.wire_bytes if pick is not None else None,
        "control_ms": controls[-1] if controls else None,
        "because": _because(pick, len(measured)),
        "measured": len(measured),
        "devices": sorted({device for each in measured.values() for device in each.devices}),
        "not_measured": {variant: each.because for variant, each in sorted(mine.items()) if each.because},
        "table": asdict(found.checked[name]) if name in found.checked else None,
    }


def _because(pick: Row | None, measured: int) -> str:
    if pick is not None:
        return "the fastest of those measured that keep the limit; of those nearly as fast, the smallest"
    if measured:
        return f"the control stays: none of {measured} measured variants keeps the limit and is faster"
    return "nothing was measured in this class"
