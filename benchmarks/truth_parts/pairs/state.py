"""Measured pairs in a file, a JSON line each: a long run can be stopped at any time, goes on, and can be judged later.

The first line says where and by which versions pairs were measured. Pairs of another processor, or of other versions,
do not go into the same file.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from wire.statistics import Comparison, compare_rounds

SCHEMA = 2
"""2: pairs were measured in lock-step, and are compared by their rounds. 1 was process by process."""

SAME = ("processor", "machine", "python", "packages")
"""Conditions that must be those of the first line."""

Kind = Literal["same", "slower"]


@dataclass(frozen=True)
class Pair:
    """Two bundles measured in lock-step. Medians of their processes [ns], in the order of measuring.

    kind: `same` for two bundles that are alike, `slower` where the second does 5 % more. log_ratios: log(second /
    first) of each round. flags: reason -> processes that have it. compiled: Kernels compiled in any of the timed
    processes.
    """

    kind: Kind
    number: int
    log_ratios: tuple[float, ...]
    first_ns: tuple[float, ...]
    second_ns: tuple[float, ...]
    flags: dict[str, int]
    compiled: int
    seconds: float
    at: str
    load_1m: float
    preflight: tuple[str, ...] = ()

    @property
    def comparison(self) -> Comparison:
        """Return the product's verdict on the second against the first."""
        return compare_rounds(self.log_ratios)


class OtherMachine(Exception):
    """The file's pairs were measured elsewhere, or by other versions."""


class State:
    """Pairs in the file at `path`; made where it is missing."""

    def __init__(self, path: Path, conditions: dict[str, Any] | None) -> None:
        """Read the file.

        Args:
            path: Of the file.
            conditions: Of this run, held against the file's; null where nothing will be added.
        Raises:
            OtherMachine: The file's conditions are others.
            ValueError: It is no such file.
        """
        self._path = path
        self.conditions, self.pairs = _read(path, mends=conditions is not None)
        if conditions is None:
            return
        if not self.conditions:
            self.conditions = conditions
            self._append({"schema": SCHEMA, "conditions": conditions})
        others = [name for name in SAME if self.conditions.get(name) != conditions.get(name)]
        if others:
            raise OtherMachine(f"{path} holds pairs with another {', '.join(others)}: give another --state")

    def of(self, kind: Kind) -> list[Pair]:
        """Return the pairs of one kind."""
        return [pair for pair in self.pairs if pair.kind == kind]

    def add(self, pair: Pair) -> None:
        """Keep a pair, on disk before this returns."""
        self.pairs.append(pair)
        self._append(asdict(pair))

    def _append(self, document: dict[str, Any]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(document) + "\n")
            file.flush()


def _read(path: Path, mends: bool) -> tuple[dict[str, Any], list[Pair]]:
    """Return the conditions and the pairs. A last line that was cut off does not count: its pair is measured again.

    Args:
        path: Of the file.
        mends: Whether that line is removed. Who only reads leaves it: it may be one that is being written.
    """
    if not path.exists():
        return {}, []
    content = path.read_text(encoding="utf-8")
    whole = content[: content.rfind("\n") + 1]
    if whole != content and mends:
        path.write_text(whole, encoding="utf-8")
    lines = [json.loads(line) for line in whole.splitlines()]
    if not lines:
        return {}, []
    if lines[0].get("schema") != SCHEMA:
        raise ValueError(
            f"{path} holds no pairs that were measured as this release does: its first line is of schema "
            f"{lines[0].get('schema', 'none')}, not {SCHEMA}: give another --state"
        )
    return dict(lines[0]["conditions"]), [_pair(line) for line in lines[1:]]


def _pair(line: dict[str, Any]) -> Pair:
    names = ("log_ratios", "first_ns", "second_ns", "preflight")
    listed: dict[str, Sequence[Any]] = {name: tuple(line[name]) for name in names}
    return Pair(**{**line, **listed})
