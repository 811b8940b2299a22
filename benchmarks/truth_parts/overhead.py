"""What the product's own code costs: the pipeline around its parts, and the measuring around the pipeline.

    python -m benchmarks.truth_parts.overhead LEAF BUSY CACHE ROUNDS        prints one JSON object

Two ways of doing the same are compared in one process, in blocks that take turns, so that whatever changes on the
machine meets both; of each way the median block counts. The clock is read around a block of queries, and not around a
query, so that reading it costs neither side anything.
"""

import gc
import itertools
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent.child import worker_environment
from agent.inference.order import WorkerOrder, prepare_process
from benchmarks.common import Claim, at_most, repository
from benchmarks.truth_parts.bundles import write_engine, write_leaf
from benchmarks.truth_parts.product import Product, pinned

MOST_PIPELINE_PERCENT = 2.0
MOST_MEASURING_PERCENT = 1.0
BLOCK = 20
BUSY_NS = 1_000_000
PATIENCE_S = 300.0

Block = Callable[[], Any]


def overhead_claims(product: Product, folder: Path, rounds: int) -> list[Claim]:
    """Return the claims on what the pipeline and the measuring cost."""
    leaf, busy = write_leaf(folder / "parts", "onnxruntime"), write_engine(folder / "ms", "busy", busy_ns=BUSY_NS)
    arguments = [str(leaf), str(busy), str(product.cache), str(rounds)]
    environment = {**worker_environment(1), "PYTHONPATH": str(repository())}
    with pinned():
        ended = subprocess.run(
            [sys.executable, "-m", "benchmarks.truth_parts.overhead", *arguments],
            env=environment,
            check=True,
            capture_output=True,
            timeout=PATIENCE_S,
        )
    found = json.loads(ended.stdout)
    return [pipeline_claim(found["pipeline"]), measuring_claim(found["measuring"])]


def pipeline_claim(found: dict[str, float]) -> Claim:
    """Return the claim on `Pipeline.answer` against pre, engine and post called by hand."""
    how = f"leaf_outline, {_text(found)}: Pipeline.answer against pre.prepare, engine.infer and post.finish"
    return at_most("pipeline above its three parts", _percent(found), MOST_PIPELINE_PERCENT, "%", how)


def measuring_claim(found: dict[str, float]) -> Claim:
    """Return the claim on the timed loop against the pipeline alone, for an inference of 1 ms."""
    how = f"an engine that is busy for 1 ms, {_text(found)}: the timed loop's sample against Pipeline.answer"
    return at_most("measuring, of a 1 ms inference", _percent(found), MOST_MEASURING_PERCENT, "%", how)


def _percent(found: dict[str, float]) -> float:
    return 100 * (found["with_ns"] / found["without_ns"] - 1)


def _text(found: dict[str, float]) -> str:
    with_us, without_us = found["with_ns"] / 1e3, found["without_ns"] / 1e3
    return (
        f"{with_us:.2f} us against {without_us:.2f} us a query, medians of {found['blocks']:.0f} blocks a side of "
        f"{BLOCK} queries, taking turns in one process"
    )


def main(arguments: list[str]) -> int:
    """Compare, print, and return the exit code."""
    leaf, busy, cache, rounds = Path(arguments[0]), Path(arguments[1]), Path(arguments[2]), int(arguments[3])
    prepare_process(WorkerOrder(bundle_dir=leaf, cache_dir=cache), lambda *_, **__: None)
    from agent.inference.engines.registry import ENGINES

    ENGINES["busy"] = ("benchmarks.truth_parts.engines", "BusyEngine")
    ways = {"pipeline": _pipeline_blocks(leaf), "measuring": _measuring_blocks(busy)}
    found = {name: compare(*blocks, rounds) for name, blocks in ways.items()}
    print(json.dumps(found))
    return 0


def _pipeline_blocks(folder: Path) -> tuple[Block, Block]:
    pipeline, queries = _opened(folder)
    prepare, infer, finish = pipeline.pre.prepare, pipeline.engine.infer, pipeline.post.finish
    feeds, ours, theirs = pipeline.feeds, itertools.cycle(queries), itertools.cycle(queries)

    def whole() -> None:
        for _ in range(BLOCK):
            pipeline.answer(next(ours))

    def by_hand() -> None:
        for _ in range(BLOCK):
            prepare(next(theirs))
            finish(infer(feeds))

    return whole, by_hand


def _measuring_blocks(folder: Path) -> tuple[Block, Block]:
    from agent.measure.scenarios.loop import Loop, Timings

    pipeline, queries = _opened(folder)
    loop, timings, alone = Loop(pipeline, queries), Timings(), itertools.cycle(queries)

    def measured() -> None:
        for _ in range(BLOCK):
            loop.sample(timings, 1)

    def bare() -> None:
        for _ in range(BLOCK):
            pipeline.answer(next(alone))

    return measured, bare


def _opened(folder: Path) -> tuple[Any, Any]:
    from agent.inference.arrays import golden_inputs
    from agent.inference.bundle import Bundle
    from agent.inference.pipeline import open_pipeline
    from agent.measure.scenarios.loop import rotation

    bundle = Bundle.open(folder)
    return open_pipeline(bundle, threads=1), rotation(golden_inputs(bundle))


def compare(first: Block, second: Block, rounds: int) -> dict[str, float]:
    """Return the median time of a query either way [ns]; in every second round the second one goes first."""
    spent_ns: dict[Block, list[int]] = {first: [], second: []}
    first(), second()
    gc.disable()
    for number in range(rounds):
        for block in (first, second) if number % 2 == 0 else (second, first):
            start_ns = time.perf_counter_ns()
            block()
            spent_ns[block].append(time.perf_counter_ns() - start_ns)
    gc.enable()
    with_ns, without_ns = (statistics.median(spent_ns[block]) / BLOCK for block in (first, second))
    return {"with_ns": with_ns, "without_ns": without_ns, "blocks": rounds}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
