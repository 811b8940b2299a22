"""A kernel's forms (Python, library, object through llvmlite, numba) give the same bits; the lightest one is used."""

import copy
import ctypes
import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.errors import EngineFailed
from agent.inference.kept import DIGESTS_NAME, LIBRARY_NAME, OBJECT_NAME
from agent.inference.kernels import compiled, library, native
from agent.inference.kernels.compiled import KERNELS
from agent.inference.kernels.signature import Argument, Signature
from agent.warm import ensure_warm, read_report
from tests.unit.agent.inference.forms_child import SIZES, outcome

ROOT = Path(__file__).parents[4]
FORMS = {
    "library": ((), []),
    "llvmlite": ((LIBRARY_NAME,), ["llvmlite"]),
    "numba": ((LIBRARY_NAME, OBJECT_NAME), ["llvmlite", "numba"]),
}
"""Form -> what is missing on the device, and which packages the process then has to import."""


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A copy of the warm folder, to be damaged."""
    return Path(shutil.copytree(ensure_warm(), tmp_path / "kernels"))


def in_a_child(folder: Path, **settings: str) -> dict[str, Any]:
    """Return what the kernels in `folder` give in a fresh process."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(folder), "PYTHONPATH": str(ROOT), **settings}
    command = [sys.executable, "-m", "tests.unit.agent.inference.forms_child"]
    # To compile all kernels takes more than a minute of a processor, which tests share.
    ended = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, check=False, timeout=600)
    assert ended.returncode == 0, ended.stderr.decode()
    told: dict[str, Any] = json.loads(ended.stdout)
    return {**told, "stderr": ended.stderr.decode()}


def without(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).unlink()
    return folder


@pytest.fixture(scope="module")
def by_library() -> dict[str, Any]:
    return in_a_child(ensure_warm())


@pytest.mark.parametrize("form", ["library", "llvmlite", pytest.param("numba", marks=pytest.mark.long)])
def test_each_form_gives_the_same_bits_and_imports_no_more_than_it_needs(
    form: str, kept: Path, by_library: dict[str, Any]
) -> None:
    missing, imported = FORMS[form]
    told = in_a_child(without(kept, *missing))
    assert (told["form"], told["imported"]) == (form, imported)
    assert set(told["results"]) == set(KERNELS)
    for name, results in told["results"].items():
        assert results == by_library["results"][name], name


@pytest.mark.parametrize("name", sorted(KERNELS))
def test_the_python_source_is_what_was_compiled(name: str, by_library: dict[str, Any]) -> None:
    results = [outcome(name, KERNELS[name].python, size, size) for size in SIZES]
    assert results == by_library["results"][name]


def spoilt(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


@pytest.mark.parametrize("damage", [spoilt, cut_short])
def test_a_damaged_library_is_named_and_the_object_takes_over(
    damage: Callable[[Path], None], kept: Path, by_library: dict[str, Any]
) -> None:
    damage(kept / LIBRARY_NAME)
    told = in_a_child(kept)
    assert (told["form"], told["results"]) == ("llvmlite", by_library["results"])
    assert f"{kept / LIBRARY_NAME}: it differs from its digest" in told["stderr"]


def signed(folder: Path, name: str, content: bytes) -> None:
    """Put a file into the folder as if `agent warm` had made it."""
    (folder / name).write_bytes(content)
    with (folder / DIGESTS_NAME).open("a") as digests:
        digests.write(f"{hashlib.sha256(content).hexdigest()}  {name}\n")


@pytest.mark.parametrize("name", [LIBRARY_NAME, OBJECT_NAME])
def test_what_no_loader_takes_is_named(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    signed(tmp_path, name, b"\x7fELF, for another processor")
    with caplog.at_level(logging.WARNING):
        assert native.open_code(tmp_path) is None
    assert str(tmp_path / name) in caplog.text
    assert "agent warm --force" in caplog.text


@pytest.mark.long
def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path, by_library: dict[str, Any]) -> None:
    (tmp_path / "kernels").write_text("a file where a folder belongs")
    told = in_a_child(tmp_path / "kernels", NUMBA_CACHE_LOCATOR_CLASSES="UserProvidedCacheLocator")
    assert (told["form"], told["results"]) == ("numba", by_library["results"])
    assert "kernel top_k is compiled anew in each process" in told["stderr"]


def test_a_process_that_called_no_kernel_has_no_form() -> None:
    code = (
        "import agent.inference.pipeline; from agent.inference.kernels import compiled; print(compiled.loaded_form())"
    )
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True, text=True)
    assert told.stdout == "none\n"


