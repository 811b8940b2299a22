"""What both searches get, read from the committed file: model, classes, seeds, variants, device-minutes.

Decides: nothing; the numbers stand in `fleet_seeds.json`, which was written before the first run.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).resolve().parent.parent / "fleet_seeds.json"


@dataclass(frozen=True)
class Rules:
    """The comparison. classes: class -> the demo's device that stands for it. device_minutes: of either search, all
    classes together. final_sittings: in which the picks are measured beside each other at the end."""

    model: str
    classes: Mapping[str, str]
    seeds: tuple[int, ...]
    variants: int
    device_minutes: float
    max_drop: float
    budget: str
    grade: str
    final_sittings: int


def read_rules(quick: bool) -> Rules:
    """Return the rules of the whole run, or of the quick one."""
    found = json.loads(FILE.read_text(encoding="utf-8"))["quick" if quick else "whole"]
    return Rules(**{**found, "seeds": tuple(found["seeds"])})
