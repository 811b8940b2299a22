"""Reading an `.npz`: plain arrays come back, everything else is one error that names the file."""

import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from controller.errors import UnusableData
from controller.models import npz
from controller.models.npz import read_npz


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_plain_arrays_come_back(save: Callable[..., None], tmp_path: Path) -> None:
    arrays = {"inputs": np.arange(12.0).reshape(3, 4), "labels": np.array([0, 1, 2]), "none": np.zeros((0, 4))}
    save(tmp_path / "a.npz", **arrays)
    found = read_npz(tmp_path / "a.npz")
    assert found.keys() == arrays.keys()
    assert all(np.array_equal(found[name], array) for name, array in arrays.items())


def member(header: str, content: bytes = b"") -> bytes:
    """An `.npy` of format 1.0 with a header of our making."""
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + content


def archive(path: Path, content: bytes, name: str = "inputs.npy") -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(name, content)


def test_a_header_that_claims_more_than_there_is_takes_no_memory(tmp_path: Path) -> None:
    huge = "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,)}"
    archive(tmp_path / "a.npz", member(huge, bytes(64)))
    with pytest.raises(UnusableData, match=r"a\.npz: array 'inputs' claims shape \(1000000000000,\)"):
        read_npz(tmp_path / "a.npz")


@pytest.mark.parametrize(
    "content",
    [
        b"", b"text", b"\x93NUMPY\x09\x09", member("{'descr'"), member("{'descr': 3, 'shape': 4}"),
        member("{'descr': '<f8', 'fortran_order': False, 'shape': (-4,)}", bytes(64)),
    ],
)  # fmt: skip
def test_a_member_that_is_no_array_is_refused(content: bytes, tmp_path: Path) -> None:
    archive(tmp_path / "a.npz", content)
    with pytest.raises(UnusableData, match=r"a\.npz: .*numpy\.savez"):
        read_npz(tmp_path / "a.npz")


@pytest.mark.parametrize("compressed", [False, True])
def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path: Path, compressed: bool) -> None:
    path = tmp_path / "a.npz"
    (np.savez_compressed if compressed else np.savez)(path, inputs=np.arange(100.0), labels=np.arange(100))
    whole = path.read_bytes()
    for end in range(0, len(whole) - 1, 37):
        path.write_bytes(whole[:end])
        with pytest.raises(UnusableData, match=r"a\.npz: not an \.npz"):
            read_npz(path)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_flipped_byte_is_found_by_the_checksum(tmp_path: Path, compressed: bool) -> None:
    path = tmp_path / "a.npz"
    values = np.random.default_rng(0).normal(size=500)
    (np.savez_compressed if compressed else np.savez)(path, inputs=values)
    whole = bytearray(path.read_bytes())
    for place in (len(whole) // 2, len(whole) // 2 + 999):
        changed = bytearray(whole)
        changed[place] ^= 0xFF
        path.write_bytes(changed)
        with pytest.raises(UnusableData, match="damaged"):
            read_npz(path)


class Bomb:
    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return pytest.fail, ("it was unpickled",)


@pytest.mark.parametrize("name", ["inputs", "labels"])
def test_objects_are_refused_and_not_unpickled(name: str, tmp_path: Path) -> None:
    arrays: dict[str, Any] = {"inputs": np.zeros(3), "labels": np.zeros(3), name: np.array([Bomb()], dtype=object)}
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(UnusableData, match=rf"a\.npz: array '{name}' holds Python objects"):
        read_npz(tmp_path / "a.npz")


def test_a_bare_pickle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(UnusableData, match="not an"):
        read_npz(tmp_path / "a.npz")


def test_too_much_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npz, "LARGEST_UNPACKED_BYTES", 1000)
    np.savez_compressed(tmp_path / "a.npz", inputs=np.zeros(1000))
    with pytest.raises(UnusableData, match="at most 1000 are read"):
        read_npz(tmp_path / "a.npz")


def test_a_copy_is_called_by_the_name_of_the_users_file(tmp_path: Path) -> None:
    (tmp_path / "copy.npz").write_bytes(io.BytesIO(b"no").getvalue())
    with pytest.raises(UnusableData, match=r"^mine\.npz:"):
        read_npz(tmp_path / "copy.npz", named=Path("mine.npz"))
