"""Points outlive the search that measured them."""

from pathlib import Path

from controller.compress.search.table.fit import Trained
from controller.compress.search.table.shelf import Shelf

POINT = Trained({"query": 1.0}, 1.0, 2.0, "g", 3.0)


def test_what_is_kept_is_there_for_the_next_search(tmp_path: Path) -> None:
    path = tmp_path / "latency" / "yard.jsonl"
    shelf = Shelf(path)
    shelf.keep("pi", "leaf@1/onnx-a", POINT)
    shelf.keep("pi", "leaf@1/onnx-a", POINT)
    shelf.keep("jetson", "leaf@1/onnx-a", POINT)
    again = Shelf(path)
    assert again.points("pi") == [POINT]
    assert again.points("nobody") == []
    assert (again.control_ms("pi", "leaf@1"), again.control_ms("pi", "other@1")) == (3.0, None)
    assert len(path.read_text().splitlines()) == 2


def test_the_last_word_on_a_variant_counts_and_a_line_that_was_cut_short_does_not(tmp_path: Path) -> None:
    path = tmp_path / "yard.jsonl"
    shelf = Shelf(path)
    shelf.keep("pi", "leaf@1/onnx-a", POINT)
    newer = Trained({"query": 1.0}, 1.0, 2.5)
    shelf.keep("pi", "leaf@1/onnx-a", newer)
    path.write_text(path.read_text() + '{"class": "pi", "na')
    again = Shelf(path)
    assert again.points("pi") == [newer]
    again.keep("pi", "leaf@1/onnx-b", POINT)
    assert Shelf(path).points("pi") == [newer, POINT]
