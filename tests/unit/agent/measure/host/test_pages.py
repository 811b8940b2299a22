"""Pages dropped from memory, and looked at: on a file of our own."""

import mmap
from pathlib import Path

import pytest

from agent.measure.host import pages


def disk_file(folder: Path, size: int = 4 * 2**20) -> Path:
    path = folder / "model"
    path.write_bytes(b"x" * size)
    pages.drop([path])
    if pages.resident_ratio([path]) != 0.0:
        pytest.skip("files lie in memory here: there is no page cache to drop")
    return path


def test_what_was_read_is_in_memory_and_what_was_dropped_is_not(tmp_path: Path) -> None:
    path = disk_file(tmp_path)
    path.read_bytes()
    assert pages.resident_ratio([path]) == 1.0
    pages.drop([path])
    assert pages.resident_ratio([path]) == 0.0


def test_a_page_that_is_mapped_stays(tmp_path: Path) -> None:
    path = disk_file(tmp_path)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        assert mapped[0] == ord("x")
        pages.drop([path])
        ratio = pages.resident_ratio([path])
    assert ratio is not None
    assert ratio > 0.0


def test_nothing_to_look_at_is_null(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    assert pages.resident_ratio([]) is None
    assert pages.resident_ratio([tmp_path / "empty", tmp_path / "missing"]) is None
    pages.drop([tmp_path / "missing"])


def test_a_load_reads_the_bundle_and_its_engines_libraries(tmp_path: Path) -> None:
    (tmp_path / "golden").mkdir()
    (tmp_path / "golden/inputs.npy").write_bytes(b"1")
    (tmp_path / "model.onnx").write_bytes(b"2")
    assert set(pages.bundle_files(tmp_path)) == {tmp_path / "golden/inputs.npy", tmp_path / "model.onnx"}
    assert pages.engine_files("none such") == []
    for engine in ("onnxruntime", "litert"):
        libraries = pages.engine_files(engine)
        assert libraries, engine
        assert all(".so" in path.name for path in libraries)