def unloaded(name: str) -> compiled.Kernel[Any, Any]:
    """Return a kernel that has to be loaded: other tests may have had this process load it by numba."""
    fresh = copy.copy(KERNELS[name])
    fresh._native = fresh._numba = None
    return fresh


def test_the_form_that_is_loaded_is_told() -> None:
    assert unloaded("top_k").load() == "library"
    assert "library" in compiled.loaded_form().split("+"), "other tests may have had this process load others by numba"


def test_a_bound_kernel_reads_its_buffers_anew() -> None:
    scores, out = np.array([1.0, 3.0], dtype=np.float32), np.zeros(1, dtype=np.int64)
    call = KERNELS["top_k"].bind(scores, out)
    call()
    first = int(out[0])
    scores[0] = 9.0
    call()
    assert (first, int(out[0])) == (1, 0)


@pytest.mark.parametrize(
    "wrong",
    [np.zeros(2, dtype=np.float64), np.zeros((2, 2), dtype=np.float32), np.zeros(4, dtype=np.float32)[::2]],
    ids=["dtype", "axes", "strided"],
)
def test_an_array_that_c_would_misread_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match="contiguous"):
        unloaded("softmax")(wrong, np.zeros(2, dtype=np.float32))


def test_signatures_are_read() -> None:
    signature = Signature.parse("int64(float64[:, ::1], int64, int8[::1])")
    assert signature.result == "int64"
    assert signature.arguments == (Argument("float64", 2), Argument("int64", 0), Argument("int8", 1))


def test_nothing_of_numba_or_python_stays_open_in_the_library() -> None:
    """Another process has neither: what is open must come from the C library."""
    content = (ensure_warm() / LIBRARY_NAME).read_bytes()
    assert [name for name in (b"NRT_", b"PyErr_", b"numba_gil") if name in content] == []
    ctypes.CDLL(str(ensure_warm() / LIBRARY_NAME), mode=os.RTLD_NOW)


def test_warming_found_every_kernel_and_filled_no_cache_that_nobody_needs() -> None:
    report = read_report(ensure_warm())
    assert report is not None
    assert report.compiled_s == {}
    assert (report.cache_hits, report.cache_misses, report.form, report.refused) == (len(KERNELS), 0, "library", "")


def test_without_a_linker_only_the_object_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "LINKERS", ())
    monkeypatch.setattr(library, "object_code", lambda _: (ensure_warm() / OBJECT_NAME).read_bytes())
    (tmp_path / LIBRARY_NAME).write_bytes(b"of an earlier time")
    assert "no linker" in library.keep_kernels(tmp_path)
    code = native.open_code(tmp_path)
    assert code is not None
    assert code.form == "llvmlite"
    assert sorted(path.name for path in tmp_path.iterdir()) == [OBJECT_NAME, DIGESTS_NAME]


def test_a_linker_that_refuses_is_quoted(tmp_path: Path) -> None:
    (tmp_path / "kernels.o").write_bytes(b"no object")
    with pytest.raises(EngineFailed, match=r"cannot be linked: .*cc"):
        library.link(tmp_path / "kernels.o", tmp_path / "kernels.so")
    assert not (tmp_path / "kernels.so").exists()
