"""How a variant came to be, in words: its recipe's passes in their order."""

from collections.abc import Mapping
from typing import Any


def lineage_of(recipe: Mapping[str, Any]) -> list[str]:
    """Return one line a pass, e.g. `quantize_static(scheme=u8s8, calibration=minmax)`; nothing for the baseline."""
    lines = []
    for step in recipe.get("passes", ()):
        for name, parameters in step.items():
            given = ", ".join(f"{key}={value}" for key, value in (parameters or {}).items() if value is not None)
            lines.append(f"{name}({given})")
    return lines
