"""What was measured of a model, kept until a run is complete: one that was stopped goes on with the next model.

Decides: that a model counts whole or not at all, and for which machine, engines and rounds. Its times are those of one
block, with the load before and after. Leaves out: the measuring (`course.py`).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from agent.inference.engines.table import TABLE
from agent.inventory import installed_version
from benchmarks.common import processor
from benchmarks.engine_parts.cells import Row, as_json
from controller.bundle.atomic import write_whole


@dataclass(frozen=True)
class Finished:
    """A model that was measured. taken: when, and the load before and after. options: times beside the defaults."""

    name: str
    rows: tuple[Row, ...]
    options: tuple[Mapping[str, Any], ...]
    taken: Mapping[str, Any]


class Shelf:
    """Finished models in a folder, for one way to run the benchmark."""

    def __init__(self, folder: Path, way: Mapping[str, Any]) -> None:
        self._folder = folder
        here = {name: installed_version(name) for entry in TABLE.values() for name in entry.packages}
        self._key = sha256(json.dumps([way, here, processor()], sort_keys=True).encode()).hexdigest()

    def read(self, name: str) -> Finished | None:
        """Return a model that was finished in the same way, or null."""
        try:
            found = json.loads(self._path(name).read_bytes())
        except (OSError, ValueError):
            return None
        if found["key"] != self._key:
            return None
        rows = tuple(Row.read(row) for row in found["rows"])
        return Finished(name, rows, tuple(found["options"]), found["taken"])

    def keep(self, one: Finished) -> None:
        """Keep a model."""
        self._folder.mkdir(parents=True, exist_ok=True)
        fields = {"rows": as_json(one.rows), "options": list(one.options), "taken": dict(one.taken)}
        write_whole(self._path(one.name), json.dumps({"key": self._key, **fields}).encode())

    def clear(self) -> None:
        """Forget all models: the next run measures anew."""
        for path in self._folder.glob("*.json"):
            path.unlink()

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"
