"""A call whose first argument comes anew each time: a picture is never copied into a buffer of ours."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.inference.kernels.compiled import Kernel
from agent.inference.kernels.image.copied import resize_nearest
from tests.unit.agent.inference.image.kit import picture


def bound(kernel: Kernel[..., None]) -> tuple[Any, Any]:
    """Return the call that takes a picture of 2 rows and 3 columns as it is, and its planes."""
    planes = np.zeros((3, 2, 3), dtype=np.uint8)
    return kernel.bind_rest(np.array([9]), np.arange(3) * 3, np.arange(2), planes), planes


def frozen(pixels: Any) -> Any:
    return np.frombuffer(pixels.tobytes(), dtype=np.uint8)


def test_each_call_takes_its_own_array() -> None:
    call, planes = bound(resize_nearest)
    for seed in (1, 2, 3):
        pixels = picture(2, 3, seed=seed)
        call(pixels.reshape(-1))
        assert planes.transpose(1, 2, 0).tolist() == pixels.tolist()


def test_what_c_would_misread_is_refused_at_every_call() -> None:
    call, _ = bound(resize_nearest)
    call(picture(2, 3).reshape(-1))
    for wrong in (np.zeros(18), picture(2, 3), np.zeros(36, dtype=np.uint8)[::2]):
        with pytest.raises(TypeError, match="contiguous"):
            call(wrong)


def test_arrays_that_are_read_only_are_taken_in_every_form(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pixels = picture(2, 3)
    for form in ("library", "numba"):
        if form == "numba":
            monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
        fresh: Kernel[..., None] = Kernel(resize_nearest.python, resize_nearest.signature.text)
        call, planes = bound(fresh)
        call(frozen(pixels))
        assert fresh.load() == form
        assert planes.transpose(1, 2, 0).tolist() == pixels.tolist()
