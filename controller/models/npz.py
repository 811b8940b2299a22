"""Read an `.npz` that somebody brought: every array of it, or one error that names the file.

Decides: what is refused of a file (broken, pickled, too large). Leaves out: what its arrays mean (`samples.py`).
Nothing is unpickled, and no more memory is taken than the archive's members hold.

    arrays = read_npz(Path("mine.npz"))  # {"inputs": ..., "labels": ...}
"""

import lzma
import math
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from controller.errors import UnusableData

LARGEST_UNPACKED_BYTES = 4 * 1024**3
"""Of all arrays of a file together: they are held in memory, and variants are judged on a fraction of this."""
_ADVICE = "write it again with numpy.savez(…, inputs=…, labels=…)"
_BROKEN = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, OSError, ValueError, EOFError, KeyError,
    RuntimeError,  # zipfile's for an encrypted member and for an unknown compression
    MemoryError, SyntaxError, tokenize.TokenError,  # a header is parsed as Python's literals
)  # fmt: skip


def read_npz(path: Path, named: Path | None = None) -> dict[str, NDArray[Any]]:
    """Return the arrays of an `.npz` by name.

    Args:
        path: The file to read.
        named: The file to name in errors, where `path` is our own copy of it.
    Raises:
        UnusableData: Not an `.npz` of plain arrays, damaged, or more than `LARGEST_UNPACKED_BYTES` unpacked.
    """
    shown = named or path
    try:
        with zipfile.ZipFile(path) as archive:
            _bound(archive, shown)
            return {info.filename.removesuffix(".npy"): _member(archive, info, shown) for info in archive.infolist()}
    except _BROKEN as exc:
        raise UnusableData(f"{shown}: not an .npz of plain arrays, or damaged ({exc}); {_ADVICE}") from exc


def _bound(archive: zipfile.ZipFile, shown: Path) -> None:
    unpacked = sum(info.file_size for info in archive.infolist())
    if unpacked > LARGEST_UNPACKED_BYTES:
        raise UnusableData(
            f"{shown}: {unpacked} bytes unpacked, at most {LARGEST_UNPACKED_BYTES} are read; keep fewer samples"
        )


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, shown: Path) -> NDArray[Any]:
    name = info.filename.removesuffix(".npy")
    with archive.open(info) as stream:
        shape, dtype = _header(stream)
    if dtype.hasobject:
        raise UnusableData(
            f"{shown}: array {name!r} holds Python objects (dtype {dtype}), not plain arrays; make it numbers of one "
            f"shape, then {_ADVICE}"
        )
    # A header may claim any shape, and numpy makes room for it before it reads.
    if math.prod(shape) * dtype.itemsize > info.file_size:
        raise UnusableData(f"{shown}: array {name!r} claims shape {shape} but holds less, it is damaged; {_ADVICE}")
    with archive.open(info) as stream:
        array: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
        stream.read()  # to the end: there the checksum is compared
    return array


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    return shape, dtype
