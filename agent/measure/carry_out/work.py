"""One order under way: its bundle, its meter, and the phases until it can answer.

Decides: phases and their order (import, load, compile), that loading counts as compiling where an engine compiles the
model for the device, and that compiling shows signs of life while it lasts.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from agent.inference.bundle import Bundle
from agent.inference.engines.registry import engine_class
from agent.inference.kernels.compiled import Kernel, cache_counts, kernels_kept
from agent.inference.order import heartbeat
from agent.inference.pipeline import Pipeline, open_pipeline
from agent.measure.memory import MemoryMeter
from wire.trial import Phases

Say = Callable[..., None]


@dataclass
class Work:
    """One order under way. `engines`: models that were found compiled, and those that had to be."""

    bundle: Bundle
    meter: MemoryMeter
    say: Say
    started_ns: int
    phases_ms: dict[str, float] = field(default_factory=dict)
    kernels: str = "none"
    engines: tuple[int, int] = (0, 0)

    @contextmanager
    def phase(self, name: str, start_ns: int | None = None) -> Iterator[None]:
        """Time what happens inside, or since `start_ns`."""
        start = time.perf_counter_ns() if start_ns is None else start_ns
        yield
        taken_ms = (time.perf_counter_ns() - start) / 1e6
        self.phases_ms[name] = round(self.phases_ms.get(name, 0.0) + taken_ms, 3)
        self.say("phase", phase=name, ms=self.phases_ms[name])

    def pipeline(self, threads: int, answers: bool) -> Pipeline:
        """Import the engine, load the model, and load the kernels: where no answer is asked, only the first ones."""
        engine = engine_class(self.bundle.manifest.engine)
        with self.phase("import_ms", self.started_ns):
            engine.import_library()
        compiles = engine.compiles(self.bundle.manifest.engine_options)
        with self.phase("compile_ms" if compiles else "load_ms"), heartbeat(self.say) if compiles else nullcontext():
            pipeline = open_pipeline(self.bundle, threads)
        found = pipeline.engine.settings.get("engine_cache")
        self.engines = (int(found == "hit"), int(found == "miss"))
        with self.phase("compile_ms"), self._signs_of_life(pipeline):
            self.kernels = load_kernels(pipeline, answers)
        return pipeline

    def phases(self) -> Phases:
        """Return the phases so far, and whether kernels and model were found compiled."""
        hits, misses = cache_counts()
        counts = {"cache_hits": hits + self.engines[0], "cache_misses": misses + self.engines[1]}
        return Phases.model_validate({**self.phases_ms, **counts, "kernels": self.kernels})

    def _signs_of_life(self, pipeline: Pipeline) -> AbstractContextManager[None]:
        """Loading is over at once; a compiler takes seconds, on a small board a minute."""
        compiles = bool(_kernels(pipeline, True)) and not kernels_kept()
        return heartbeat(self.say) if compiles else nullcontext()


def load_kernels(pipeline: Pipeline, answers: bool) -> str:
    """Load the machine code of the pipeline's kernels; return how: `none`, `library`, `llvmlite` or `numba`."""
    ways = {kernel.load() for kernel in _kernels(pipeline, answers)}
    return "none" if not ways else "+".join(sorted(ways))


def _kernels(pipeline: Pipeline, answers: bool) -> tuple[Kernel[..., Any], ...]:
    kernels: tuple[Kernel[..., Any], ...] = pipeline.pre.kernels
    return kernels + (pipeline.post.kernels if answers else pipeline.post.readers)
