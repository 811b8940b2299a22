"""Rows of a .npy file, read without NumPy.

Decides: which files are taken: versions 1 to 3, plain numbers, rows in C order, nothing pickled. Rows are read, not
mapped: a file that shrinks while it is read is then an error, where a mapped one would end the process. Leaves out:
what the numbers mean. Source of the format: NumPy Enhancement Proposal 1.

    with open_npy(path) as rows: rows.row(0), rows.dtype, rows.row_shape
"""

import ast
import math
import os
import re
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_MAGIC = b"\x93NUMPY"
_LARGEST_HEADER_BYTES = 10_000
"""Longer headers belong to structured types, which are refused in any case."""
_MOST_AXES = 8
_DTYPES = {
    "f8": "float64",
    "f4": "float32",
    "f2": "float16",
    "i8": "int64",
    "i4": "int32",
    "i2": "int16",
    "i1": "int8",
    "u4": "uint32",
    "u2": "uint16",
    "u1": "uint8",
    "b1": "bool",
}
"""What the worker decodes (`agent/serve/decode.py`)."""


class NpyRows:
    """An open file of rows stacked along the first axis."""

    def __init__(self, file: int, dtype: str, shape: tuple[int, ...], offset: int) -> None:
        self.dtype = dtype
        self.row_shape = shape[1:]
        self.n_rows = shape[0]
        self._file = file
        self._offset = offset
        self._row_bytes = math.prod(self.row_shape) * _item_bytes(dtype)

    def row(self, number: int) -> bytes:
        """Return the bytes of one row.

        Raises:
            ValueError: The file has become shorter.
            OSError: It cannot be read.
        """
        content = os.pread(self._file, self._row_bytes, self._offset + number * self._row_bytes)
        if len(content) < self._row_bytes:
            raise ValueError(f"row {number} of {self.n_rows} ends early: the file has become shorter")
        return content

    def close(self) -> None:
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def open_npy(path: Path) -> NpyRows:
    """Open a .npy file of rows; it is to be closed.

    Raises:
        ValueError: Not such a file; the text says why.
        OSError: It cannot be opened or read.
    """
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return _opened(file)
    except (ValueError, OSError):
        os.close(file)
        raise


def _opened(file: int) -> NpyRows:
    start = os.pread(file, _LARGEST_HEADER_BYTES + 12, 0)
    text, offset = _header_text(start)
    dtype, shape = _described(text)
    rows = NpyRows(file, dtype, shape, offset)
    wanted = math.prod(shape) * _item_bytes(dtype)
    held = os.fstat(file).st_size - offset
    if held < wanted:
        raise ValueError(f"{held} bytes of data, its header promises {wanted}")
    return rows


def _header_text(start: bytes) -> tuple[str, int]:
    """Return the header's text and where the data begins."""
    if start[:6] != _MAGIC or len(start) < 12:
        raise ValueError("no .npy file")
    version = start[6]
    if version not in (1, 2, 3):
        raise ValueError(f"version {version} of the .npy format is not known")
    width = 2 if version == 1 else 4
    length = int.from_bytes(start[8 : 8 + width], "little")
    end = 8 + width + length
    if length > _LARGEST_HEADER_BYTES or end > len(start):
        raise ValueError(f"its header of {length} bytes is cut off, or too long")
    return start[8 + width : end].decode("utf-8" if version == 3 else "latin-1"), end


def _described(text: str) -> tuple[str, tuple[int, ...]]:
    try:
        header = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as exc:
        raise ValueError("its header cannot be read") from exc
    if not isinstance(header, dict) or set(header) != {"descr", "fortran_order", "shape"}:
        raise ValueError("its header does not name descr, fortran_order and shape")
    if header["fortran_order"] is not False:
        raise ValueError("its rows are not in C order: save it with numpy.ascontiguousarray")
    return _dtype(header["descr"]), _shape(header["shape"])


def _dtype(descr: Any) -> str:
    found = re.fullmatch(r"[<|]([fiub]\d)", descr) if isinstance(descr, str) else None
    if found is None or found[1] not in _DTYPES:
        raise ValueError(f"dtype {str(descr)[:40]!r} is not taken: plain little-endian numbers are wanted")
    return _DTYPES[found[1]]


def _shape(shape: Any) -> tuple[int, ...]:
    if not isinstance(shape, tuple) or not all(type(axis) is int and axis >= 0 for axis in shape):
        raise ValueError("its shape is no list of axes")
    if not 1 <= len(shape) <= _MOST_AXES or math.prod(shape) == 0:
        raise ValueError(f"shape {str(shape)[:80]}: rows stacked along a first axis are wanted, at least one")
    return shape


def _item_bytes(dtype: str) -> int:
    return next(int(code[1]) for code, name in _DTYPES.items() if name == dtype)
