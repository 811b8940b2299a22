"""Both engines answer in a worker that does not start without its whole sandbox."""

import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from agent.config import WorkersConfig
from agent.device.sandbox.confine import abilities
from agent.errors import WorkerNotStarted
from agent.inference.engines.litert import LiteRtEngine
from agent.inference.engines.onnxruntime import OnnxRuntimeEngine
from agent.inference.pipeline import make_pipeline
from agent.measure.orders import SelftestOrder
from agent.measure.process import run_worker
from agent.warm import ensure_warm
from tests.unit.agent.inference import bundle_kit as kit
from tests.unit.agent.inference.test_litert import MODELS, outline_pipeline, outlines
from wire.manifest import GoldenSpec

FILES = {"onnxruntime": "leaf_outline.onnx", "litert": "leaf_outline.tflite"}
HAS_ALL = "none" not in (abilities()["files"], abilities()["network"]) and abilities()["network"] == "seccomp"


@pytest.fixture(autouse=True, scope="module")
def _warm() -> None:
    ensure_warm()


def outline_bundle(folder: Path, engine: str) -> None:
    """Write a bundle of the committed model, its golden outputs computed here, outside of any sandbox."""
    folder.mkdir()
    shutil.copy(MODELS / "leaf_outline" / FILES[engine], folder)
    kind = OnnxRuntimeEngine if engine == "onnxruntime" else LiteRtEngine
    loaded = kind.load(folder / FILES[engine], {}, threads=1)
    pipeline = outline_pipeline(loaded)
    inputs = outlines(4)
    made = make_pipeline(pipeline, loaded)
    outputs = np.concatenate([np.array(made.raw(query)).reshape(1, -1) for query in inputs]).astype(np.float32)
    kit.write_bundle(
        folder,
        inputs,
        outputs,
        engine=engine,
        format={"onnxruntime": "onnx", "litert": "tflite"}[engine],
        model_file=FILES[engine],
        pipeline=pipeline,
        golden=GoldenSpec(samples=4),
    )


@pytest.mark.skipif(not HAS_ALL, reason="this kernel lacks a part of the sandbox")
@pytest.mark.parametrize("engine", sorted(FILES))
def test_an_engine_answers_inside(tmp_path: Path, engine: str) -> None:
    outline_bundle(tmp_path / "b", engine)
    (tmp_path / "run").mkdir()
    order = SelftestOrder(bundle_dir=tmp_path / "b", result_path=tmp_path / "run/result.json")
    result = run_worker(order, 60.0, threading.Event(), workers=WorkersConfig(sandbox="required")).result
    assert (result.outcome, result.error, result.engine) == ("ok", None, engine)
    assert result.golden is not None
    assert result.golden.passed


def test_a_worker_that_may_not_start_is_not_held_against_its_bundle(tmp_path: Path) -> None:
    order = SelftestOrder(bundle_dir=tmp_path, result_path=tmp_path / "result.json")
    workers = WorkersConfig(sandbox="required", user="no-such-user")
    with pytest.raises(WorkerNotStarted, match=r"workers\.sandbox is required, and this host lacks user: there is no"):
        run_worker(order, 60.0, threading.Event(), workers=workers)
