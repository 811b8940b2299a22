"""The steps of `tensorrt.sh`: bundles of the committed leaf model, run through the agent's own workers.

python -m tests.device.tensorrt_run FOLDER
"""

import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np

from agent.config import WorkersConfig
from agent.inference.engines.onnxruntime import OnnxRuntimeEngine
from agent.inference.pipeline import make_pipeline
from agent.measure.orders import LoadOrder, MeasureOrder, Result
from agent.measure.process import run_worker
from agent.warm import ensure_warm
from tests.unit.agent.inference import bundle_kit as kit
from wire import spec
from wire.manifest import GoldenSpec

MODEL = Path(__file__).parents[2] / "models/leaf_outline/leaf_outline.onnx"
LONGEST_S = 120.0
"""Of a worker that says nothing; one that builds says so each second, and has 15 minutes."""


def main(arguments: list[str]) -> int:
    """Run, print a line a step, and return the exit code."""
    folder = Path(arguments[0])
    bundle = outline_bundle(folder / "bundle")
    ensure_warm(folder / "cache")
    beats: list[dict[str, Any]] = []
    first, second = (loaded(folder, bundle, beats) for _ in range(2))
    checks = {
        "the first load builds": first.phases is not None and first.phases.cache_misses == 1,
        "it shows signs of life": any(line.get("event") == "compiling" for line in beats),
        "the second load finds the engine": second.phases is not None and second.phases.cache_misses == 0,
        "golden outputs agree and TensorRT was used": measured(folder, bundle),
    }
    for step, holds in checks.items():
        print(f"{'PASS' if holds else 'FAIL'}  {step}")
    for name, result in (("first", first), ("second", second)):
        print(f"{name} load: {result.model_dump(exclude_none=True).get('phases') or result.error}")
    return 0 if all(checks.values()) else 1


def loaded(folder: Path, bundle: Path, beats: list[Any]) -> Result:
    """Load in a fresh worker."""
    order = LoadOrder(bundle_dir=bundle, result_path=folder / "result.json", cache_dir=folder / "cache")
    return run_worker(order, LONGEST_S, threading.Event(), beats.append, WorkersConfig()).result


def measured(folder: Path, bundle: Path) -> bool:
    """Measure in a fresh worker; a fallback would have failed the load."""
    order = MeasureOrder(
        bundle_dir=bundle, result_path=folder / "result.json", cache_dir=folder / "cache", grade="quick"
    )
    result = run_worker(order, LONGEST_S, threading.Event(), workers=WorkersConfig()).result
    if result.replicate is None:
        print(f"measuring: {result.error}")
        return False
    settings = result.replicate.conditions["engine_settings"]
    print(f"operators: {settings['operators']}; p50 {np.median(result.replicate.total_ns.unpack()) / 1e6:.3f} ms")
    return settings["providers"][0] == "TensorrtExecutionProvider" and "fell_back" not in settings


def outline_bundle(folder: Path) -> Path:
    """Write the bundle; its golden outputs are those of this machine's processor."""
    folder.mkdir(exist_ok=True)
    (folder / "m.onnx").write_bytes(MODEL.read_bytes())
    engine = OnnxRuntimeEngine.load(folder / "m.onnx", {}, threads=1)
    given, wanted = engine.inputs[0], engine.outputs[0]
    pre = spec.TensorPre(input=spec.TensorSpec(name=given.name, shape=(-1, 1, 427)))
    post = spec.ClassificationPost(top_k=1, output=spec.TensorSpec(name=wanted.name, shape=wanted.shape))
    pipeline = spec.Pipeline(pre=pre, post=post)
    inputs = np.random.default_rng(1).normal(size=(8, 1, 427)).astype(np.float32)
    made = make_pipeline(pipeline, engine)
    outputs = np.stack([made.raw(query) for query in inputs])
    options = {"provider": "tensorrt"}
    fields = {"model_file": "m.onnx", "pipeline": pipeline, "engine_options": options}
    kit.write_bundle(folder, inputs, outputs, **fields, golden=GoldenSpec(samples=len(inputs)))
    return folder


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
