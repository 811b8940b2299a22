"""The host's screen: in which order variants deserve the devices' time. Pure.

Decides: a rank, lower is better: variants beyond the accuracy limit last, then smaller downloads, then closer outputs;
a second variant of the same family (engine and scheme) waits behind the first of the others, so that the devices see
different ideas; one that differs by engine options alone comes behind its plain twin. Leaves out: how many are
measured, and what is measured anyway (`controller/trial/plan`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

BEYOND_LIMIT = 100.0
SAME_FAMILY = 0.3
KNOWN_SLOW = 0.5
"""The fusion audit names operators that run several times slower than float."""
BEST_SQNR_DB = 60.0
NOISE_WEIGHT = 0.1


@dataclass(frozen=True)
class Screened:
    """What the screen sees of a variant. `loss`: of accuracy or R2 against the baseline, as seen on the host."""

    name: str
    engine: str
    recipe: Mapping[str, Any]
    wire_bytes: int
    loss: float
    sqnr_db: float | None
    known_slow: bool


def rank_variants(variants: Sequence[Screened], largest_loss: float) -> dict[str, float]:
    """Return variant -> rank.

    Args:
        variants: All but the baseline.
        largest_loss: The loosest limit on the loss of any class.
    """
    largest = max((each.wire_bytes for each in variants), default=1) or 1
    base = {each.name: _rank(each, largest, largest_loss) for each in variants}
    seen: dict[tuple[str, str], int] = {}
    ranks = {}
    for each in sorted(variants, key=lambda one: (base[one.name], _has_options(one), one.name)):
        family = _family(each)
        ranks[each.name] = base[each.name] + SAME_FAMILY * seen.get(family, 0)
        seen[family] = seen.get(family, 0) + 1
    return ranks


def _rank(each: Screened, largest: int, largest_loss: float) -> float:
    noise = 1 - min(each.sqnr_db if each.sqnr_db is not None else BEST_SQNR_DB, BEST_SQNR_DB) / BEST_SQNR_DB
    beyond = BEYOND_LIMIT * (1 + each.loss) if each.loss > largest_loss else 0.0
    return beyond + each.wire_bytes / largest + NOISE_WEIGHT * noise + (KNOWN_SLOW if each.known_slow else 0.0)


def _family(each: Screened) -> tuple[str, str]:
    steps = each.recipe.get("passes", ())
    last = next(iter(steps[-1].items())) if steps else ("", {})
    scheme = next((last[1][name] for name in ("scheme", "mode", "precision") if name in (last[1] or {})), "")
    return each.engine, f"{last[0]}:{scheme}"


def _has_options(each: Screened) -> bool:
    return any(each.recipe.get("engine_options", {}).values())
