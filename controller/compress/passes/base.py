"""What a pass is: a pure step from one model file to another.

Decides: the interface and what a pass may know. A pass reads its artifact and its context, writes one file into the
context's folder, and touches nothing else; so its result can be kept by content. Leaves out: order (`recipe.py`),
process and cache (`build.py`).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from controller.compress.cache import PassCache
from controller.errors import UnusableData

ENDS_FILE = "ends.json"
"""File beside the calibration inputs: where they go."""


@dataclass(frozen=True)
class Capabilities:
    """What the devices that are to run a variant can do."""

    engines: frozenset[str]
    formats: frozenset[str]


@dataclass(frozen=True)
class Artifact:
    """A model file on its way through the passes. `precision` as in `Variant`; `notes` are for people."""

    format: str
    path: Path
    precision: str = "float32"
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class CalibrationEnds:
    """Which input takes the calibration inputs (null: the first), and the state that goes from one to the next:
    input's name -> output's."""

    input: str | None = None
    state: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PassContext:
    """Where a pass works.

    `calibration`: model inputs in an `.npy`, float32, shape (n, ...); None where there are none. `training`: the folder
    that `controller/compress/materials/training.py` wrote, for passes that train. `root`: the model's folder, for those
    that say so.
    """

    folder: Path
    cache: PassCache
    calibration: Path | None = None
    calibration_digest: str = ""
    seed: int = 0
    threads: int = 1
    training: Path | None = None
    root: Path | None = None

    @property
    def calibration_ends(self) -> CalibrationEnds:
        """Where the calibration inputs go, as it was written beside them; the first input where nobody did."""
        kept = self.calibration.with_name(ENDS_FILE) if self.calibration else None
        return (
            CalibrationEnds(**json.loads(kept.read_bytes()))
            if kept is not None and kept.is_file()
            else CalibrationEnds()
        )

    def calibration_inputs(self, at_most: int) -> NDArray[np.float32]:
        """Return at most `at_most` inputs, spread evenly over all; a memory map, so that they are read in a stream.

        Raises:
            UnusableData: There are none.
        """
        if self.calibration is None:
            raise UnusableData("this pass calibrates and the model names no samples; add `data` to model.yaml")
        every: NDArray[np.float32] = np.load(self.calibration, mmap_mode="r", allow_pickle=False)
        if len(every) <= at_most:
            return every
        rows = np.linspace(0, len(every) - 1, at_most).round().astype(np.int64)
        chosen: NDArray[np.float32] = every[rows]
        return chosen


@dataclass(frozen=True)
class Needs:
    """What a pass declares.

    `libraries`: distributions whose versions change its result; `deterministic`: same in, same out. `environment`: the
    converter environment that it runs in, whose versions count too. `root`: it reads the user's Python in the model's
    folder, all of which counts.
    """

    libraries: tuple[str, ...]
    calibration: bool = False
    training: bool = False
    environment: str | None = None
    root: bool = False
    deterministic: bool = True
    sources: tuple[str, ...] = field(default=())


class CompressionPass(Protocol):
    """One technique."""

    name: str
    needs: Needs

    def applies(self, capabilities: Capabilities, artifact: Artifact, /) -> str | None:
        """Return why this pass cannot be used here, or None."""

    def space(self, capabilities: Capabilities, /) -> Mapping[str, Sequence[Any]]:
        """Return the parameters worth a search, each with its values."""

    def run(self, artifact: Artifact, parameters: Mapping[str, Any], context: PassContext, /) -> Artifact:
        """Write the result into `context.folder` and return it.

        Raises:
            UnusableModel: The model cannot go through this pass; the text says why.
        """


def needs_float(name: str, form: str, capabilities: Capabilities, artifact: Artifact) -> str | None:
    """Return why a pass that takes float files of one format cannot be used, or None."""
    if artifact.format != form:
        return f"{name} takes {form} files, this one is {artifact.format}"
    if artifact.precision != "float32":
        return f"{name} takes float32 files, this one is {artifact.precision}"
    if form not in capabilities.formats:
        return f"nothing here runs {form}; the engines are {', '.join(sorted(capabilities.engines)) or 'none'}"
    return None
