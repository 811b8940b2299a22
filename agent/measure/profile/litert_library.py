"""The C interface of LiteRT's own library, as far as profiling needs it.

Decides: how its functions are called and its failures told. Leaves out: what is called in which order (`litert.py`).
"""

import ctypes
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from agent.errors import EngineFailed

OLDEST = (2, 3)
"""Release from which on the C interface is the one used here; older ones take other arguments."""

Handle = ctypes.c_void_p


class Library:
    """`libLiteRt.so` of the installed package. Its functions return a status; 0 is well."""

    def __init__(self, version: str) -> None:
        """Load the library.

        Args:
            version: That of the installed package.
        Raises:
            EngineFailed: It is too old, or has no such library.
        """
        if _numbers(version) < OLDEST:
            wanted = ".".join(map(str, OLDEST))
            raise EngineFailed(f"LiteRT's profiler is reached from release {wanted} on, {version} is installed")
        try:
            self._functions = ctypes.CDLL(str(_folder() / "libLiteRt.so"))
            self._c = ctypes.CDLL(None)
        except OSError as exc:
            raise EngineFailed(f"LiteRT's own library cannot be loaded: {str(exc)[:300]}") from exc
        self._c.strdup.restype = Handle

    def check(self, name: str, *arguments: Any) -> None:
        """Call a function that returns a status.

        Raises:
            EngineFailed: It is not there, or failed.
        """
        try:
            status = getattr(self._functions, name)(*arguments)
        except AttributeError as exc:
            raise EngineFailed(f"LiteRT's library has no {name}") from exc
        if status != 0:
            raise EngineFailed(f"{name} failed with status {status}")

    def make(self, name: str, *arguments: Any) -> Handle:
        """Call a function that gives a handle by its last argument, and return that."""
        handle = Handle()
        self.check(name, *arguments, ctypes.byref(handle))
        return handle

    def count(self, name: str, *arguments: Any) -> int:
        """Call a function that gives a size by its last argument, and return that."""
        size = ctypes.c_size_t()
        self.check(name, *arguments, ctypes.byref(size))
        return size.value

    def drop(self, name: str, handle: Handle) -> None:
        """Call a function that destroys what `handle` stands for."""
        getattr(self._functions, name)(handle)

    def add_options(self, options: Handle, name: str, toml: str) -> None:
        """Add the options of a part of LiteRT, written as TOML; the library frees the copy that it is given."""
        copy = Handle(self._c.strdup(toml.encode()))
        release = ctypes.cast(self._c.free, Handle)
        self.check(
            "LiteRtAddOpaqueOptions", options, self.make("LiteRtCreateOpaqueOptions", name.encode(), copy, release)
        )

    def text(self, name: str, *arguments: Any) -> str:
        """Call a function that gives a string of its own making, and return that; the string is freed."""
        found = self.make(name, *arguments)
        try:
            return ctypes.string_at(found).decode(errors="replace") if found.value else ""
        finally:
            self._c.free(found)


def _folder() -> Path:
    spec = find_spec("ai_edge_litert")
    if spec is None or not spec.submodule_search_locations:
        raise EngineFailed("LiteRT is not installed as a package of its own")
    return Path(next(iter(spec.submodule_search_locations)))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
