"""Run every kernel on made-up arguments in this fresh process and print what came out.

python -m tests.unit.agent.inference.forms_child        NUMBA_CACHE_DIR names the folder with the kernels
"""

import hashlib
import json
import sys
from typing import Any

import numpy as np

from agent.inference.kernels.compiled import KERNELS, loaded_form
from agent.inference.kernels.library import SOURCES
from agent.inference.kernels.signature import Signature
from tests.unit.agent.inference.audio import forms as audio
from tests.unit.agent.inference.image import forms as image
from tests.unit.agent.inference.post import forms as post
from tests.unit.agent.inference.series import forms as series

assert SOURCES  # importing them has registered their kernels
MADE = {**audio.MADE, **image.MADE, **post.MADE, **series.MADE}
"""Kernel -> (points, seed) -> its arguments, where those below do not fit."""
SIZES = (1, 2, 5, 16, 67)
"""Points a channel: below, at and beyond what a processor does in one step."""


def arguments(signature: Signature, points: int, seed: int) -> list[Any]:
    """Return made-up arguments that fit together: 3 channels, scale 0.1, rules and ddof 1."""
    random = np.random.default_rng(seed)
    made: list[Any] = []
    for argument in signature.arguments:
        if argument.axes == 2:
            made.append(random.normal(size=(3, points)) * 10)
        elif argument.axes == 1:
            size = 3 * points if argument.dtype in ("float32", "int8", "uint8") else 3
            values = random.uniform(1, 100, size=size)
            made.append(np.array([points, 1]) if argument.dtype == "int64" else values.astype(argument.dtype))
        else:
            made.append(0.1 if argument.dtype == "float64" else 1)
    return made


def fitting(name: str, given: list[Any]) -> list[Any]:
    """Return the arguments as one kernel needs them, and holes where a kernel repairs some."""
    if name == "rescale":
        return [given[0][:3].copy(), *given[1:]]
    if name == "top_k":
        return [given[0], np.zeros(min(3, given[0].size), dtype=np.int64)]
    if name in ("write_float32", "write_int8", "write_uint8", "window_statistics"):
        place = 3 if name == "window_statistics" else 1
        return [*given[:place], np.abs(np.random.default_rng(3).normal(size=(3, 3))) + 0.5, *given[place + 1 :]]
    if name.startswith("repair"):
        given[0].reshape(-1)[1::4] = np.nan
    return given


def outcome(name: str, function: Any, points: int, seed: int) -> list[Any]:
    """Return what `function` gives and leaves in its arrays, as text that differs where one bit does."""
    made = MADE.get(name)
    given = fitting(name, arguments(KERNELS[name].signature, points, seed)) if made is None else made(points, seed)
    result = function(*given)
    arrays = [hashlib.sha256(value.tobytes()).hexdigest() for value in given if isinstance(value, np.ndarray)]
    return [result, *arrays]


def main() -> None:
    """Print one JSON object."""
    results = {name: [outcome(name, kernel, size, size) for size in SIZES] for name, kernel in sorted(KERNELS.items())}
    imported = [name for name in ("llvmlite", "numba") if name in sys.modules]
    print(json.dumps({"form": loaded_form(), "imported": imported, "results": results}))


if __name__ == "__main__":
    main()
