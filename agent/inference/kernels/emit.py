"""From kernels to one piece of object code: numba compiles, LLVM emits position-independent code for this processor.

Decides: that each kernel becomes a C function of its own name, with a digest of what it was made of beside it, and that
nothing of numba stays open in the object. Kernels neither allocate nor raise; what numba generates for when they would
(it calls into numba and Python) becomes a trap, and the optimiser drops it. What is left open is the C library's:
`exp`, `memset`. Leaves out: where the object goes (`library.py`) and how it is loaded (`native.py`).
"""

import importlib
import re
from collections.abc import Iterable
from typing import Any

from agent.errors import EngineFailed
from agent.inference.kernels.compiled import Kernel, register_inner
from agent.inference.kernels.signature import DIGEST_BYTES, DIGEST_SUFFIX

ERROR_PATHS = "(?:NRT_|Py|numba_)"
"""How the names begin that only a kernel that allocates or raises would use."""

_DECLARED = re.compile(rf"^declare ([^@\n]*@{ERROR_PATHS}\w+\(.*\))[^)\n]*$", re.MULTILINE)
_EXTERNAL = re.compile(rf"^(@{ERROR_PATHS}\w+) = external global (\w+).*$", re.MULTILINE)
_TRAP = "define internal \\1 {\n  call void @llvm.trap()\n  unreachable\n}"
SPEED_LEVEL = 2


def object_code(kernels: Iterable[Kernel[Any, Any]]) -> bytes:
    """Return position-independent object code that holds `kernels` as C functions.

    Without fast-math, which is off, optimising reorders no operation on floats: the results keep their bits.

    Raises:
        EngineFailed: LLVM cannot read what numba wrote, or emits nothing for this processor.
    """
    import llvmlite.binding as llvm

    register_inner()
    try:
        whole, machine = llvm.parse_assembly(""), _machine()
        for kernel in kernels:
            module = _module(kernel)
            _optimise(module, machine, kernel.packed)
            whole.link_in(module)
        content: bytes = machine.emit_object(whole)
    except RuntimeError as exc:
        raise EngineFailed(f"LLVM makes no object of the kernels: {exc}") from exc
    return content


def _module(kernel: Kernel[Any, Any]) -> Any:
    """Return an LLVM module in which the kernel's C function is all that can be seen from outside."""
    import llvmlite.binding as llvm
    import numba

    callback: Any = numba.cfunc(_c_signature(kernel), error_model="numpy")(_c_form(kernel))
    # numba offers a function's LLVM text only by `inspect_llvm`.
    text = _DECLARED.sub(_TRAP, callback.inspect_llvm())
    text = _EXTERNAL.sub(r"\1 = internal global \2 zeroinitializer", text)
    digest = f'@{kernel.name}{DIGEST_SUFFIX} = constant [{DIGEST_BYTES} x i8] c"{kernel.made_of()}"'
    module = llvm.parse_assembly(f"{text}\n{digest}\ndeclare void @llvm.trap()\n")
    for function in module.functions:
        if function.name == callback.native_name:
            function.name = kernel.name
        elif not function.is_declaration:
            function.linkage = "internal"
    for variable in module.global_variables:
        if not variable.is_declaration and variable.name != kernel.name + DIGEST_SUFFIX:
            variable.linkage = "internal"
    return module


def _optimise(module: Any, machine: Any, packed: bool) -> None:
    import llvmlite.binding as llvm

    options = llvm.create_pipeline_tuning_options(speed_level=SPEED_LEVEL)
    options.slp_vectorization = packed
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)


def _machine() -> Any:
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_triple(llvm.get_process_triple())
    features = llvm.get_host_cpu_features().flatten()
    # The default code model is the small one, as a linker wants it; llvmlite's own default is that of a JIT.
    return target.create_target_machine(llvm.get_host_cpu_name(), features, opt=3, reloc="pic", codemodel="default")


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
    made from nothing but the kernel's signature.
    """
    from numba.extending import register_jitable

    scope: dict[str, Any] = {
        "carray": importlib.import_module("numba").carray,
        "kernel": register_jitable(kernel.python),
    }
    exec(kernel.signature.c_text, scope)
    return scope["c_form"]
