"""The small interface behind which every engine stands.

Decides: what a pipeline may ask of an engine. Leaves out: pre- and post-processing, and which engine is chosen.
Importing this module loads no engine and no numpy, so that the control process may ask what is installed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from agent.errors import EngineFailed, EngineUnavailable
from agent.inference.engines.table import TABLE
from wire.spec import Quantisation

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.generic]


Model = Path | bytes
"""A model's file, or what it holds."""

THREADS, MOST_THREADS = "threads", 64
"""The option that every engine has, and the most that a bundle may ask for."""

OUT_OF_MEMORY_SIGNS = (
    *("failed to map segment", "cannot map zero-fill pages", "cannot create shared object"),
    *("annot allocate memory", "bad_alloc"),
)
"""What the system's loader and libraries say under a memory cap."""


@dataclass(frozen=True)
class TensorInfo:
    """A model's input or output as the engine reports it; -1 stands for a free axis."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    quantisation: Quantisation | None = None


class Engine(Protocol):
    """A loaded model. Not safe for use by two threads at once."""

    name: str
    version: str
    settings: Mapping[str, Any]
    """What was really set: threads, spinning, providers; part of the conditions of a measurement. `fell_back`: why it
    does not run as was asked, where that is allowed. `engine_cache`: `hit` or `miss`, where loading compiles."""

    @classmethod
    def import_library(cls) -> Any:
        """Import the engine's library and return it: a phase of its own, since it takes longer than loading a model.

        Raises:
            EngineUnavailable: The engine is not installed.
        """

    @classmethod
    def compiles(cls, options: Mapping[str, Any]) -> bool:
        """Return whether a load with these options compiles the model, which may take minutes in silence."""

    @classmethod
    def load(cls, model: Model, options: Mapping[str, Any], threads: int) -> Self:
        """Load the model's file, or its content, with `threads` threads or as few as the options say.

        Raises:
            EngineUnavailable: The engine is not installed.
            EngineFailed: It refuses the model or an option, or does not use the provider or delegate that is asked for.
        """

    @property
    def inputs(self) -> tuple[TensorInfo, ...]: ...

    @property
    def outputs(self) -> tuple[TensorInfo, ...]: ...

    def infer(self, inputs: "Sequence[Array]") -> "list[Array]":
        """Run once. `inputs` stand in the order of `self.inputs`, C-contiguous, with their batch axis.

        Raises:
            EngineFailed: The engine failed while it ran.
        """

    def take_batch(self, size: int) -> None:
        """Be ready for `size` queries at once from now on; 1 is how an engine is loaded.

        Raises:
            BatchFixed: The model's batch axis is fixed. The engine is as it was.
        """

    def reset(self) -> None:
        """Forget what earlier calls left in a model that has state; it answers as one that was just loaded.

        Raises:
            EngineFailed: It cannot be loaded again.
        """

    def close(self) -> None: ...


def checked_options(engine: str, options: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """Return `options` over the defaults `known`; threads, which every engine has, are left to `threads_of`.

    Raises:
        EngineFailed: An option that this engine does not have, or of another type than its default.
    """
    own = {key: value for key, value in options.items() if key != THREADS}
    for key, value in own.items():
        if key not in known:
            has = ", ".join(sorted({*known, THREADS}))
            raise EngineFailed(f"{engine} has no option {key!r}: it has {has}")
        if type(value) is not type(known[key]):
            raise EngineFailed(f"{engine} option {key!r} takes a {type(known[key]).__name__}, got {value!r}")
    return {**known, **own}


def threads_of(engine: str, options: Mapping[str, Any], allowed: int) -> int:
    """Return how many threads an engine gets: as many as its options ask for, and no more than are allowed.

    Measuring and serving both load engines so: what was measured is what is served.

    Raises:
        EngineFailed: The option is no whole number from 1 to 64.
    """
    asked = options.get(THREADS)
    if asked is None:
        return allowed
    if type(asked) is not int or not 1 <= asked <= MOST_THREADS:
        raise EngineFailed(f"{engine} option {THREADS!r} takes a whole number from 1 to {MOST_THREADS}, got {asked!r}")
    return min(asked, allowed)


def check_vendor_library(option: str, library: str, model: Model) -> None:
    """Refuse a path that is not absolute, or lies in the bundle: machine code comes from the device's vendor, and never
    with a model.

    Raises:
        EngineFailed: With what is expected.
    """
    path = Path(library)
    if not path.is_absolute():
        raise EngineFailed(f"{option} {library!r} is no absolute path on the device, which is what it needs")
    if isinstance(model, Path) and path.resolve().is_relative_to(model.resolve().parent):
        raise EngineFailed(f"{option} {library!r} lies in the bundle: a bundle brings no machine code")


def named(model: Model) -> str:
    """Return what a model is called in a message."""
    return model.name if isinstance(model, Path) else f"a model of {len(model)} bytes"


def content(model: Model) -> bytes:
    """Return what a model's file holds.

    Raises:
        EngineFailed: It cannot be read.
    """
    if isinstance(model, bytes):
        return model
    try:
        return model.read_bytes()
    except OSError as exc:
        raise EngineFailed(f"{model.name} cannot be read: {exc.strerror}") from exc


def import_failure(exc: Exception, engine: str) -> Exception:
    """Return the error that a failed import of an engine's library stands for.

    Under a memory cap the loader cannot map the library: that is a lack of memory, and no missing engine.
    """
    text = str(exc)
    if any(sign in text for sign in OUT_OF_MEMORY_SIGNS):
        return MemoryError(f"{engine} cannot be imported: {text[:500]}")
    extra = TABLE[engine].extra
    return EngineUnavailable(f"{engine} cannot be imported ({text[:500]}): install thresher[{extra}]")


def package_version(engine: str) -> str | None:
    """Return the version of the package that brings an engine, without importing it; None where there is none."""
    for package in TABLE[engine].packages:
        try:
            return metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return None
