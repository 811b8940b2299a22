"""The small interface behind which every engine stands.

Decides: what a pipeline may ask of an engine. Leaves out: pre- and post-processing, and which engine is chosen.
Importing this module loads no engine and no numpy, so that the control process may ask what is installed.
"""

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from agent.errors import EngineFailed, EngineUnavailable
from wire.spec import Quantisation

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.generic]


OUT_OF_MEMORY_SIGNS = ("failed to map segment", "annot allocate memory", "cannot create shared object", "bad_alloc")


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
    """What was really set: threads, spinning, providers; part of the conditions of a measurement."""

    @classmethod
    def import_library(cls) -> Any:
        """Import the engine's library and return it: a phase of its own, since it takes longer than loading a model.

        Raises:
            EngineUnavailable: The engine is not installed.
        """

    @classmethod
    def load(cls, path: Path, options: Mapping[str, Any], threads: int) -> Self:
        """Load the model's file.

        Raises:
            EngineUnavailable: The engine is not installed.
            EngineFailed: It refuses the file or an option.
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

    def close(self) -> None: ...


def checked_options(engine: str, options: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """Return `options` over the defaults `known`.

    Raises:
        EngineFailed: An option that this engine does not have, or of another type than its default.
    """
    for key, value in options.items():
        if key not in known:
            raise EngineFailed(f"{engine} has no option {key!r}: it has {', '.join(sorted(known))}")
        if type(value) is not type(known[key]):
            raise EngineFailed(f"{engine} option {key!r} takes a {type(known[key]).__name__}, got {value!r}")
    return {**known, **options}


def import_failure(exc: Exception, engine: str, extra: str) -> Exception:
    """Return the error that a failed import of an engine's library stands for.

    Under a memory cap the loader cannot map the library: that is a lack of memory, and no missing engine.
    """
    text = str(exc)
    if any(sign in text for sign in OUT_OF_MEMORY_SIGNS):
        return MemoryError(f"{engine} cannot be imported: {text[:500]}")
    return EngineUnavailable(f"{engine} cannot be imported ({text[:500]}): install thresher[{extra}]")


def installed_version(module: str, distributions: Sequence[str]) -> str | None:
    """Return the version of an installed module without importing it, or None where it is missing."""
    try:
        if importlib.util.find_spec(module) is None:
            return None
    except ModuleNotFoundError:
        return None
    for distribution in distributions:
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    return "unknown"
