"""Rows of the benchmark `compression`: kept whole, told as they are, and never empty."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest

from benchmarks.compression.rows import Row, Shelf, key_of
from benchmarks.compression.techniques import Bench, technique_claims, trains
from benchmarks.compression.times import KeptOnly
from controller.compress.cache import PassCache
from controller.compress.shipped import shipped_recipes
from controller.errors import UnusableModel
from tools.compression_table import page

ROW = Row(
    "leaf_outline", "int8", score=0.95, right=19, samples=20, sqnr_db=21.04, parameters=1000, macs=20_000,
    disk_bytes=4000, wire_bytes=3000, wire_ratio=0.25, p50_ms=0.5, time_ratio=0.5, time_low=0.4, time_high=0.625,
    made_s=2.2, load=0.3,
)  # fmt: skip
REFUSED = Row("leaf_outline", "low-rank", because="no operator | becomes smaller")


def test_rows_are_kept_by_what_decides_them(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "rows.jsonl")
    shelf.keep(key_of("leaf_outline", {"steps": 1}), ROW)
    shelf.keep(key_of("leaf_outline", {"steps": 2}), REFUSED)
    again = Shelf(tmp_path / "rows.jsonl")
    assert again.row(key_of("leaf_outline", {"steps": 1})) == ROW
    assert again.row(key_of("leaf_outline", {"steps": 2})) == REFUSED
    assert again.row(key_of("leaf_outline", {"steps": 3})) is None


def test_times_are_taken_again_of_what_is_kept_and_nothing_is_made(tmp_path: Path) -> None:
    kept = PassCache(tmp_path).get_or_make("one", lambda _folder: {"precision": "int8"})
    cache = KeptOnly(tmp_path)
    assert cache.get_or_make("one", lambda _folder: pytest.fail("it is there")).folder == kept.folder
    with pytest.raises(UnusableModel, match="without --times-only"):
        cache.get_or_make("two", lambda _folder: pytest.fail("nothing is made"))


def test_a_cell_is_a_number_or_a_reason() -> None:
    held = technique_claims([ROW, REFUSED, replace(ROW, time_ratio=None, untimed="not timed: two inputs")])
    assert [each.holds for each in held] == [True, True]
    lacking = replace(REFUSED, because="distill trains with PyTorch: run  controller model converters install torch")
    assert [each.holds for each in technique_claims([replace(ROW, time_ratio=None), lacking])] == [False, False]


def test_the_page_tells_rows_and_reasons() -> None:
    around = {"processor": "some", "cores": 2, "at": "2026-11-30T10:00:00Z"}
    claims = [asdict(each) for each in technique_claims([ROW])]
    text = page({"conditions": around, "claims": claims, "rows": [asdict(ROW), asdict(REFUSED)]})
    assert "| `int8` | 95.0 % (19 of 20) | 21.0 | 1,000 | 20,000 | 4,000 | 3,000 | 0.250 | 0.500 |" in text
    assert "2.00x [1.60, 2.50] | 2 s |" in text
    assert "| `low-rank` | no operator \\| becomes smaller |" in text


def test_quick_trains_nothing_and_the_rest_does(tmp_path: Path) -> None:
    quick, whole = ({each.name for each in Bench(tmp_path, one).recipes()} for one in (True, False))
    assert quick < whole
    assert whole - quick == {name for name, each in shipped_recipes().items() if trains(each)}
    assert "channels-half-distilled" in whole
    assert "executorch-int8" not in whole
