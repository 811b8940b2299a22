"""Load the kernels' machine code into this process: the library by the system's loader, else the object by llvmlite.

Decides: which of the two, and that neither what is damaged nor what was made of other sources is ever run. Either way
numba stays out of the process. Leaves out: numba, the way that is left when this one finds nothing (`compiled.py`).

    code = open_code(folder)                        # None: neither is there
    code.form, code.address("softmax", made_of)     # None: what is there is another softmax
"""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from agent.inference.kept import LIBRARY_NAME, OBJECT_NAME, whole
from agent.inference.kernels.signature import DIGEST_BYTES, DIGEST_SUFFIX


@dataclass(frozen=True)
class Code:
    """Loaded machine code: how it was loaded, and from which file."""

    form: str
    file: Path
    symbol: Callable[[str], int]
    """Name -> address. Raises ValueError where there is no such thing."""

    def address(self, kernel: str, made_of: str) -> int | None:
        """Return where the code of a kernel begins; None, with a line in the log, where it is not what `made_of` says.

        Args:
            kernel: Name.
            made_of: The digest of the kernel that is in memory (`signature.made_of`).
        """
        try:
            found = ctypes.string_at(self.symbol(kernel + DIGEST_SUFFIX), DIGEST_BYTES)
            if found == made_of.encode():
                return self.symbol(kernel)
            why = "was made of other sources than those that this process runs"
        except ValueError:
            why = "is not in it"
        warn("kernel %s is not taken from %s: it %s; run `agent warm --force`", kernel, self.file, why)
        return None


@cache
def open_code(folder: Path) -> Code | None:
    """Load the first form in `folder` that is whole and can be loaded; what cannot is named in the log."""
    for form, name, load in (("library", LIBRARY_NAME, _library), ("llvmlite", OBJECT_NAME, _object)):
        if not (folder / name).is_file():
            continue
        try:
            return Code(form, folder / name, load(folder, name))
        except (OSError, ImportError, RuntimeError, ValueError) as exc:
            # The loader's, llvmlite's and our own refusals: there is another way to the same results.
            warn("kernels cannot be loaded from %s: %s; run `agent warm --force`", folder / name, exc)
    return None


def warn(text: str, *values: object) -> None:
    """Say in the log what is wrong with the kernels; where nothing is, a worker does without `logging`."""
    import logging

    logging.getLogger("agent.inference.kernels").warning(text, *values)


def _library(folder: Path, name: str) -> Callable[[str], int]:
    whole(folder, name)
    library = ctypes.CDLL(str(folder / name))

    def address(name: str) -> int:
        return ctypes.addressof(ctypes.c_char.in_dll(library, name))  # ValueError: no such symbol

    return address


def _object(folder: Path, name: str) -> Callable[[str], int]:
    content = whole(folder, name)
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    compiler = llvm.create_lljit_compiler(use_jit_link=True)
    linked = llvm.JITLibraryBuilder().add_object_img(content).add_current_process().link(compiler, OBJECT_NAME)
    _KEPT.append(linked)

    def address(name: str) -> int:
        try:
            found = compiler.lookup(OBJECT_NAME, name)
        except RuntimeError as exc:
            raise ValueError(f"no symbol {name}") from exc
        _KEPT.append(found)
        return int(found[name])

    return address


_KEPT: list[Any] = []
"""What llvmlite unloads as soon as nobody holds it."""
