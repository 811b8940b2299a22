"""The cache's record: a line for each question, in the order of the answers."""

from pathlib import Path

from controller.compress.search.record import RecordedCache, read_record


def test_what_was_made_and_what_was_there_is_written_down(tmp_path: Path) -> None:
    cache, record = RecordedCache(tmp_path / "cache", tmp_path / "s" / "cache.jsonl"), tmp_path / "s" / "cache.jsonl"
    for key in ("a", "b", "a"):
        cache.get_or_make(key, lambda _: {})
    assert [(line["key"], line["hit"]) for line in read_record(record)] == [("a", False), ("b", False), ("a", True)]


def test_what_failed_is_not_written_down_and_a_line_cut_short_is_left_out(tmp_path: Path) -> None:
    record = tmp_path / "cache.jsonl"
    cache = RecordedCache(tmp_path / "cache", record)

    def fails(_: Path) -> dict[str, int]:
        raise ValueError("no")

    try:
        cache.get_or_make("a", fails)
    except ValueError:
        assert read_record(record) == []
    cache.get_or_make("b", lambda _: {})
    with record.open("a") as file:
        file.write('{"key": "c", "hi')
    assert [line["key"] for line in read_record(record)] == ["b"]
    assert read_record(tmp_path / "none") == []
