"""A class's engines side by side: the best that each reached on the class's own devices. Pure.

Decides: which variant stands for an engine: the chosen one where it is the engine's, else the fastest that counts.
Leaves out: the choice itself (`controller/choose`), which compares variants and not engines.
"""

from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]


def with_engines(rows: Sequence[Row], engines: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the `measured` of a choice, each row with its engine.

    Args:
        rows: As the choice keeps them.
        engines: Variant -> engine; a variant that it lacks has none.
    """
    return [{**row, "engine": engines.get(str(row["variant"]))} for row in rows]


def engines_side_by_side(choice: Row) -> list[dict[str, Any]]:
    """Return an entry for each engine that a class measured, the fastest first.

    Args:
        choice: An entry of the report's `choices`, whose measured rows have their engine.
    Returns:
        `engine`, `measured` (how many variants), `variant` (which stands for the engine; None where none counts),
        `p50_ms`, `speed_up`, `score`, `chosen`, and `because`: why it was not chosen.
    """
    rows = choice["measured"]
    found = [_entry(engine, choice) for engine in dict.fromkeys(row["engine"] for row in rows if row["engine"])]
    return sorted(found, key=lambda entry: (entry["p50_ms"] is None, entry["p50_ms"], entry["engine"]))


def _entry(engine: str, choice: Row) -> dict[str, Any]:
    mine = [row for row in choice["measured"] if row["engine"] == engine]
    usable = [row for row in mine if row.get("excluded") is None and row.get("p50_ms") is not None]
    best = next((row for row in usable if row["variant"] == choice["variant"]), None)
    best = best or min(usable, key=lambda row: (row["p50_ms"], row["variant"]), default=None)
    name = None if best is None else best["variant"]
    known = {key: None if best is None else best.get(key) for key in ("p50_ms", "speed_up", "score")}
    return {
        "engine": engine,
        "measured": len(mine),
        "variant": name,
        **known,
        "chosen": name is not None and name == choice["variant"],
        "because": choice.get("rejected", {}).get(name) if name is not None else mine[0].get("excluded"),
    }
