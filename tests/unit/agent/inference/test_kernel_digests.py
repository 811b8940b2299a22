"""Machine code of other sources is never called: not that of another signature, nor of another body."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest

from agent import warm as warming
from agent.errors import EngineFailed
from agent.inference.kept import DIGESTS_NAME, LIBRARY_NAME, OBJECT_NAME
from agent.inference.kernels import library, native
from agent.inference.kernels.compiled import KERNELS, Kernel
from agent.inference.limits import kernel_folder

ROOT = Path(__file__).parents[4]
SOFTMAX, SIGMOID = KERNELS["softmax"], KERNELS["sigmoid"]


def with_globals(python: Callable[..., Any], **changed: Any) -> Any:
    """Return the function as it would be in a module with other globals."""
    made = FunctionType(python.__code__, {**python.__globals__, **changed}, python.__name__)
    made.__doc__ = python.__doc__
    return made


def of_another_softmax(scores: Any, out: Any) -> None:
    for index in range(scores.shape[0]):
        out[index] = 0.5


def as_kernel(python: Any, signature: str, name: str) -> Kernel[Any, Any]:
    python = FunctionType(python.__code__, python.__globals__, name)
    return Kernel(python, signature)


@pytest.fixture(scope="module")
def stale(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real library, and its object, made when `softmax` was another and `sigmoid` took float64; `cast` is missing."""
    folder = tmp_path_factory.mktemp("stale")
    older = {
        "softmax": as_kernel(of_another_softmax, SOFTMAX.signature.text, "softmax"),
        "sigmoid": Kernel(SIGMOID.python, "void(float64[::1], float32[::1])"),
        "top_k": KERNELS["top_k"],
    }
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(library, "KERNELS", older)
        assert library.keep_kernels(folder) == ""
    return folder


@pytest.mark.parametrize("form", ["library", "llvmlite"])
def test_what_was_made_of_other_sources_is_not_taken(
    form: str, stale: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = [OBJECT_NAME] if form == "llvmlite" else [LIBRARY_NAME, OBJECT_NAME]
    for name in [*names, DIGESTS_NAME]:
        (tmp_path / name).write_bytes((stale / name).read_bytes())
    code = native.open_code(tmp_path)
    assert code is not None
    assert code.form == form
    assert code.address("top_k", KERNELS["top_k"].made_of()) is not None
    with caplog.at_level(logging.WARNING):
        for name in ("softmax", "sigmoid", "write_float32"):
            assert code.address(name, KERNELS[name].made_of()) is None
    said = [record.getMessage() for record in caplog.records]
    assert ["softmax" in said[0], "sigmoid" in said[1], "write_float32" in said[2]] == [True] * 3
    assert all("agent warm --force" in line for line in said)
    assert "was made of other sources" in said[0] and "was made of other sources" in said[1]  # noqa: PT018
    assert "is not in it" in said[2]


CALLED = """
import numpy as np
from agent.inference.kernels.classify import sigmoid, softmax, top_k
scores, out, best = np.array([1.0, 3.0, 2.0], np.float32), np.zeros(3, np.float32), np.zeros(1, np.int64)
softmax(scores, out)
print(*out.round(4))
sigmoid(scores, out)
print(*out.round(4))
top_k(scores, best)
print(*best, softmax.load(), sigmoid.load(), top_k.load())
"""


def test_a_process_that_finds_them_compiles_what_it_runs_itself(stale: Path) -> None:
    """The process that would have corrupted its memory. It imports numba, hence its seconds."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(stale), "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [sys.executable, "-c", CALLED], env=environment, capture_output=True, check=True, text=True, timeout=120
    )
    assert ended.stdout.splitlines() == [
        "0.09 0.6652 0.2447",
        "0.7311 0.9526 0.8808",
        "1 numba numba library",
    ]
    assert "kernel softmax is not taken from" in ended.stderr
    assert {path.name for path in stale.iterdir()} == {LIBRARY_NAME, OBJECT_NAME, DIGESTS_NAME}


def test_a_digest_tells_signature_code_callees_and_constants_apart() -> None:
    best, cut = KERNELS["top_k"], KERNELS["cut_blocks"]
    sink = best.python.__globals__["sink"]
    others = [
        Kernel(best.python, "void(float64[::1], int64[::1])"),
        Kernel(of_another_softmax, SOFTMAX.signature.text),
        Kernel(with_globals(best.python, sink=with_globals(sink, better=of_another_softmax)), best.signature.text),
        Kernel(with_globals(cut.python, AT_ONCE=16), cut.signature.text),
    ]
    digests = [kernel.made_of() for kernel in (best, cut, SOFTMAX, SIGMOID, *others)]
    assert len(set(digests)) == len(digests)
    assert Kernel(with_globals(best.python, sink=with_globals(sink)), best.signature.text).made_of() == best.made_of()


def test_every_process_finds_the_same_digests() -> None:
    code = (
        "from agent.inference.kernels.library import SOURCES\n"
        "from agent.inference.kernels.compiled import KERNELS\n"
        "print(*sorted(kernel.made_of() for kernel in KERNELS.values()))"
    )
    told = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert told[0] == told[1]
    assert len(set(told[0].split())) == len(KERNELS)


def test_files_that_were_replaced_while_kernels_were_compiled_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = {"folder": str(tmp_path / "of other sources"), "kept_s": 1.0, "refused": ""}
    found = {"form": "library", "cache_hits": 1, "cache_misses": 0, "load_ms": 1.0}
    monkeypatch.setattr(warming, "_child", lambda step, _: made if step == "compile" else found)
    with pytest.raises(EngineFailed, match="files were replaced; start again"):
        warming.ensure_warm(tmp_path)
    assert not (kernel_folder(tmp_path) / warming.REPORT_NAME).exists()


def test_warming_does_not_end_well_over_a_stale_library(stale: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", CHECKED, str(stale)], cwd=ROOT, capture_output=True, check=False, text=True, timeout=120
    )
    assert ended.returncode != 0
    assert "files were replaced while its kernels were compiled" in ended.stderr


CHECKED = """
import os, sys
os.environ["NUMBA_CACHE_DIR"] = sys.argv[1]
from agent.inference.kernels import build
build.KERNELS = {name: build.KERNELS[name] for name in ("softmax", "top_k")}
build.check_all()
"""
