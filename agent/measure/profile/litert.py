"""LiteRT's profiler, which its Python package does not offer: by the C interface of the library that comes with it.

The package's `Interpreter` has no profiler, and its `CompiledModel` does not hand its own out; `libLiteRt.so` in the
same package does. The model is therefore loaded once more, as a compiled model with the same kernels (XNNPACK, or
LiteRT's own) and threads; what it answers is held against the interpreter before its times are believed. All of this
runs in a process of its own: a release of LiteRT whose interface differs ends that process and nothing else.
"""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from agent.inference.engines.base import TensorInfo
from agent.measure.profile.litert_library import Handle, Library
from agent.measure.profile.litert_summary import spent_in_summary
from agent.measure.profile.operators import Spent

if TYPE_CHECKING:
    from agent.measure.profile import Array, Subject

ON_PROCESSOR = 1
BUILT_IN_KERNELS = 2
READ, WRITE = 0, 1
SIGNATURE = ctypes.c_size_t(0)
"""The first one; a model without signatures has one that stands for its main graph."""

TENSOR_TYPE_BYTES = 256
"""A tensor's type takes 72 bytes: element type, rank, eight dimensions, eight strides. Room for it to grow."""

FIRST_DIMENSION = 2
"""Where the dimensions begin in a tensor's type, counted in 32-bit words."""


@dataclass(frozen=True)
class Buffer:
    """LiteRT's memory for one tensor. `place`: where the tensor stands in the signature."""

    place: int
    handle: Handle
    info: TensorInfo


class LiteRtProfiler:
    """A compiled model of the same file, kernels and threads, with its profiler."""

    note = "operators as the kernels fused them, each timed to a whole microsecond: shorter ones are under-counted"

    def __init__(self, subject: "Subject", folder: Path) -> None:  # noqa: ARG002 - it writes no file
        engine = subject.pipeline.engine
        library = self._library = Library(engine.version)
        self._environment = library.make("LiteRtCreateEnvironment", 0, None)
        path = str(subject.bundle.model_path).encode()
        self._model = library.make("LiteRtCreateModelFromFile", self._environment, path)
        options = self._options(int(engine.settings["intra_op_threads"]), bool(engine.settings["xnnpack"]))
        self._compiled = library.make("LiteRtCreateCompiledModel", self._environment, self._model, options)
        library.drop("LiteRtDestroyOptions", options)
        self._signature = library.make("LiteRtGetModelSignature", self._model, SIGNATURE)
        self._inputs = self._buffers("Input", engine.inputs)
        self._outputs = self._buffers("Output", engine.outputs)
        self._profiler = library.make("LiteRtCompiledModelGetProfiler", self._compiled)

    def infer(self, feeds: "Sequence[Array]") -> "list[Array]":
        """Copy the inputs into the model's buffers and run once; the outputs are copies."""
        for buffer, array in zip(self._inputs, feeds, strict=True):
            self._copy(buffer, array, WRITE)
        given, taken = _in_place(self._inputs), _in_place(self._outputs)
        counts = ctypes.c_size_t(len(given)), ctypes.c_size_t(len(taken))
        self._library.check("LiteRtRunCompiledModel", self._compiled, SIGNATURE, counts[0], given, counts[1], taken)
        outputs: list[Array] = [np.empty(buffer.info.shape, dtype=buffer.info.dtype) for buffer in self._outputs]
        for buffer, array in zip(self._outputs, outputs, strict=True):
            self._copy(buffer, array, READ)
        return outputs

    def begin(self) -> None:
        """Start profiling."""
        self._library.check("LiteRtStartProfiler", self._profiler)

    def spent(self) -> list[Spent]:
        """Stop profiling and read the summary.

        Raises:
            EngineFailed: It cannot be read.
        """
        self._library.check("LiteRtStopProfiler", self._profiler)
        return spent_in_summary(self._library.text("LiteRtGetProfileSummary", self._profiler, self._compiled))

    def close(self) -> None:
        for buffer in (*self._inputs, *self._outputs):
            self._library.drop("LiteRtDestroyTensorBuffer", buffer.handle)
        self._library.drop("LiteRtDestroyCompiledModel", self._compiled)
        self._library.drop("LiteRtDestroyModel", self._model)
        self._library.drop("LiteRtDestroyEnvironment", self._environment)

    def _options(self, threads: int, xnnpack: bool) -> Handle:
        library = self._library
        options = library.make("LiteRtCreateOptions")
        library.check("LiteRtSetOptionsHardwareAccelerators", options, ON_PROCESSOR)
        library.add_options(options, "runtime_options_string", "enable_profiling = true\n")
        kernels = "" if xnnpack else f"kernel_mode = {BUILT_IN_KERNELS}\n"
        library.add_options(options, "xnnpack", f"num_threads = {threads}\n{kernels}")
        return options

    def _buffers(self, role: str, infos: Sequence[TensorInfo]) -> list[Buffer]:
        """Return a buffer for each tensor, in the engine's order; free axes are what they are in the engine."""
        library = self._library
        count = library.count(f"LiteRtGetNumSignature{role}s", self._signature)
        places = {self._name(role, place): place for place in range(count)}
        return [self._buffer(role, places[info.name], info) for info in infos]

    def _buffer(self, role: str, place: int, info: TensorInfo) -> Buffer:
        library, at = self._library, ctypes.c_size_t(place)
        kind = (ctypes.c_int32 * (TENSOR_TYPE_BYTES // 4))()
        library.check("LiteRtGetRankedTensorType", self._tensor(role, place), kind)
        if role == "Input" and min(kind[FIRST_DIMENSION : FIRST_DIMENSION + len(info.shape)], default=0) < 0:
            shape = (ctypes.c_int * len(info.shape))(*info.shape)
            size = ctypes.c_size_t(len(info.shape))
            library.check("LiteRtCompiledModelResizeInputTensor", self._compiled, SIGNATURE, at, shape, size)
        kind[FIRST_DIMENSION : FIRST_DIMENSION + len(info.shape)] = list(info.shape)
        needs = library.make(f"LiteRtGetCompiledModel{role}BufferRequirements", self._compiled, SIGNATURE, at)
        name = "LiteRtCreateManagedTensorBufferFromRequirements"
        return Buffer(place, library.make(name, self._environment, kind, needs), info)

    def _tensor(self, role: str, place: int) -> Handle:
        return self._library.make(f"LiteRtGetSignature{role}TensorByIndex", self._signature, ctypes.c_size_t(place))

    def _name(self, role: str, place: int) -> str:
        name = self._library.make("LiteRtGetTensorName", self._tensor(role, place))
        return ctypes.string_at(name).decode()

    def _copy(self, buffer: Buffer, array: "Array", way: int) -> None:
        library = self._library
        address = Handle()
        library.check("LiteRtLockTensorBuffer", buffer.handle, ctypes.byref(address), way)
        ours, theirs = array.ctypes.data_as(Handle), address
        ctypes.memmove(*((theirs, ours) if way == WRITE else (ours, theirs)), array.nbytes)
        library.check("LiteRtUnlockTensorBuffer", buffer.handle)


def _in_place(buffers: Sequence[Buffer]) -> "ctypes.Array[ctypes.c_void_p]":
    """Return the buffers as the signature has them."""
    handles = {buffer.place: buffer.handle for buffer in buffers}
    return (Handle * len(buffers))(*(handles[place] for place in range(len(buffers))))
