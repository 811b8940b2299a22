"""A technique on a model: what came of it; and the shelf that keeps such rows.

Decides: that a row counts for one recipe as it stands, one processor and one version of the code of compression.
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.common import processor
from controller.bundle.atomic import write_whole


@dataclass(frozen=True)
class Row:
    """because: why there is no variant; the rest is null then. score: accuracy or R2, with `right` of `samples` where
    it counts answers. time_ratio: of the fp32 baseline's in the same process, `time_low` to `time_high` over processes;
    null with `untimed`, the reason. made_s: what making it took [s]."""

    model: str
    recipe: str
    because: str = ""
    score: float | None = None
    right: int | None = None
    samples: int = 0
    sqnr_db: float | None = None
    parameters: int | None = None
    macs: int | None = None
    disk_bytes: int | None = None
    wire_bytes: int | None = None
    wire_ratio: float = 1.0
    p50_ms: float | None = None
    time_ratio: float | None = None
    time_low: float | None = None
    time_high: float | None = None
    untimed: str = ""
    made_s: float | None = None
    load: float | None = None

    def counted(self) -> str:
        """Return the score as people read it."""
        if self.right is not None:
            return f"{self.right} of {self.samples}"
        return "" if self.score is None else f"R2 {self.score:.3f}"

    def time_text(self) -> str:
        return self.untimed or f"{1 / (self.time_ratio or 1):.2f}x as fast"


class Shelf:
    """Rows in a file, a line each, by what decides them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, dict[str, Any]] = {}
        if path.exists():
            self._known = {each["key"]: each["row"] for each in map(json.loads, path.read_text().splitlines())}

    def row(self, key: str) -> Row | None:
        found = self._known.get(key)
        return Row(**found) if found else None

    def keep(self, key: str, row: Row) -> None:
        """Keep a row, on the disk when this returns."""
        self._known[key] = asdict(row)
        lines = [json.dumps({"key": each, "row": known}, sort_keys=True) for each, known in self._known.items()]
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self._path, ("\n".join(lines) + "\n").encode())


def key_of(*parts: Any) -> str:
    """Return what decides a row: its parts, and the processor."""
    return hashlib.sha256(json.dumps([*parts, processor()], sort_keys=True).encode()).hexdigest()


def load() -> float:
    """Return how busy the machine is."""
    return round(os.getloadavg()[0], 2)
