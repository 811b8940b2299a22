"""ExecuTorch: programs (`.pte`) with XNNPACK, through its C++ runtime and without torch.

Its Python bindings load torch, ten times the memory of the runtime itself; ADR 0029 says what else was looked at. A
program's method `forward` is run. Names of inputs and outputs are not in the file: they are `input_0`, `output_0`, and
so on. What a program is quantised with lies inside of it: inputs and outputs are what the exporter made them. A program
may keep state between calls; `reset` loads it again.
"""

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from agent.errors import BatchFixed, EngineFailed
from agent.inference.engines.base import Model, TensorInfo, checked_options, package_version, threads_of
from agent.inference.engines.bridge.library import Bridge, Handle, Tensor, open_bridge

Array = NDArray[np.generic]

NAME = "executorch"
DEFAULTS: Mapping[str, Any] = {}
XNNPACK = "XnnpackBackend"

DTYPES = {
    0: "uint8",
    1: "int8",
    2: "int16",
    3: "int32",
    4: "int64",
    5: "float16",
    6: "float32",
    7: "float64",
    11: "bool",
}
"""ExecuTorch's number -> numpy's name. Source: its portable_type/scalar_type.h."""


class ExecutorchEngine:
    """A loaded program."""

    name = NAME

    def __init__(self, bridge: Bridge, model: Model, threads: int) -> None:
        self.version = package_version(NAME) or "unknown"
        self._bridge = bridge
        self._model = model
        self._handle: Handle | None = bridge.open(model)
        self._inputs = tuple(_info("input", *each) for each in enumerate(bridge.tensors(self._handle, output=False)))
        self._outputs = tuple(_info("output", *each) for each in enumerate(bridge.tensors(self._handle, output=True)))
        used = [each for each in bridge.backends() if bridge.uses(self._handle, each)]
        self.settings: Mapping[str, Any] = {"intra_op_threads": threads, "backends": used}
        self._pointers = (ctypes.c_void_p * len(self._inputs))()

    @classmethod
    def import_library(cls) -> Any:
        """Load the runtime's libraries.

        Raises:
            EngineUnavailable: ExecuTorch is not installed, or its bridge was not compiled.
            MemoryError: The libraries do not fit.
        """
        return open_bridge()

    @classmethod
    def compiles(cls, options: Mapping[str, Any]) -> bool:  # noqa: ARG003 - there are none
        """Return False: a program was compiled when it was exported."""
        return False

    @classmethod
    def load(cls, model: Model, options: Mapping[str, Any], threads: int) -> Self:
        """Load a program.

        Raises:
            EngineUnavailable: ExecuTorch is not installed, or its bridge was not compiled.
            EngineFailed: It refuses the program or an option, or cannot have so many threads.
        """
        bridge = cls.import_library()
        checked_options(NAME, options, DEFAULTS)
        wanted = threads_of(NAME, options, threads)
        given = bridge.threads(wanted)
        if given != wanted:
            raise EngineFailed(f"executorch has {given} threads, asked for {wanted}")
        return cls(bridge, model, wanted)

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        return self._inputs

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        return self._outputs

    def infer(self, inputs: Sequence[Array]) -> list[Array]:
        """Run once on the inputs' own memory; the outputs are copies.

        Raises:
            EngineFailed: An input is not what the program takes, or the program failed.
        """
        for index, (info, array) in enumerate(zip(self._inputs, inputs, strict=True)):
            if array.shape != info.shape or array.dtype.name != info.dtype or not array.flags.c_contiguous:
                raise EngineFailed(
                    f"executorch: {info.name} takes {info.dtype} of shape {info.shape} in one piece, given is "
                    f"{array.dtype.name} of shape {array.shape}"
                )
            self._pointers[index] = array.ctypes.data
        handle = self._open_handle()
        self._bridge.run(handle, self._pointers)
        return [_copied(self._bridge.output(handle, index)) for index in range(len(self._outputs))]

    def take_batch(self, size: int) -> None:
        """Take one query at a time: memory is planned when a program is exported.

        Raises:
            BatchFixed: More are asked for.
        """
        if size != 1:
            raise BatchFixed(f"an ExecuTorch program has planned its memory for one query, asked for {size}")

    def reset(self) -> None:
        """Load the program again.

        Raises:
            EngineFailed: It is refused.
        """
        self.close()
        self._handle = self._bridge.open(self._model)

    def close(self) -> None:
        if self._handle is not None:
            self._bridge.close(self._handle)
            self._handle = None

    def _open_handle(self) -> Handle:
        if self._handle is None:
            raise EngineFailed("executorch: the program was closed")
        return self._handle


def _info(role: str, index: int, tensor: Tensor) -> TensorInfo:
    if tensor.dtype not in DTYPES:
        raise EngineFailed(f"executorch: {role} {index} has a dtype (number {tensor.dtype}) that nothing here feeds")
    return TensorInfo(f"{role}_{index}", tensor.shape, DTYPES[tensor.dtype])


def _copied(tensor: Tensor) -> Array:
    values: Array = np.empty(tensor.shape, dtype=DTYPES[tensor.dtype])
    ctypes.memmove(values.ctypes.data, tensor.data, tensor.bytes)
    return values
