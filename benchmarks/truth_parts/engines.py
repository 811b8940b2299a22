"""Engines that do a known thing: pass a known time, or take a known amount of memory. They stand in a child process
where the product's engines stand, behind the product's own interface.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from agent.inference.engines.base import TensorInfo

MIB = 2**20


class KnownEngine:
    """Answers with zeros; what else it does, its subclasses say."""

    name = "known"
    version = "1"

    def __init__(self, options: Mapping[str, Any], threads: int) -> None:
        self.settings: Mapping[str, Any] = {**options, "intra_op_threads": threads}
        self._answer = [np.zeros((1, 4), dtype=np.float32)]

    @classmethod
    def import_library(cls) -> Any:
        """There is none."""
        return None

    @classmethod
    def compiles(cls, _options: Mapping[str, Any]) -> bool:
        """Nothing is compiled."""
        return False

    @classmethod
    def load(cls, _model: Path | bytes, options: Mapping[str, Any], threads: int) -> Self:
        """Load nothing: the model's file says nothing."""
        return cls(options, threads)

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        return (TensorInfo("x", (1, 4), "float32"),)

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        return (TensorInfo("y", (1, 4), "float32"),)

    def infer(self, _inputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """Answer with zeros."""
        return [*self._answer]

    def take_batch(self, size: int) -> None:
        """Take any size: the answer stays that of one query."""

    def reset(self) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """Nothing is open."""


class BusyEngine(KnownEngine):
    """Busy until `CLOCK_MONOTONIC_RAW` has gone on by `busy_ns`.

    The product measures with another clock, CLOCK_MONOTONIC, which the system's time service may slew by up to
    0.05 %: both cannot be wrong in the same way.
    """

    name = "busy"

    def infer(self, _inputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """Wait actively, then answer with zeros."""
        clock, raw = time.clock_gettime_ns, time.CLOCK_MONOTONIC_RAW
        ends_ns = clock(raw) + self.settings["busy_ns"]
        while clock(raw) < ends_ns:
            pass
        return self._answer


class AllocatingEngine(KnownEngine):
    """Takes `mebibytes` of memory in each inference, writes to all of it, and gives it back."""

    name = "allocating"

    def infer(self, _inputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """Take memory for as long as the inference lasts."""
        taken = np.full(self.settings["mebibytes"] * MIB, 1, dtype=np.uint8)
        del taken
        return self._answer
