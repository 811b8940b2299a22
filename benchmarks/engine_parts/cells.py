"""Which cells the table has: every source, format, precision and engine that the code's routes know.

Decides: what a cell is and what may become of it. Leaves out: making and running what it stands for.

>>> len(every_cell("leaf_outline", ("onnx",)))
19
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from controller.compress.variant import ENGINES_OF
from controller.convert.conversion import Source
from controller.convert.making.routes import FORMATS, PRECISIONS

SOURCES: tuple[str, ...] = get_args(Source)

Outcome = Literal["works", "works with a note", "refused", "not run"]

DEVICES_OWN = ("coreml", "tensorrt")
"""Targets that no engine here runs as a device would: each is its own engine in the table."""

TENSORRT_NOTE = "answers compared on ONNX Runtime's processor provider; not run on TensorRT, so no time"
COREML_NOTE = "built and checked; not run: only Apple's systems run Core ML"


@dataclass(frozen=True)
class Cell:
    """One cell of the table: `subject` is the model's name."""

    subject: str
    source: str
    target: str
    precision: str
    engine: str

    @property
    def is_own_file(self) -> bool:
        """Whether this is the source's own file, which no conversion makes."""
        return self.target == self.source and self.precision == "float"


@dataclass
class Row:
    """What became of a cell.

    reason: why it was refused, or not run. notes: of one that works with a note. parity: of the conversion with its
    source, as `conversion.json` has it. engine_parity: on this engine, with the model's reference file (float; on its
    default engine). p50_ms: median over processes of the inference's median [ms]; p50s_ms: of each process. cpu_ms: the
    same of a whole query's processor time, which a busy machine does not stretch.
    """

    subject: str
    source: str
    target: str
    precision: str
    engine: str
    outcome: Outcome
    reason: str | None = None
    notes: tuple[str, ...] = ()
    bytes: int | None = None
    sha256: str | None = None
    min_os: str | None = None
    parity: dict[str, float | int | None] | None = None
    weights: dict[str, float | int | str | None] | None = None
    engine_parity: dict[str, float | int | None] | None = None
    engine_version: str | None = None
    p50_ms: float | None = None
    cpu_ms: float | None = None
    p50s_ms: tuple[float, ...] = ()
    load_ms: float | None = None
    flags: tuple[str, ...] = field(default=())

    @classmethod
    def of(cls, cell: Cell, outcome: Outcome, reason: str | None = None) -> "Row":
        return cls(cell.subject, cell.source, cell.target, cell.precision, cell.engine, outcome, reason)

    @classmethod
    def read(cls, written: Mapping[str, Any]) -> "Row":
        """Return the row that JSON carries."""
        fields: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in written.items()
        }
        return cls(**fields)

    @property
    def cell(self) -> Cell:
        return Cell(self.subject, self.source, self.target, self.precision, self.engine)


def engines_of(target: str) -> tuple[str, ...]:
    """Return the engines of a target's cells."""
    return (target,) if target in DEVICES_OWN else ENGINES_OF[FORMATS[target]]  # type: ignore[index]


def every_cell(subject: str, sources: Iterable[str] = SOURCES) -> list[Cell]:
    """Return all cells of a model that has these sources."""
    return [
        Cell(subject, source, target, precision, engine)
        for source in sources
        for target, precisions in PRECISIONS.items()
        for precision in precisions
        for engine in engines_of(target)
    ]


def silent_rows(rows: Iterable[Row]) -> list[Row]:
    """Return the rows that say too little: neither a result nor a reason, or a note that is missing."""
    return [row for row in rows if not _says_enough(row)]


def _says_enough(row: Row) -> bool:
    if row.outcome in ("refused", "not run"):
        return bool(row.reason)
    if row.outcome == "works with a note" and not row.notes:
        return False
    checked = row.weights is not None if row.engine == "coreml" else row.engine_parity is not None
    timed = row.p50_ms is not None or row.engine in DEVICES_OWN
    return bool(row.bytes) and checked and timed


def as_json(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Return rows as JSON carries them; what a row does not have is left out."""
    return [{name: value for name, value in asdict(row).items() if value not in (None, ())} for row in rows]
