"""What came of a toolkit on a model, and the state that keeps it: a run that was stopped goes on behind it.

Decides: that a row counts for one setting, one lock, one version of the programs and of our passes, one model with its
samples, and one processor; that its file is kept beside it, so that times can be taken again; and that times count for
all files of a model together. Leaves out: measuring.
"""

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

BASELINE = "fp32"


@dataclass(frozen=True)
class Row:
    """because: why there is nothing; what was measured is null then. score: accuracy, R2, or where nothing is labelled
    the agreement with fp32's first class, with `right` of `samples`; seen_score: on samples of the calibration set.
    sure: of the `sure_samples` that fp32 is sure of (0.5 or more). time_ratio: of fp32's time in the same process,
    `time_low` to `time_high` over processes. took_s, peak_bytes: of compressing, the toolkit's process as a whole.
    file: its name in the state; null: fp32's own. sha256: of what is in it."""

    model: str
    toolkit: str
    setting: str
    form: str = "onnx"
    because: str = ""
    labelled: bool = True
    score: float | None = None
    right: int | None = None
    samples: int = 0
    seen_score: float | None = None
    sure: int | None = None
    sure_samples: int | None = None
    sqnr_db: float | None = None
    disk_bytes: int | None = None
    gzip_bytes: int | None = None
    wire_bytes: int | None = None
    wire_ratio: float | None = None
    p50_ms: float | None = None
    time_ratio: float | None = None
    time_low: float | None = None
    time_high: float | None = None
    untimed: str = ""
    took_s: float | None = None
    peak_bytes: int | None = None
    base_bytes: int | None = None
    notes: tuple[str, ...] = ()
    file: str | None = None
    sha256: str | None = None

    @property
    def name(self) -> str:
        return f"{self.toolkit}: {self.setting}"

    @property
    def is_whole(self) -> bool:
        """Whether everything that fronts are made of was measured."""
        return None not in (self.score, self.wire_bytes, self.time_ratio)

    def counted(self) -> str:
        """Return the score as people read it."""
        if self.right is not None:
            return f"{self.right} of {self.samples}"
        return "" if self.score is None else f"R2 {self.score:.4f}"


class State:
    """A folder: rows a line each, files, and the times of each model."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._rows: dict[str, dict[str, Any]] = _read(folder / "rows.jsonl")
        self._times: dict[str, dict[str, Any]] = _read(folder / "times.jsonl")
        (folder / "files").mkdir(parents=True, exist_ok=True)

    def row(self, key: str) -> Row | None:
        """Return a kept row, or null where there is none or its file is gone."""
        found = self._rows.get(key)
        if found is None or (found["file"] and not self.file(found["file"]).is_file()):
            return None
        return Row(**{**found, "notes": tuple(found["notes"])})

    def keep(self, key: str, row: Row) -> None:
        """Keep a row, on the disk when this returns."""
        self._rows[key] = asdict(row)
        _append(self.folder / "rows.jsonl", key, self._rows[key])

    def file(self, name: str) -> Path:
        """Return where a toolkit's file is."""
        return self.folder / "files" / name

    def times(self, key: str) -> list[dict[str, Any]] | None:
        """Return the times of a model's files, in their order, or null."""
        found = self._times.get(key)
        return None if found is None else list(found["times"])

    def keep_times(self, key: str, times: Sequence[dict[str, Any]]) -> None:
        """Keep the times of a model's files."""
        self._times[key] = {"times": list(times)}
        _append(self.folder / "times.jsonl", key, self._times[key])


def with_times(rows: Sequence[Row], times: Sequence[dict[str, Any]]) -> list[Row]:
    """Return rows with their times entered; those without a variant take none."""
    left = iter(times)
    return [row if row.because else replace(row, **next(left)) for row in rows]


def _read(path: Path) -> dict[str, dict[str, Any]]:
    """Return what was kept by key, the last line of a key counting."""
    if not path.exists():
        return {}
    found: dict[str, dict[str, Any]] = {}
    for line in path.read_text().splitlines():
        with suppress(ValueError):  # a kill left half a line: what it was for is measured again
            each = json.loads(line)
            found[each.pop("key")] = each
    return found


def _append(path: Path, key: str, row: Mapping[str, Any]) -> None:
    """Add a line in one piece, so that runs of different models can share a state."""
    line = json.dumps({"key": key, **row}, sort_keys=True)
    with path.open("a") as file:
        file.write(f"\n{line}\n")
        file.flush()
        os.fsync(file.fileno())
