"""Rounds of a search that devices drive: many candidates are made and estimated here, the best of them are measured.

Decides: how many minutes a round may take, that what is not measured has the table's time where the table has shown
itself better than this host's, and the host's where not, and that graphs which are equal are measured once. At the end
the minutes that are left go to what looks best and nobody measured. Leaves out: who measures (`measurer.py`), and which
candidates come next (`study.py`).

    rounds = Rounds(measurer, shelf, bench)
    run_search(Parts(study, bench, clock, settling=rounds), ...)
    rounds.close(study.timed)
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from controller.compress.search.classes.measurer import Measurer, Reading, Readings, Subject
from controller.compress.search.classes.select import LEAST_MARGIN, Point, worthy
from controller.compress.search.examine import Bench, Finding, examine
from controller.compress.search.loop import Tried
from controller.compress.search.study import ClassTime, Row
from controller.compress.search.table.checked import Checked, check
from controller.compress.search.table.features import variant_features
from controller.compress.search.table.fit import Table, Trained, fit
from controller.compress.search.table.shelf import Shelf
from controller.compress.variant import BASELINE

SIZE = 8
"""Candidates of a round: half of a generation."""

MOST_MEASURED = 3
"""Of a round, in each class."""

ROUND_SHARE = 1 / 3
CLOSING_SHARE = 0.25
"""Of the minutes: kept for the end, when all that could be measured is known."""


@dataclass
class Known:
    """What is known of one class. table: null where it may not be used."""

    checked: Checked = field(default_factory=lambda: Checked(0))
    table: Table | None = None
    control_ms: float | None = None


@dataclass
class Rounds:
    """A settling whose times come from devices.

    measures: False: the host's times drive the search, and devices measure what it found at the end alone.
    """

    measurer: Measurer
    shelf: Shelf
    bench: Bench
    told: Callable[[str], None] = lambda _: None
    measures: bool = True
    readings: Readings = field(default_factory=dict)
    _known: dict[str, Known] = field(default_factory=dict)
    _findings: dict[str, Finding] = field(default_factory=dict)
    _graphs: dict[tuple[str, str], str] = field(default_factory=dict)
    _minutes: float = 0.0

    def __post_init__(self) -> None:
        """Take up what devices measured before."""
        self._minutes = self.measurer.minutes_left
        self.readings.update(self.measurer.known())
        self._learn()

    def take_up(self, rows: Sequence[Row]) -> None:
        """Take up the rows of former runs: which graphs were measured."""
        for row in rows:
            for name in self.measurer.classes:
                if (name, row.variant) in self.readings and row.speed_key:
                    self._graphs.setdefault((name, row.speed_key), row.variant)

    @property
    def size(self) -> int:
        """Candidates of a round."""
        return SIZE if self.measures else 1

    @property
    def checked(self) -> Mapping[str, Checked]:
        """Class -> how its table did."""
        return {name: known.checked for name, known in self._known.items()}

    def settle(self, tried: Sequence[Tried]) -> list[Row]:
        """Have the best of a round measured, and return its rows with a time for each class."""
        for each in tried:
            self._findings[each.row.variant] = each.found
        rows = [each.row for each in tried]
        if self.measures:
            room = min(ROUND_SHARE * self._minutes, self.measurer.minutes_left - CLOSING_SHARE * self._minutes)
            self._measure(rows, room, MOST_MEASURED)
        return self.seen(rows)

    def close(self, rows: Sequence[Row]) -> list[Row]:
        """Spend the minutes that are left on what looks best, and return the rows as they are known now."""
        if any(each.table is not None for each in self._known.values()):
            for row in rows:
                self._subject(row)  # a table looks at files, those of former runs too
        while True:
            before = len(self.readings)
            self._measure(rows, self.measurer.minutes_left, MOST_MEASURED + 1)
            if len(self.readings) == before:
                return self.seen(rows)

    def seen(self, rows: Sequence[Row]) -> list[Row]:
        """Return rows with what is known of their time in each class."""
        return [
            replace(row, classes={name: self._time(row, name) for name in self.measurer.classes})
            if row.outcome == "timed" else row
            for row in rows
        ]  # fmt: skip

    def _measure(self, rows: Sequence[Row], room: float, most: int) -> None:
        """Ask for at most so many candidates of each class, within so many minutes of all classes together."""
        wanted, each_room = dict[str, list[Subject]](), room / max(1, len(self.measurer.classes))
        for name in self.measurer.classes:
            count = max((n for n in range(1, most + 1) if self.measurer.cost(name, n) <= each_room), default=0)
            subjects = [self._subject(row) for row in self._worthy(rows, name, count)]
            if found := [each for each in subjects if each is not None]:
                wanted[name] = found
        if not wanted:
            return
        said = "; ".join(f"{name}: {', '.join(each.variant.name for each in some)}" for name, some in wanted.items())
        self.told(f"measured now: {said}")
        self.readings.update(self.measurer.measure(wanted))
        self._keep(rows)
        self._learn()

    def _worthy(self, rows: Sequence[Row], name: str, count: int) -> list[Row]:
        """Return the rows that a class measures next; of equal graphs one, and none that is measured already."""
        timed = {row.speed_key or row.variant: row for row in rows if row.outcome == "timed" and row.ratio is not None}
        seen = {row.variant: (row, self._time(row, name)) for row in timed.values()}
        known = [pair for pair in seen.values() if pair[1].by == "measured"]
        guessed = [pair for pair in seen.values() if pair[1].by in ("table", "host") and self._open(name, pair[0])]
        names = worthy(
            [_point(*pair) for pair in guessed], [_point(*pair) for pair in known], count, self._margin(name)
        )
        return [seen[each][0] for each in names]

    def _open(self, name: str, row: Row) -> bool:
        """Tell whether a class may still measure a row: not where it tried and could not, for good, and not the graph
        of the baseline, which is the control beside which all are measured."""
        found = self.readings.get((name, row.variant))
        return row.speed_like != BASELINE and (found is None or found.again)

    def _margin(self, name: str) -> float:
        found = self._known[name].checked
        used = found.table if found.trusted else found.host
        return used.median if used is not None else LEAST_MARGIN

    def _subject(self, row: Row) -> Subject | None:
        """Return a row's file with its golden outputs; it comes from the cache where another run made it."""
        found = self._findings.get(row.variant) or examine(row.as_recipe(), self.bench)
        self._findings[row.variant] = found
        if found.variant is None or not found.results:
            return None
        return Subject(found.variant, found.results[0].golden_outputs)

    def _time(self, row: Row, name: str) -> ClassTime:
        """Return a row's time in a class: measured, else estimated."""
        like = self._graphs.get((name, row.speed_key), row.variant)
        found = self.readings.get((name, row.variant)) or self.readings.get((name, like)) or Reading()
        if found.ratio is not None:
            because = "" if (name, row.variant) in self.readings else f"the graph of {like}"
            return ClassTime(found.ratio, "measured", found.p50_ms, because)
        known, finding = self._known[name], self._findings.get(row.variant)
        if found.lacking:
            return ClassTime(None, "nobody", because=found.because)
        if row.ratio is None:
            return ClassTime(None, "nobody", because=found.because or "nothing is known of its time")
        if known.table is None or known.control_ms is None or finding is None or finding.variant is None:
            return ClassTime(row.ratio, "host", because=found.because)
        features, host_ms = variant_features(finding.variant), known.control_ms * row.ratio
        ratio = known.table.milliseconds(features, host_ms) / known.control_ms
        return ClassTime(ratio or row.ratio, "table", because=found.because)

    def _keep(self, rows: Sequence[Row]) -> None:
        """Keep what was measured as points of the tables."""
        for row in rows:
            for name in self.measurer.classes:
                self._keep_one(row, name)

    def _keep_one(self, row: Row, name: str) -> None:
        found, finding = self.readings.get((name, row.variant)), self._findings.get(row.variant)
        if found is None or found.p50_ms is None or found.control_ms is None or row.ratio is None:
            return
        self._graphs.setdefault((name, row.speed_key), row.variant)
        if finding is not None and finding.variant is not None:
            key = f"{self.bench.model.identity}/{row.speed_key}"
            host_ms, features = found.control_ms * row.ratio, variant_features(finding.variant)
            point = Trained(features, host_ms, found.p50_ms, key, found.control_ms)
            self.shelf.keep(name, f"{self.bench.model.identity}/{row.variant}", point)

    def _learn(self) -> None:
        for name in self.measurer.classes:
            points = self.shelf.points(name)
            checked = check(points)
            controls = [each.control_ms for (of, _), each in self.readings.items() if of == name and each.control_ms]
            control_ms = controls[-1] if controls else self.shelf.control_ms(name, self.bench.model.identity)
            used = checked.trusted and self.measures  # a search that the host drives goes by the host's times
            self._known[name] = Known(checked, fit(points) if used else None, control_ms)


def _point(row: Row, time: ClassTime) -> Point:
    return Point(row.variant, row.loss or 0.0, time.ratio or 1.0, row.wire_ratio or 1.0)
