"""Waveforms, specifications and the pre-processing under test."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.inference.pre import Place, make_pre
from controller.models.preprocess import prepare
from wire import spec

FREE = (-1, -1, -1)


def specified(**keys: Any) -> spec.AudioPre:
    """Return a specification whose input takes any shape of three axes."""
    return spec.AudioPre.model_validate({"input": {"name": "x", "shape": FREE}, **keys})


def features(pre: spec.AudioPre, query: NDArray[Any]) -> NDArray[Any]:
    """What the agent puts into the model's input, without its batch axis (a copy)."""
    return np.array(make_pre(pre, Place({"x": pre.input.shape})).prepare(query)[0])


def reference(pre: spec.AudioPre, query: NDArray[Any]) -> NDArray[np.float32]:
    """The same in plain numpy."""
    return np.asarray(prepare(pre, query[np.newaxis])[0])


def tone(samples: int, rate_hz: int = 16_000, seed: int = 0) -> NDArray[np.float32]:
    """A rising tone in noise, over an offset."""
    time_s = np.arange(samples) / rate_hz
    noise = np.random.default_rng(seed).normal(size=samples) * 0.02
    return np.asarray(0.3 * np.sin(2 * np.pi * (200 + 1500 * time_s) * time_s) + noise + 0.01, dtype=np.float32)
