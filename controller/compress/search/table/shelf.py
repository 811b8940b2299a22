"""The points of latency tables, kept from search to search: a JSON line for each variant that a class measured.

Decides: the file's form. Leaves out: what is learned of it (`fit.py`). One file for a fleet; lines of other models
count too, since operators cost what they cost. Of a variant that is there twice the last line counts.

    shelf = Shelf(workspace / "latency" / "farm.jsonl")
    shelf.keep("pi-5", "leaf_outline@1/onnx-int8", point)
"""

import json
from dataclasses import asdict
from pathlib import Path

from controller.compress.search.table.fit import Trained


class Shelf:
    """The kept points of one fleet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._points: dict[tuple[str, str], Trained] = {}
        for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
            if line.endswith("}"):  # a last line that was cut short is no line
                found = json.loads(line)
                self._points[found["class"], found["name"]] = Trained(**found["point"])

    def points(self, device_class: str) -> list[Trained]:
        """Return what a class measured, in all searches."""
        return [point for (name, _), point in self._points.items() if name == device_class]

    def control_ms(self, device_class: str, model: str) -> float | None:
        """Return what a class last took for a model's control [ms]; None where it never measured it."""
        found = [
            point.control_ms
            for (name, variant), point in self._points.items()
            if name == device_class and variant.startswith(f"{model}/")
        ]
        return found[-1] if found else None

    def keep(self, device_class: str, name: str, point: Trained) -> None:
        """Keep what a class measured of a variant; the same twice is written once."""
        if self._points.get((device_class, name)) == point:
            return
        self._points[device_class, name] = point
        self._path.parent.mkdir(parents=True, exist_ok=True)
        whole = self._path.is_file() and not self._path.read_bytes().endswith(b"\n")
        line = json.dumps({"class": device_class, "name": name, "point": asdict(point)})
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"\n{line}\n" if whole else f"{line}\n")
