"""Link all kernels into one small shared library, once, when the agent is installed.

Decides: how machine code is made (numba compiles, LLVM emits position-independent code for this processor, the
system's linker links) and where it lies. Leaves out: when (`agent/warm.py`).

Kernels neither allocate nor raise, so the only symbols left open are numba's error paths; they are made weak. A device
without a linker keeps numba with its cache.
"""

import importlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from agent.errors import EngineFailed
from agent.inference.kernels import cast, classify, series, table
from agent.inference.kernels.compiled import KERNELS, LIBRARY_NAME, Kernel, register_inner

SOURCES = (cast, classify, series, table)
"""Importing them registers their kernels."""

LINKERS = (("cc", "-shared", "-lm"), ("gcc", "-shared", "-lm"), ("clang", "-shared", "-lm"), ("ld", "-shared"))
LINK_TIMEOUT_S = 60
ERROR_PATHS = ("NRT_", "Py", "numba_")
"""Functions of numba and Python that only a kernel that allocates or raises would call."""


def build_library(folder: Path) -> Path:
    """Compile and link all kernels into `folder`; an older library is replaced atomically.

    Raises:
        EngineFailed: No linker, or it refuses.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as work:
        objects = []
        for name, kernel in sorted(KERNELS.items()):
            path = Path(work) / f"{name}.o"
            path.write_bytes(object_code(kernel))
            objects.append(str(path))
        linked = Path(work) / LIBRARY_NAME
        _link(objects, linked)
        os.replace(linked, folder / LIBRARY_NAME)
    return folder / LIBRARY_NAME


def object_code(kernel: Kernel[Any, Any]) -> bytes:
    """Return position-independent object code in which `kernel` is a C function of its own name."""
    import llvmlite.binding as llvm
    import numba

    register_inner()
    callback: Any = numba.cfunc(_c_signature(kernel), error_model="numpy")(_c_form(kernel))
    # numba offers a function's LLVM text only by `inspect_llvm`, which is that of this attribute's library.
    module = llvm.parse_assembly(callback.inspect_llvm())
    for function in module.functions:
        if function.name == callback.native_name:
            function.name = kernel.name
        elif function.is_declaration and function.name.startswith(ERROR_PATHS):
            function.linkage = "external_weak"
        elif not function.is_declaration:
            function.linkage = "internal"
    return _machine().emit_object(module)  # type: ignore[no-any-return]


def _machine() -> Any:
    import llvmlite.binding as llvm

    target = llvm.Target.from_triple(llvm.get_process_triple())
    features = llvm.get_host_cpu_features().flatten()
    return target.create_target_machine(llvm.get_host_cpu_name(), features, opt=3, reloc="pic")


def _c_signature(kernel: Kernel[Any, Any]) -> Any:
    types: Any = importlib.import_module("numba.types")
    kinds: list[Any] = []
    for argument in kernel.signature.arguments:
        base = getattr(types, argument.dtype)
        kinds += [types.CPointer(base), *[types.int64] * argument.axes] if argument.axes else [base]
    return getattr(types, kernel.signature.result)(*kinds)


def _c_form(kernel: Kernel[Any, Any]) -> Any:
    """Return a Python function that takes addresses and lengths, makes arrays of them, and calls the kernel.

    numba infers types from the function's own arguments, so each signature needs a function of its own: its text is
    made here, from nothing but the kernel's signature.
    """
    from numba.extending import register_jitable

    taken, given = [], []
    for number, argument in enumerate(kernel.signature.arguments):
        lengths = [f"n{number}_{axis}" for axis in range(argument.axes)]
        taken += [f"a{number}", *lengths]
        given.append(f"carray(a{number}, ({', '.join(lengths)},))" if lengths else f"a{number}")
    text = f"def c_form({', '.join(taken)}):\n    return kernel({', '.join(given)})\n"
    scope: dict[str, Any] = {
        "carray": importlib.import_module("numba").carray,
        "kernel": register_jitable(kernel.python),
    }
    exec(text, scope)
    return scope["c_form"]


def _link(objects: list[str], linked: Path) -> None:
    refusals = []
    for command, *options in LINKERS:
        found = shutil.which(command)
        if found is None:
            continue
        # Options stand behind the objects: a library named before its users is dropped.
        arguments = [found, "-o", str(linked), *objects, *options]
        ended = subprocess.run(arguments, capture_output=True, timeout=LINK_TIMEOUT_S, check=False)
        if ended.returncode == 0:
            return
        refusals.append(f"{command}: {ended.stderr.decode(errors='replace')[-300:]}")
    raise EngineFailed(f"kernels cannot be linked: {'; '.join(refusals) or 'no linker (cc or ld) is installed'}")
