"""How fast variants are on this host against the baseline: one thread, one query at a time, in turns.

Decides: that timing is done alone, what fresh processes say together, and which variants are as fast as one that was
timed already. Leaves out: the turns themselves (`race.py`). Numbers of this host: a device's are measured by a deploy.

    clock.sitting([baseline, variant])[1].ratio  # 0.31: the variant takes 31 % of the baseline's time
"""

import fcntl
import shutil
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from controller.compress.evaluate import OfflineResult
from controller.compress.process.run import inline_manifest
from controller.compress.process.start import PassFailed, run_child
from controller.compress.variant import Variant
from controller.convert.onnx_io import parse_onnx
from controller.errors import UnusableModel
from controller.models.preprocess import prepare
from controller.models.queries import as_queries
from wire.canonical import canonical_json, sha256_hex
from wire.spec import bundle_files

ROUNDS = 25
"""Blocks of each variant in one process: a neighbour's burst touches few of them."""


@dataclass(frozen=True)
class Laps:
    """One variant in one sitting, a value a process. ns: median call. ratios: to the first variant's, of the same
    round, median over the rounds."""

    ns: tuple[float, ...]
    ratios: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """Its time over the first variant's: geometric mean of the processes."""
        return statistics.geometric_mean(self.ratios)

    @property
    def median_ns(self) -> float:
        """Its median call: geometric mean of the processes [ns]."""
        return statistics.geometric_mean(self.ns)


class Clock(Protocol):
    """Times variants."""

    def sitting(self, variants: Sequence[Variant], processes: int = 1) -> list[Laps]:
        """Time variants beside each other, the first of them being the measure.

        Raises:
            UnusableModel: One of them cannot be timed here.
        """

    def peak_memory(self, variant: Variant) -> int | None:
        """Return the peak memory of a worker that answers with a variant [bytes]; None where it is not known."""


class HostClock:
    """Times on this machine, alone: searches that share the lock's file wait for each other."""

    def __init__(self, lock: Path, golden: NDArray[Any]) -> None:
        self._lock, self._golden = lock, golden

    def sitting(self, variants: Sequence[Variant], processes: int = 1) -> list[Laps]:
        with TemporaryDirectory(prefix="thresher-race-") as place, self._alone():
            folder = Path(place)
            entries = [self._entry(one, folder / f"{number}.npy") for number, one in enumerate(variants)]
            order = {"entries": entries, "rounds": ROUNDS, "threads": 1}
            return laps_of([self._rounds(order, folder) for _ in range(processes)])

    def peak_memory(self, variant: Variant) -> int | None:
        """As the agent's worker finds it in a process of its own, the file loaded by the agent."""
        with TemporaryDirectory(prefix="thresher-memory-") as place, self._alone():
            folder = Path(place)
            order = {
                "kind": "memory",
                "manifest": inline_manifest(variant).model_dump(mode="json", exclude_none=True),
                "root": str(folder),
            }
            self._laid_out(variant, folder)
            try:
                result = run_child("agent.measure.worker", order, folder, variant.name)
            except PassFailed:
                return None  # a number that is nice to have
        return int(result["memory"]["peak_bytes"]) if result["outcome"] == "ok" else None

    def _entry(self, variant: Variant, inputs: Path) -> dict[str, Any]:
        if variant.engine_options:
            raise UnusableModel("with options of its engine a variant is timed on devices, not on this host")
        pre = variant.pipeline.pre
        np.save(inputs, prepare(pre, as_queries(self._golden, pre.kind)), allow_pickle=False)
        path = str(variant.model_file)
        return {"format": variant.format, "path": path, "input": pre.input.name, "inputs": str(inputs)}

    def _rounds(self, order: dict[str, Any], folder: Path) -> list[list[int]]:
        try:
            result = run_child("controller.compress.search.timing.race", order, folder, "timing")
        except PassFailed as exc:
            raise UnusableModel(exc.because) from exc
        if result["outcome"] != "ok":
            raise UnusableModel(result["error"])
        rounds: list[list[int]] = result["rounds"]
        return rounds

    def _laid_out(self, variant: Variant, folder: Path) -> None:
        """Lay model, golden queries and files that the pipeline names where the manifest says."""
        named = {} if variant.model_root is None else {
            name: variant.model_root / name for name in bundle_files(variant.pipeline).values()
        }  # fmt: skip
        for name, path in {variant.model_file.name: variant.model_file, **named}.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / name)
        (folder / "golden").mkdir()
        np.save(folder / "golden" / "inputs.npy", as_queries(self._golden, variant.pipeline.pre.kind))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the lock; the kernel lets go of it when this process dies."""
        self._lock.parent.mkdir(parents=True, exist_ok=True)
        with self._lock.open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def laps_of(processes: Sequence[Sequence[Sequence[int]]]) -> list[Laps]:
    """Return each variant's laps from the blocks of each process, shape (processes, rounds, variants) [ns]."""
    found = []
    for place in range(len(processes[0][0])):
        ns = tuple(float(statistics.median(row[place] for row in rounds)) for rounds in processes)
        ratios = tuple(float(statistics.median(row[place] / row[0] for row in rounds)) for rounds in processes)
        found.append(Laps(ns, ratios))
    return found


def speed_key(variant: Variant, result: OfflineResult) -> str:
    """Return what is equal for variants that take the same time: the engine runs the same graph for them.

    A graph that runs in float32 throughout, by the fusion audit, is told by its operators and multiply-accumulates:
    zeros among the weights, or weights from a table, change nothing. Any other by its file's operators, types and
    shapes: other values in the same places take no other time.
    """
    audit, plain = result.fusion, variant.precision == "float32"
    if plain and audit is not None and audit.quantised == 0 and result.macs:
        parts: list[Any] = ["float", dict(audit.operators), result.macs]
    elif variant.format == "onnx":
        parts = ["graph", graph_shape(variant.model_file)]
    else:
        parts = ["file", sha256_hex(variant.model_file.read_bytes())]
    return sha256_hex(canonical_json([variant.engine, dict(variant.engine_options), parts]))


def graph_shape(path: Path) -> str:
    """Return the digest of an ONNX file without the values of its weights."""
    model = parse_onnx(path)
    for each in model.graph.initializer:
        for name in ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data"):
            each.ClearField(name)
    return sha256_hex(model.graph.SerializeToString(deterministic=True))
