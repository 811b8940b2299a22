"""A kernel's signature: the text that numba reads, and what the same kernel looks like through C's calling convention.

An array crosses as its address and its lengths, a number as itself. Arrays are C-contiguous. Through C nothing is
checked: machine code of another signature, or of other sources, would write where it must not. So machine code carries
a digest of what it was made of, and `made_of` gives that of the function which this process has in memory: files may
have been replaced since it was read.
"""

import ctypes
import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

C_TYPES: dict[str, Any] = {"int64": ctypes.c_int64, "float64": ctypes.c_double, "void": None}
DIGEST_SUFFIX, DIGEST_BYTES = "_made_of", 64
"""Under a kernel's name with this behind it, machine code holds the kernel's digest."""
_ARGUMENT = re.compile(r"(\w+)(\[(?:[:, ]*)::1\])?")


def address_of(array: Any) -> int:
    """Return where an array begins. What may be written tells it five times as fast as numpy does."""
    if array.flags.writeable and array.size:
        return ctypes.addressof(ctypes.c_char.from_buffer(array))
    address: int = array.ctypes.data
    return address


@dataclass(frozen=True)
class Argument:
    """A number (no axes) or an array's element type and number of axes."""

    dtype: str
    axes: int

    def flattened(self, array: Any) -> list[Any]:
        """Return an array as the C function takes it: its address and its lengths.

        Raises:
            TypeError: Another dtype, byte order or number of axes, or not C-contiguous: through C it would be read as
                something else.
        """
        if array.dtype != self._numpy_dtype or array.ndim != self.axes or not array.flags.c_contiguous:
            raise TypeError(f"expected a contiguous {self}, given {array.dtype} with shape {array.shape}")
        return [address_of(array), *array.shape]

    @cached_property
    def _numpy_dtype(self) -> Any:
        return np.dtype(self.dtype)  # to ask an array's dtype for its name takes longer than a short kernel


@dataclass(frozen=True)
class Signature:
    """Result and arguments of a kernel."""

    text: str
    result: str
    arguments: tuple[Argument, ...]

    @classmethod
    def parse(cls, text: str) -> "Signature":
        """Read a numba signature of the kind `int64(float64[:, ::1], int64)`."""
        result, _, inside = text.partition("(")
        found = _ARGUMENT.finditer(inside.rstrip(")"))
        arguments = [Argument(one[1], one[2].count(",") + 1 if one[2] else 0) for one in found]
        return cls(text, result, tuple(arguments))

    @property
    def c_text(self) -> str:
        """The Python source of a function that takes addresses and lengths, makes arrays, and calls `kernel`."""
        taken, given = [], []
        for number, argument in enumerate(self.arguments):
            lengths = [f"n{number}_{axis}" for axis in range(argument.axes)]
            taken += [f"a{number}", *lengths]
            given.append(f"carray(a{number}, ({', '.join(lengths)},))" if lengths else f"a{number}")
        return f"def c_form({', '.join(taken)}):\n    return kernel({', '.join(given)})\n"

    def function_at(self, address: int) -> Any:
        """Return the C function at `address`, which must be one of this signature."""
        kinds = [kind for argument in self.arguments for kind in _c_types(argument)]
        return ctypes.CFUNCTYPE(C_TYPES[self.result], *kinds)(address)

    def flatten(self, args: Sequence[Any]) -> tuple[Any, ...]:
        """Return `args` as the C function takes them.

        Raises:
            TypeError: Another number of arguments, dtype or number of axes, or an array that is not C-contiguous:
                through C it would be read as something else.
        """
        if len(args) != len(self.arguments):
            raise TypeError(f"a kernel {self.text} was given {len(args)} arguments")
        flat: list[Any] = []
        for argument, value in zip(self.arguments, args, strict=True):
            flat += argument.flattened(value) if argument.axes else [value]
        return tuple(flat)


def _c_types(argument: Argument) -> list[Any]:
    if argument.axes:
        return [ctypes.c_void_p] + [ctypes.c_int64] * argument.axes
    return [C_TYPES[argument.dtype]]


def made_of(python: Callable[..., Any], signature: Signature) -> str:
    """Return a digest of what a kernel's machine code is made of.

    Of its signature, its C form, its own code, and the code and constants of all functions that it calls, as they are
    in memory.
    """
    digest = hashlib.sha256(f"{signature.text}\n{signature.c_text}".encode())
    for part in _parts(python, set()):
        digest.update(part)
    return digest.hexdigest()


def _parts(value: Any, seen: set[Any]) -> Iterator[bytes]:
    """Yield what stands for a global of a kernel: of a function its code, and what that refers to."""
    if isinstance(value, FunctionType):
        if value not in seen:
            seen.add(value)
            yield from _code_parts(value.__code__, value.__globals__, seen)
    elif not isinstance(value, ModuleType):
        yield repr(value).encode()  # numbers and their types: kernels have no other globals


def _code_parts(code: CodeType, scope: dict[str, Any], seen: set[Any]) -> Iterator[bytes]:
    yield code.co_code
    yield repr((code.co_names, code.co_varnames)).encode()
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _code_parts(constant, scope, seen)
        else:
            yield repr(constant).encode()
    for name in code.co_names:
        if name in scope:
            yield from _parts(scope[name], seen)
