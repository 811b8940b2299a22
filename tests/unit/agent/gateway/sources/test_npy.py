"""A .npy file read without NumPy gives the rows that NumPy wrote, and refuses what the worker would."""

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.lib import format as npy_format

from agent.gateway.sources.npy import open_npy
from agent.serve.decode import DTYPES


@pytest.mark.parametrize("dtype", sorted(DTYPES))
@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_rows_are_those_that_were_written(tmp_path: Path, dtype: str, version: tuple[int, int]) -> None:
    written = (np.arange(24).reshape(4, 2, 3) % 2).astype(dtype)
    with (tmp_path / "q.npy").open("wb") as stream:
        npy_format.write_array(stream, written, version=version)
    with open_npy(tmp_path / "q.npy") as rows:
        assert (rows.n_rows, rows.row_shape, rows.dtype) == (4, (2, 3), dtype)
        read = [np.frombuffer(rows.row(n), rows.dtype).reshape(rows.row_shape) for n in range(4)]
    assert np.array_equal(np.stack(read), written)


def saved(array: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def headed(text: str, data: bytes = b"\0" * 64) -> bytes:
    header = text.encode("latin-1")
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04 a zip file, much longer than a head",
        saved(np.array([{"a": 1}], dtype=object), allow_pickle=True),
        saved(np.zeros(3, dtype=[("x", "f4")])),
        saved(np.zeros((3, 2), order="F")),
        saved(np.zeros(3, dtype=">f8")),
        saved(np.zeros(3, dtype=complex)),
        saved(np.zeros(3, dtype="U4")),
        saved(np.zeros(3, dtype="datetime64[s]")),
        saved(np.float64(1.0)),
        saved(np.zeros((0, 3))),
        saved(np.zeros((3, 0))),
        saved(np.zeros((8, 8)))[:-1],
        saved(np.zeros((2, 2)))[:60],
        b"\x93NUMPY\x04\x00" + saved(np.zeros(2))[8:],
        b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**31) + b"{}",
        headed("{'descr': '<f8', 'fortran_order': False, 'shape': (2, -1)}"),
        headed("{'descr': '<f8', 'fortran_order': False, 'shape': (True, 2)}"),
        headed("{'descr': '<f8', 'fortran_order': False, 'shape': [2, 2]}"),
        headed("{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999999999999,)}"),
        headed("{'descr': '<f8', 'fortran_order': 0, 'shape': (2,)}"),
        headed("{'descr': '<f8', 'shape': (2,)}"),
        headed("__import__('os').getcwd()"),
        headed("(" * 9000),
        headed("{'descr': '<f8', 'fortran_order': False, 'shape': (1,)" + "," * 30),
        headed("\0"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "q.npy").write_bytes(content)
    with pytest.raises(ValueError, match=r"."):
        open_npy(tmp_path / "q.npy")


def test_a_file_that_shrinks_is_an_error_and_no_crash(tmp_path: Path) -> None:
    np.save(tmp_path / "q.npy", np.zeros((1000, 1000)))
    with open_npy(tmp_path / "q.npy") as rows:
        (tmp_path / "q.npy").write_bytes(b"short")
        with pytest.raises(ValueError, match="shorter"):
            rows.row(999)
