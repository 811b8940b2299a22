"""A cache that writes down what it was asked for: which results were made, and which were there.

Decides: the record's form, a JSON line for each question: `{"key", "hit", "at_s"}`. Written after a result is kept, so
that a killed search leaves at most one result that nobody has written down. Leaves out: the results (`cache.py`).

    RecordedCache(root, Path("cache.jsonl")).get_or_make(key, make)
"""

import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from controller.compress.cache import Entry, PassCache


class RecordedCache(PassCache):
    """Keeps results like any cache, under the same keys."""

    def __init__(self, root: Path, record: Path) -> None:
        super().__init__(root)
        self.record = record
        record.parent.mkdir(parents=True, exist_ok=True)

    def get_or_make(self, key: str, make: Callable[[Path], Mapping[str, Any]]) -> Entry:
        entry = super().get_or_make(key, make)
        line = json.dumps({"key": key, "hit": entry.hit, "at_s": round(time.time(), 3)})
        file = os.open(self.record, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(file, f"{line}\n".encode())  # one write, so that lines of several threads do not mix
        finally:
            os.close(file)
        return entry


def read_record(path: Path) -> list[dict[str, Any]]:
    """Return the record's lines; a last one that was cut short is left out."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line.endswith("}")]
