"""A serving worker's start, step by step, in this fresh process; prints one JSON object, step -> milliseconds.

python -m benchmarks.footprint_parts.phases BUNDLE_DIR CACHE_DIR STARTED_NS      monotonic clock, when it was spawned
"""

# The order of the imports is what is measured: each stands where a worker comes to it.
import sys
import time

_REACHED_NS = time.monotonic_ns()


def main(arguments: list[str]) -> None:
    """Do what a worker does before its first answer, and print what each step took."""
    bundle_dir, cache_dir, started_ns = arguments[0], arguments[1], int(arguments[2])
    spent_ms = {"interpreter": (_REACHED_NS - started_ns) / 1e6}
    before = time.monotonic_ns()

    def step(name: str) -> None:
        nonlocal before
        spent_ms[name] = (time.monotonic_ns() - before) / 1e6
        before = time.monotonic_ns()

    from pathlib import Path

    import agent.serve.worker
    from agent.inference.order import prepare_process
    from agent.serve.orders import ServeOrder

    step("order and protocol")
    prepare_process(ServeOrder(bundle_dir=Path(bundle_dir), cache_dir=Path(cache_dir)), agent.serve.worker.say)
    import numpy

    step("numpy")
    import agent.serve.loop
    from agent.inference.arrays import golden_inputs
    from agent.inference.bundle import Bundle
    from agent.inference.engines.registry import engine_class
    from agent.inference.pipeline import open_pipeline

    step("pipeline")
    bundle = Bundle.open(Path(bundle_dir))
    engine_class(bundle.manifest.engine).import_library()
    step("engine")
    pipeline = open_pipeline(bundle, threads=1)
    step("model")
    queries = golden_inputs(bundle)
    assert isinstance(queries, numpy.ndarray)
    pipeline.answer(queries[0])
    step("first answer")

    import json

    print(json.dumps(spent_ms))


if __name__ == "__main__":
    main(sys.argv[1:])
