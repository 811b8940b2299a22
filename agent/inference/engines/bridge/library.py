"""The bridge as this process loads it: its functions with their types, and its refusals as errors of ours.

Decides: that the runtime's libraries are those of the installed wheel, and that no torch is loaded. Leaves out: what a
model's inputs mean (`executorch.py`).
"""

import ctypes
import hashlib
import importlib.util
import os
from functools import cache
from pathlib import Path
from typing import Any

from agent.errors import EngineFailed, EngineUnavailable
from agent.inference.engines.base import Model, import_failure, named, package_version
from agent.inference.limits import kernel_folder

RUNTIME = (
    "libexecutorch.so",
    "libexecutorch_threadpool.so",
    "libexecutorch_kernels_optimized.so",
    "libexecutorch_kernels_quantized.so",
    "libexecutorch_backend_xnnpack.so",
)
"""In the order in which they need each other; the last three only register what they bring."""

SOURCE = Path(__file__).with_name("bridge.cpp")

MOST_AXES = 16
MOST_BACKENDS = 32
NOT_ENOUGH_MEMORY = (0x21, 0x25, 0x31)
"""ExecuTorch's MemoryAllocationFailed, OutOfResources, DelegateMemoryAllocationFailed. Source: runtime/core/error.h."""

Handle = ctypes.c_void_p


class Tensor(ctypes.Structure):
    """An input or output: ExecuTorch's number for its dtype, its shape, and where its values lie."""

    _fields_ = (
        ("dtype", ctypes.c_int32),
        ("rank", ctypes.c_int32),
        ("sizes", ctypes.c_int32 * MOST_AXES),
        ("data", ctypes.c_void_p),
        ("bytes", ctypes.c_uint64),
    )

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.sizes[: self.rank])


def runtime_folder() -> Path:
    """Return the folder of the installed wheel that holds the C++ runtime.

    Raises:
        EngineUnavailable: ExecuTorch is not installed, or its wheel has no such runtime.
    """
    found = importlib.util.find_spec("executorch")
    for place in (found.submodule_search_locations or ()) if found is not None else ():
        if all((Path(place) / "lib" / name).is_file() for name in RUNTIME):
            return Path(place)
    if found is None:
        raise import_failure(ModuleNotFoundError("No module named 'executorch'"), "executorch")
    raise EngineUnavailable("this executorch has no C++ runtime of its own (since 1.5): install thresher[executorch]")


def bridge_path(cache_dir: Path | None = None) -> Path:
    """Return where the bridge for the installed version lies, or would; a worker is told by its environment."""
    kept = os.environ.get("NUMBA_CACHE_DIR")
    folder = Path(kept) if cache_dir is None and kept else kernel_folder(cache_dir)
    source = hashlib.sha256(SOURCE.read_bytes()).hexdigest()
    return folder / f"executorch-{package_version('executorch') or 'unknown'}-{source[:16]}.so"


class Bridge:
    """The loaded runtime. There is one in a process, and its threads are shared."""

    def __init__(self, library: Any) -> None:
        self._library = library
        for name, kinds, result in (
            ("error", (), ctypes.c_char_p),
            ("start", (), None),
            ("threads", (ctypes.c_uint32,), ctypes.c_uint32),
            ("backend", (ctypes.c_size_t,), ctypes.c_char_p),
            ("open", (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.POINTER(ctypes.c_int)), Handle),
            ("close", (Handle,), None),
            ("count", (Handle, ctypes.c_int), ctypes.c_int),
            ("describe", (Handle, ctypes.c_int, ctypes.c_size_t, ctypes.POINTER(Tensor)), ctypes.c_int),
            ("uses", (Handle, ctypes.c_char_p), ctypes.c_int),
            ("run", (Handle, ctypes.POINTER(ctypes.c_void_p)), ctypes.c_int),
            ("output", (Handle, ctypes.c_size_t, ctypes.POINTER(Tensor)), ctypes.c_int),
        ):
            function = getattr(library, f"thresher_{name}")
            function.argtypes, function.restype = kinds, result
        library.thresher_start()

    def threads(self, count: int) -> int:
        """Have kernels share so many threads from now on; return how many there are."""
        return int(self._library.thresher_threads(count))

    def backends(self) -> list[str]:
        """Return the names of the backends that the runtime brings."""
        found = (self._library.thresher_backend(index) for index in range(MOST_BACKENDS))
        return [name.decode() for name in found if name is not None]

    def open(self, model: Model) -> Handle:
        """Load a program.

        Raises:
            EngineFailed: It is refused, in the runtime's words.
        """
        error = ctypes.c_int(0)
        path, held = (None, model) if isinstance(model, bytes) else (os.fsencode(model), None)
        handle = self._library.thresher_open(path, held, len(held or b""), ctypes.byref(error))
        if handle is None:
            raise self.failure(f"executorch refuses {named(model)}", error.value)
        return Handle(handle)

    def close(self, handle: Handle) -> None:
        """Give back what a program took."""
        self._library.thresher_close(handle)

    def tensors(self, handle: Handle, output: bool) -> list[Tensor]:
        """Return a program's inputs or outputs as it declares them.

        Raises:
            EngineFailed: One is no tensor.
        """
        found = []
        for index in range(self._library.thresher_count(handle, output)):
            tensor = Tensor()
            if code := self._library.thresher_describe(handle, output, index, ctypes.byref(tensor)):
                role = "output" if output else "input"
                raise self.failure(f"executorch: {role} {index} of the method `forward` is no tensor", code)
            found.append(tensor)
        return found

    def uses(self, handle: Handle, backend: str) -> bool:
        """Return whether a part of the program was made for a backend."""
        return bool(self._library.thresher_uses(handle, backend.encode()))

    def run(self, handle: Handle, inputs: Any) -> None:
        """Run once on the memory that `inputs`, an array of pointers, shows to.

        Raises:
            EngineFailed: It failed, in the runtime's words.
        """
        if code := self._library.thresher_run(handle, inputs):
            raise self.failure("executorch failed while it ran", code)

    def output(self, handle: Handle, index: int) -> Tensor:
        """Return an output of the last run; its values are overwritten by the next one.

        Raises:
            EngineFailed: It is no tensor.
        """
        tensor = Tensor()
        if code := self._library.thresher_output(handle, index, ctypes.byref(tensor)):
            raise self.failure(f"executorch gives no output {index}", code)
        return tensor

    def failure(self, what: str, code: int) -> Exception:
        """Return the error for a code, with what the runtime said."""
        said = self._library.thresher_error().decode(errors="replace")[:500] or "it gives no reason"
        kind = MemoryError if code in NOT_ENOUGH_MEMORY else EngineFailed
        return kind(f"{what}: {said} (error {code:#x})")


@cache
def open_bridge() -> Bridge:
    """Load runtime and bridge into this process.

    Raises:
        EngineUnavailable: ExecuTorch is not installed, or the bridge is not compiled and cannot be.
        MemoryError: The libraries do not fit.
    """
    folder, path = runtime_folder(), bridge_path()
    if not path.is_file():
        from agent.inference.engines.bridge.build import ensure_bridge  # else a worker has no use for it

        ensure_bridge()
    try:
        for name in RUNTIME:
            ctypes.CDLL(str(folder / "lib" / name), ctypes.RTLD_GLOBAL)
        return Bridge(ctypes.CDLL(str(path)))
    except (AttributeError, OSError) as exc:
        raise import_failure(exc, "executorch") from exc
