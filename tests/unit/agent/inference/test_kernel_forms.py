"""A kernel's three forms (Python, numba, linked library) give the same bits, and the cache is really used."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.errors import EngineFailed
from agent.inference.kernels import library
from agent.inference.kernels.compiled import KERNELS, LIBRARY_NAME
from agent.inference.kernels.signature import Argument, Signature
from agent.warm import ensure_warm


def arguments(signature: Signature, seed: int) -> list[Any]:
    """Return made-up arguments that fit together: 5 points a channel, 3 channels, scale 0.1, rules and ddof 1."""
    random = np.random.default_rng(seed)
    made: list[Any] = []
    for argument in signature.arguments:
        if argument.axes == 2:
            made.append(random.normal(size=(3, 5)) * 10)
        elif argument.axes == 1:
            size = 15 if argument.dtype in ("float32", "int8", "uint8") else 3
            values = random.uniform(1, 100, size=size)
            made.append(np.array([5, 1]) if argument.dtype == "int64" else values.astype(argument.dtype))
        else:
            made.append(0.1 if argument.dtype == "float64" else 1)
    return made


def outcome(function: Any, given: list[Any]) -> list[Any]:
    result = function(*given)
    return [result, *(value.tobytes() for value in given if isinstance(value, np.ndarray))]


def rescaled_to_fit(name: str, given: list[Any]) -> list[Any]:
    return [given[0][:3].copy(), *given[1:]] if name == "rescale" else given


@pytest.mark.parametrize("name", sorted(KERNELS))
def test_all_forms_agree_to_the_bit(name: str) -> None:
    kernel = KERNELS[name]
    results = []
    for function in (kernel.python, kernel, kernel.dispatcher()):
        results.append(outcome(function, rescaled_to_fit(name, arguments(kernel.signature, seed=1))))
    assert kernel.load() == "library"
    assert results[0] == results[1] == results[2]


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
        KERNELS["softmax"](wrong, np.zeros(2, dtype=np.float32))


def test_signatures_are_read() -> None:
    signature = Signature.parse("int64(float64[:, ::1], int64, int8[::1])")
    assert signature.result == "int64"
    assert signature.arguments == (Argument("float64", 2), Argument("int64", 0), Argument("int8", 1))


def test_warming_found_every_kernel_in_the_cache() -> None:
    report = json.loads((ensure_warm() / "warm.json").read_text())
    assert set(report["compiled_s"]) == set(KERNELS)
    assert (report["cache_hits"], report["cache_misses"], report["library"]) == (len(KERNELS), 0, True)


def test_without_a_linker_numba_takes_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "LINKERS", ())
    monkeypatch.setattr(library, "KERNELS", {})
    with pytest.raises(EngineFailed, match="no linker"):
        library.build_library(tmp_path)
    assert not (tmp_path / LIBRARY_NAME).exists()
    monkeypatch.setitem(os.environ, "NUMBA_CACHE_DIR", str(tmp_path))
    kernel = KERNELS["top_k"]
    fresh = type(kernel)(kernel.python, kernel.signature.text)
    assert fresh.load() == "numba"
