"""How a kernel becomes machine code, and how it is called.

Decides: eager signatures, no parallel threads, no fast-math, and where a process takes the code from, the same for all
kernels. In this order: the `library` that `agent warm` has linked, the object that it keeps beside it, loaded by
`llvmlite` alone, `numba` with its cache on disk. ADR 0022 has what each costs. A worker whose pipeline needs no kernel
loads none of them.

    @kernel("void(float32[::1], float32[::1])")
    def double(values: Floats, out: Floats) -> None: ...

    call = double.bind(values, out)      # buffers stay where they are: addresses are taken once
    call()
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, ParamSpec, TypeVar

from agent.inference.kernels.native import Code, open_code, warn
from agent.inference.kernels.signature import Signature, made_of

P = ParamSpec("P")
R = TypeVar("R")


class Kernel(Generic[P, R]):
    """A function with one compiled form. The Python form stays reachable as `python` for tests."""

    def __init__(self, python: Callable[P, R], signature: str, packed: bool = False) -> None:
        self.python = python
        self.packed = packed
        self.signature = Signature.parse(signature)
        self.name = python.__name__
        self.__doc__ = python.__doc__
        self._native: Any = None
        self._numba: Callable[P, R] | None = None
        self._form = ""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.bind(*args, **kwargs)()

    def bind(self, *args: P.args, **kwargs: P.kwargs) -> "Bound[R]":
        """Return a call without arguments. Arrays must stay the same objects, with the same memory."""
        if kwargs:
            raise TypeError(f"kernel {self.name} takes its arguments by position")
        return Bound(self, args)

    def bind_rest(self, *rest: Any) -> Callable[[Any], R]:
        """Return a call that takes the first argument anew each time; the others are bound, as by `bind`.

        Looking at an array takes about 3 us, which is much beside a kernel of 50: the others are looked at once.
        """
        call: Callable[[Any], R] | None = None

        def call_with(first: Any) -> R:
            nonlocal call
            if call is None:
                call = self.ready_for(first, rest)
            return call(first)

        return call_with

    def load(self) -> str:
        """Make the machine code ready; return where it came from: `library`, `llvmlite` or `numba`."""
        if self._native is None and self._numba is None:
            code = _kept_code()
            address = None if code is None else code.address(self.name, self.made_of())
            if code is not None and address is not None:
                self._native = self.signature.function_at(address)
                self._form = code.form
                _COUNTS["hits"] += 1
            else:
                # Beside machine code of other sources, numba's cache may hold some as well.
                self._numba = dispatcher = self.dispatcher(cached=code is None)
                self._form = "numba"
                _COUNTS["misses" if sum(dispatcher.stats.cache_misses.values()) else "hits"] += 1
            _LOADED.add(self._form)
        return self._form

    def made_of(self) -> str:
        """Return the digest that machine code of this kernel carries."""
        return made_of(self.python, self.signature)

    def ready(self, args: tuple[Any, ...]) -> Callable[[], R]:
        """Return the machine code with its arguments filled in."""
        if self.load() != "numba":
            function, values = self._native, self.signature.flatten(args)

            def call_native() -> R:
                result: R = function(*values)
                return result

            return call_native
        compiled: Any = self._numba

        def call_numba() -> R:
            result: R = compiled(*args)
            return result

        return call_numba

    def ready_for(self, first: Any, rest: tuple[Any, ...]) -> Callable[[Any], R]:
        """Return the machine code with all arguments but the first filled in; `first` is one of those to come."""
        if self.load() != "numba":
            function, head = self._native, self.signature.arguments[0]
            values = self.signature.flatten((first, *rest))[1 + head.axes :]

            def call_native(first: Any, _alive: object = rest) -> R:
                result: R = function(*head.flattened(first), *values)
                return result

            return call_native
        compiled: Any = self._numba

        def call_numba(first: Any) -> R:
            # numba has another type for arrays that are read only.
            result: R = compiled(first if first.flags.writeable else first.copy(), *rest)
            return result

        return call_numba

    def dispatcher(self, *, cached: bool = True) -> Any:
        """Return a fresh numba dispatcher, compiled or read from the cache; its `stats` say which.

        Args:
            cached: Look into numba's cache, and fill it.
        """
        import numba

        register_inner()
        try:
            return numba.njit([self.signature.text], cache=cached, error_model="numpy")(self.python)
        except RuntimeError as exc:
            # numba refuses a cache that it cannot write, even for reading: a sandboxed worker compiles in memory.
            warn("kernel %s is compiled anew in each process: %s", self.name, exc)
            return numba.njit([self.signature.text], error_model="numpy")(self.python)


class Bound(Generic[R]):
    """A kernel and its arguments. The code is loaded at the first call, and the arguments are kept alive."""

    __slots__ = ("_args", "_call", "_kernel")

    def __init__(self, kernel: Kernel[Any, R], args: tuple[Any, ...]) -> None:
        self._kernel = kernel
        self._args = args
        self._call: Callable[[], R] | None = None

    def __call__(self) -> R:
        if self._call is None:
            self._call = self._kernel.ready(self._args)
        return self._call()


KERNELS: dict[str, Kernel[Any, Any]] = {}
"""All kernels by name; `agent warm` compiles them."""

_LOADED: set[str] = set()
"""Where the kernels that are loaded came from."""

_COUNTS = {"hits": 0, "misses": 0}
"""Kernels that this process found compiled, and those that it compiled itself."""

_INNER: list[Callable[..., Any]] = []
"""Functions that kernels call and that numba has not been told of yet."""


def kernel(signature: str, *, packed: bool = False) -> Callable[[Callable[P, R]], Kernel[P, R]]:
    """Return a decorator that makes a kernel of the given numba signature.

    Args:
        signature: As numba reads it.
        packed: Let LLVM pack what is done to neighbours into vectors. A sum in several parts gains a quarter by it;
            weighted resizing lost an eighth. The results keep their bits.
    """

    def wrap(python: Callable[P, R]) -> Kernel[P, R]:
        made = Kernel(python, signature, packed)
        if KERNELS.setdefault(made.name, made) is not made:
            raise ValueError(f"two kernels are named {made.name}")
        return made

    return wrap


def inner(python: Callable[P, R]) -> Callable[P, R]:
    """Let kernels call `python`; in Python it stays what it is."""
    _INNER.append(python)
    return python


def loaded_form() -> str:
    """Return where this process has its kernels from: `library`, `llvmlite`, `numba`, or `none` so far."""
    return "+".join(sorted(_LOADED)) or "none"


def cache_counts() -> tuple[int, int]:
    """Return how many kernels this process found compiled, and how many it compiled itself."""
    return _COUNTS["hits"], _COUNTS["misses"]


def kernels_kept() -> bool:
    """Return whether machine code of the kernels can be loaded here without numba."""
    return _kept_code() is not None


def _kept_code() -> Code | None:
    folder = os.environ.get("NUMBA_CACHE_DIR")
    return open_code(Path(folder)) if folder else None


def register_inner() -> None:
    """Tell numba of the functions that kernels call."""
    from numba.extending import register_jitable

    while _INNER:
        register_jitable(_INNER.pop())
