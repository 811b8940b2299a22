"""Whose turn it is, and when both have had enough. Pure: it knows two sides, and neither processes nor clocks.

Turns go A B, B A, A B, …: over two pairs both sides have the same mean place in time, and each is as often the one
whose caches the other has just used. It ends after whole fours only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

LOCK_STEP = "lock_step"
"""Where a replicate's conditions say that it took turns: `session` and `round`, with whom; `samples`, how many of its
timed samples are of each turn; `rewarm_ns`, what was spent at the begin of each and is in no sample; `begin_us`, when
each began since the first; `block_s`, how long one was to be."""

READY = "ready"
"""What a worker says once it is warm, and waits."""

TURN_OVER = "turn_over"
GO, END = "go", "end"
"""What it is told, a word a line: take a turn, or leave the result. The end of its stdin is an end as well."""


@dataclass(frozen=True)
class Said:
    """What a side says after a turn: `enough` of the grade's runs and seconds, `full` where it takes no more."""

    enough: bool
    full: bool = False


class Side(Protocol):
    """One that takes turns. Between them it does nothing: it waits to be told, and does not look for it."""

    def turn(self) -> Said:
        """Take a turn, and return once it is over; raise what ends the round."""


def alternate(first: Side, second: Side) -> None:
    """Let both take turns until both have enough, or one is full."""
    pairs = 0
    while True:
        said = [side.turn() for side in _order(first, second, pairs)]
        pairs += 1
        if pairs % 2 == 0 and (all(one.enough for one in said) or any(one.full for one in said)):
            return


def _order(first: Side, second: Side, pairs: int) -> Sequence[Side]:
    return (first, second) if pairs % 2 == 0 else (second, first)
