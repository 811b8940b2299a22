"""Times of rows that are kept, taken again: what a busy machine spoiled is not made again.

Decides: that a row is timed where its variant lies in the state whole, and is left as it is otherwise.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.compression.rows import Row, Shelf, load
from benchmarks.compression.techniques import Bench, Judge, Say, judge_of, row_keys
from controller.compress.cache import Entry, PassCache
from controller.compress.recipe import Recipe
from controller.compress.variant import FailedVariant, Variant
from controller.errors import UnusableModel


class KeptOnly(PassCache):
    """A cache that makes nothing."""

    def get_or_make(self, key: str, make: Callable[[Path], Mapping[str, Any]]) -> Entry:  # noqa: ARG002
        """Return the entry of `key`.

        Raises:
            UnusableModel: There is none.
        """
        if found := self.get(key):
            return found
        raise UnusableModel("not kept: run the benchmark without --times-only")


def retimed_rows(name: str, bench: Bench, shelf: Shelf, say: Say) -> Iterator[Row]:
    """Yield the kept rows of a model, with the times of now where their variants are kept; nothing is made."""
    judge = judge_of(name, bench)
    for recipe, key in row_keys(name, judge):
        row = shelf.row(key)
        if row is None:
            continue
        variant = row.because or _kept(judge, recipe)
        if isinstance(variant, Variant):
            row = replace(row, load=load(), **judge.times(variant))
            shelf.keep(key, row)
        say(f"{name}: {row.recipe}: {row.time_text() if isinstance(variant, Variant) else f'as it was: {variant}'}")
        yield row


def _kept(judge: Judge, recipe: Recipe | None) -> Variant | str:
    """Return the variant of a recipe from the state, or why it is not there."""
    if recipe is None:
        return judge.baseline
    try:
        found = judge.made(recipe, KeptOnly(judge.bench.cache.root))
    except UnusableModel as exc:
        return str(exc)
    return found.because if isinstance(found, FailedVariant) else found
