"""A kernel's signature: the text that numba reads, and what the same kernel looks like through C's calling convention.

An array crosses as its address and its lengths, a number as itself. Arrays are C-contiguous.
"""

import ctypes
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

C_TYPES: dict[str, Any] = {"int64": ctypes.c_int64, "float64": ctypes.c_double, "void": None}
_ARGUMENT = re.compile(r"(\w+)(\[(?:[:, ]*)::1\])?")


@dataclass(frozen=True)
class Argument:
    """A number (no axes) or an array's element type and number of axes."""

    dtype: str
    axes: int

    def flattened(self, array: Any) -> list[Any]:
        """Return an array as the C function takes it: its address and its lengths.

        Raises:
            TypeError: Another dtype or number of axes, or not C-contiguous: through C it would be read as something
                else.
        """
        if array.dtype.name != self.dtype or array.ndim != self.axes or not array.flags.c_contiguous:
            raise TypeError(f"expected a contiguous {self}, given {array.dtype} with shape {array.shape}")
        return [array.ctypes.data, *array.shape]


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
