"""What the tests of series share: arrays made by hypothesis, and specifications."""

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from agent.inference.pre import Place
from agent.inference.pre.series import Series
from wire.spec import SeriesPre, TensorSpec

Doubles = NDArray[np.float64]
finite = st.floats(-1e6, 1e6, allow_nan=False)
shapes = st.tuples(st.integers(1, 3), st.integers(1, 40))
series = shapes.flatmap(lambda shape: hnp.arrays(np.float64, shape, elements=finite))


def series_pre(channels: int = 2, length: int = 5, **fields: Any) -> SeriesPre:
    """Return a specification of a series with a float32 input."""
    tensor = TensorSpec(name="x", shape=(-1, channels, length))
    return SeriesPre.model_validate({"channels": channels, "length": length, "input": tensor, **fields})


def made(pre: SeriesPre, **place: Any) -> Series:
    """Return the device's pre-processing for it."""
    return Series(pre, Place({"x": pre.input.shape}, **place))


def made_up(channels: int, length: int, beyond: int, seed: int) -> Doubles:
    return np.random.default_rng(seed).normal(size=(channels, length + beyond))


def windows_of(values: Doubles, length: int, hop: int) -> Doubles:
    """Return the windows, shape (windows, channels, length)."""
    view = np.lib.stride_tricks.sliding_window_view(values, length, axis=1)[:, ::hop]
    return np.ascontiguousarray(view.transpose(1, 0, 2))
