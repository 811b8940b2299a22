"""The measuring worker as it is really used: a child process a time, on small real models."""

import base64
import json
import subprocess
import sys
import threading
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from agent.measure.orders import BaseOrder, LoadOrder, MeasureOrder, MemoryOrder, Result, RunOrder, SelftestOrder
from agent.measure.process import run_worker
from agent.measure.protocol import GRADES
from agent.warm import ensure_warm
from tests.unit.agent.inference import bundle_kit as kit
from wire import spec
from wire.canonical import sha256_hex
from wire.manifest import GoldenSpec
from wire.trial import ScenarioSettings

MODELS = Path(__file__).parents[4] / "models"


@pytest.fixture(autouse=True, scope="module")
def _warm() -> None:
    ensure_warm()


def carry_out(order: BaseOrder) -> Result:
    return run_worker(order, 120.0, threading.Event()).result


def run_order(folder: Path, inputs: Any, **fields: Any) -> RunOrder:
    np.save(folder / "queries.npy", inputs)
    return RunOrder(
        bundle_dir=folder / "b",
        result_path=folder / "result.json",
        inputs_path=folder / "queries.npy",
        outputs_path=folder / "outputs.npy",
        **fields,
    )


def test_run_gives_raw_outputs(tmp_path: Path) -> None:
    kit.write_bundle(tmp_path / "b")
    result = carry_out(run_order(tmp_path, kit.queries(25, seed=3)))
    assert (result.outcome, result.samples, result.engine) == ("ok", 25, "onnxruntime")
    outputs = np.load(tmp_path / "outputs.npy")
    assert outputs.dtype == np.float32
    np.testing.assert_allclose(outputs, kit.reference(kit.queries(25, seed=3)), rtol=1e-4, atol=1e-4)


def test_an_inline_manifest_needs_no_bundle_folder(tmp_path: Path) -> None:
    kit.write_bundle(tmp_path / "b")
    order = json.loads(run_order(tmp_path, kit.queries(3)).model_dump_json(exclude_none=True))
    del order["bundle_dir"]
    manifest = json.loads((tmp_path / "b/manifest.json").read_text())
    order |= {"manifest": manifest, "root": str(tmp_path / "b"), "unknown": 1}
    refused = start(tmp_path, order)
    assert refused.returncode == 3
    assert "unknown" in refused.stderr
    del order["unknown"]
    assert start(tmp_path, order).returncode == 0
    assert np.load(tmp_path / "outputs.npy").shape == (3, kit.CLASSES)


def start(folder: Path, order: dict[str, Any]) -> "subprocess.CompletedProcess[str]":
    (folder / "order.json").write_text(json.dumps(order))
    command = [sys.executable, "-m", "agent.measure.worker", str(folder / "order.json")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        (np.zeros((4, 2, 13)), r"sample 0: expected a series of shape \(2, 12\), given \(2, 13\)"),
        (np.zeros((0, 2, 12)), "no inputs"),
        (np.full((3, 2, 12), np.nan), "sample 0: 24 values are not finite"),
    ],
    ids=["shape", "empty", "nan"],
)
def test_queries_that_do_not_fit_fail_with_their_number(tmp_path: Path, inputs: Any, text: str) -> None:
    kit.write_bundle(tmp_path / "b")
    result = carry_out(run_order(tmp_path, inputs))
    assert (result.outcome, result.error and result.error.code) == ("failed", "bad_query")
    with pytest.raises(ValueError, match=text):
        raise ValueError(result.error.detail if result.error else "")


def selftest(folder: Path, **fields: Any) -> Result:
    return carry_out(SelftestOrder(bundle_dir=folder, result_path=folder.parent / "result.json", **fields))


def test_selftest_passes_and_tells_its_memory(tmp_path: Path) -> None:
    kit.write_bundle(tmp_path / "b")
    result = selftest(tmp_path / "b")
    assert result.outcome == "ok"
    assert result.golden is not None
    assert result.golden.passed
    assert result.memory is not None
    assert 0 < result.memory.baseline_bytes < result.memory.loaded_bytes <= result.memory.peak_bytes


def test_wrong_golden_outputs_are_unfit(tmp_path: Path) -> None:
    kit.write_bundle(tmp_path / "b", outputs=kit.reference(kit.queries())[::-1].copy())
    result = selftest(tmp_path / "b")
    assert (result.outcome, result.error and result.error.code) == ("unfit", "golden_mismatch")


def test_a_missing_engine_is_incompatible(tmp_path: Path) -> None:
    kit.write_bundle(tmp_path / "b", engine="tensorrt")
    result = selftest(tmp_path / "b")
    assert (result.outcome, result.error and result.error.code) == ("incompatible", "engine_missing")


def test_a_model_that_does_not_load_fails(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b/model.onnx").write_bytes(b"no model")
    kit.write_bundle(tmp_path / "b")
    result = selftest(tmp_path / "b")
    assert (result.outcome, result.error and result.error.code) == ("failed", "engine_failed")


def test_a_specification_that_does_not_fit_fails(tmp_path: Path) -> None:
    tensor = spec.TensorSpec(name="x", shape=(-1, 2, 99))
    kit.write_bundle(tmp_path / "b", pipeline=kit.classifier_pipeline(input=tensor, length=99))
    result = selftest(tmp_path / "b")
    assert (result.outcome, result.error and result.error.code) == ("failed", "bad_bundle")


def test_a_core_that_does_not_exist_fails(tmp_path: Path) -> None:
    kit.write_bundle(tmp_path / "b")
    result = selftest(tmp_path / "b", affinity=(100_000,))
    assert (result.outcome, result.error and result.error.code) == ("failed", "configuration_invalid")


def greedy_bundle(folder: Path, floats: int) -> None:
    """A model that needs `floats` x 4 bytes for an activation: logits = x[…, :3] + 0 * max(expand(x))."""
    folder.mkdir()
    constants: dict[str, Any] = {
        "w": kit.WEIGHTS,
        "size": np.array([floats // (kit.CHANNELS * kit.LENGTH), kit.CHANNELS * kit.LENGTH], dtype=np.int64),
        "zero": np.array(0.0, dtype=np.float32),
    }
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"]),
        helper.make_node("Expand", ["flat", "size"], ["large"]),
        helper.make_node("ReduceMax", ["large"], ["most"], keepdims=0),
        helper.make_node("Mul", ["most", "zero"], ["nothing"]),
        helper.make_node("MatMul", ["flat", "w"], ["scores"]),
        helper.make_node("Add", ["scores", "nothing"], ["logits"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, kit.CHANNELS, kit.LENGTH])
    y = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, kit.CLASSES])
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    kit.save(helper.make_graph(nodes, "greedy", [x], [y], tensors), folder / "model.onnx")
    kit.write_bundle(folder)


def test_the_memory_of_an_activation_is_seen(tmp_path: Path) -> None:
    greedy_bundle(tmp_path / "b", floats=32 * 2**20)
    result = selftest(tmp_path / "b")
    assert result.memory is not None
    assert result.memory.peak_bytes - result.memory.loaded_bytes >= 127 * 2**20


def test_a_cap_stops_a_greedy_model(tmp_path: Path) -> None:
    greedy_bundle(tmp_path / "b", floats=128 * 2**20)
    result = selftest(tmp_path / "b", memory_cap_bytes=256 * 2**20)
    assert (result.outcome, result.error and result.error.code) == ("failed", "out_of_memory")


def test_the_workers_own_cap_stops_it_too(tmp_path: Path) -> None:
    greedy_bundle(tmp_path / "b", floats=128 * 2**20)
    order = {
        "kind": "selftest",
        "bundle_dir": str(tmp_path / "b"),
        "result_path": str(tmp_path / "result.json"),
        "memory_cap_bytes": 256 * 2**20,
        "memory_cap_by": "rlimit",
    }
    done = start(tmp_path, order)
    assert done.returncode == 0, done.stderr
    result = Result.model_validate_json((tmp_path / "result.json").read_bytes())
    assert (result.outcome, result.error and result.error.code) == ("failed", "out_of_memory")


@pytest.mark.parametrize("cap_mebibytes", [24, 52, 58, 62])
def test_a_cap_too_small_for_the_engine_is_no_missing_engine(tmp_path: Path, cap_mebibytes: int) -> None:
    """Whatever gives way first (numpy, the loader, the engine): `incompatible` would not count against the bundle."""
    kit.write_bundle(tmp_path / "b")
    order = {
        "kind": "selftest",
        "bundle_dir": str(tmp_path / "b"),
        "result_path": str(tmp_path / "result.json"),
        "memory_cap_bytes": cap_mebibytes * 2**20,
    }
    if start(tmp_path, order).returncode == 0:
        result = Result.model_validate_json((tmp_path / "result.json").read_bytes())
        assert (result.outcome, result.error and result.error.code) == ("failed", "out_of_memory")


def test_a_replicate_has_equal_numbers_of_everything(tmp_path: Path) -> None:
    kit.write_bundle(tmp_path / "b")
    order = MeasureOrder(bundle_dir=tmp_path / "b", result_path=tmp_path / "r.json", grade="quick", order=4)
    result = carry_out(order)
    replicate = result.replicate
    assert replicate is not None
    assert replicate.order == 4
    total, parts = replicate.total_ns, (replicate.pre_ns, replicate.infer_ns, replicate.post_ns)
    assert total.count >= GRADES["quick"].timed_runs
    assert {part.count for part in parts} == {total.count}
    for whole, *pieces in zip(total.unpack(), *(part.unpack() for part in parts), strict=True):
        assert 0 <= whole - sum(pieces) <= 3  # each part is rounded down by itself
    assert replicate.phases.kernels == "library"
    assert (replicate.phases.cache_hits, replicate.phases.cache_misses) == (5, 0)
    assert replicate.conditions["compiled_while_timing"] == 0
    assert replicate.phases.warm_up_runs == replicate.warm_up_ns.count
    assert replicate.cpu_ns is not None
    assert replicate.cpu_ns.count == total.count
    assert replicate.wait_ns is None
    assert sum(block["samples"] for block in replicate.conditions["blocks"]) == total.count
    assert replicate.conditions["queries"] == total.count * replicate.conditions["calls_per_sample"]
    assert replicate.conditions["calls_per_sample"] > 1  # a model of microseconds
    assert "mean_of_k" in replicate.flags
    assert replicate.conditions["engine_settings"]["intra_op_threads"] == 1


def test_wrong_golden_outputs_are_not_timed(tmp_path: Path) -> None:
    kit.write_bundle(tmp_path / "b", outputs=kit.reference(kit.queries()) + 5)
    result = carry_out(MeasureOrder(bundle_dir=tmp_path / "b", result_path=tmp_path / "r.json", grade="quick"))
    assert result.outcome == "unfit"
    assert result.replicate is None


def test_a_load_tells_its_phases_and_where_its_kernels_came_from(tmp_path: Path) -> None:
    kit.write_bundle(tmp_path / "b")
    order = LoadOrder(bundle_dir=tmp_path / "b", result_path=tmp_path / "r.json", cold=True, resident_ratio=0.01)
    result = carry_out(order)
    phases = result.phases
    assert phases is not None
    assert None not in (phases.import_ms, phases.load_ms, phases.compile_ms, phases.first_inference_ms)
    assert (phases.cold, phases.resident_ratio, phases.warm_up_runs) == (True, 0.01, None)
    assert (phases.kernels, phases.cache_hits, phases.cache_misses) == ("library", 5, 0)


def test_memory_then_the_answers_on_the_evaluation_set(tmp_path: Path) -> None:
    kit.write_bundle(tmp_path / "b")
    digest = kit.write_dataset(tmp_path / "set", kit.queries(30, seed=5))
    order = MemoryOrder(
        bundle_dir=tmp_path / "b",
        result_path=tmp_path / "r.json",
        evaluation_dir=tmp_path / "set",
        evaluation=digest,
    )
    result = carry_out(order)
    assert result.memory is not None
    predictions = result.predictions
    assert predictions is not None
    assert predictions.classes is not None
    assert (predictions.evaluation, predictions.samples) == (digest, 30)
    assert predictions.classes.unpack() == kit.reference(kit.queries(30, seed=5)).argmax(axis=1).tolist()


def test_litert_regression_answers_in_units(tmp_path: Path) -> None:
    """The committed soil model, its values packed as little-endian float32."""
    from agent.inference.engines.litert import LiteRtEngine

    folder = tmp_path / "b"
    folder.mkdir()
    (folder / "model.tflite").write_bytes((MODELS / "soil_carbon/soil_carbon.tflite").read_bytes())
    engine = LiteRtEngine.load(folder / "model.tflite", {}, threads=1)
    rows = np.random.default_rng(2).normal(size=(9, 17)).astype(np.float32)
    raw = np.stack([engine.infer([row[np.newaxis]])[0][0] for row in rows])
    pre = spec.TablePre(features=17, input=spec.TensorSpec(name=engine.inputs[0].name, shape=(1, 17)))
    output = spec.TensorSpec(name=engine.outputs[0].name, shape=(1, 1))
    post = spec.RegressionPost(scale=(2.0,), offset=(0.5,), output=output)
    described = {"kind": "regression", "format": "tflite", "engine": "litert", "model_file": "model.tflite"}
    pipeline = spec.Pipeline(pre=pre, post=post)
    kit.write_bundle(folder, rows, raw, **described, pipeline=pipeline, golden=GoldenSpec(samples=9))
    digest = kit.write_dataset(tmp_path / "set", rows)
    order = MemoryOrder(bundle_dir=folder, result_path=tmp_path / "r.json", evaluation_dir=tmp_path / "set")
    result = carry_out(order.model_copy(update={"evaluation": digest}))
    assert result.predictions is not None
    packed = zlib.decompress(base64.b64decode(result.predictions.values or ""))
    np.testing.assert_allclose(np.frombuffer(packed, "<f4"), 2 * raw[:, 0] + 0.5, rtol=1e-5, atol=1e-6)
    assert result.predictions.width == 1


def test_an_evaluation_set_without_name_is_refused(tmp_path: Path) -> None:
    kit.write_bundle(tmp_path / "b")
    kit.write_dataset(tmp_path / "set", kit.queries(3))
    order = MemoryOrder(bundle_dir=tmp_path / "b", result_path=tmp_path / "r.json", evaluation_dir=tmp_path / "set")
    result = carry_out(order)
    assert (result.outcome, result.error and result.error.code) == ("failed", "configuration_invalid")
    assert sha256_hex(b"") not in (result.error.detail if result.error else "")


def test_memory_is_that_of_as_many_queries_at_once_as_the_scenario_has(tmp_path: Path) -> None:
    """Each query needs an activation of a mebibyte; a batch needs those of all its queries."""
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"]),
        helper.make_node("MatMul", ["flat", "wide"], ["large"]),
        helper.make_node("Relu", ["large"], ["positive"]),
        helper.make_node("MatMul", ["positive", "narrow"], ["logits"]),
    ]
    width, shape = 256 * 1024, (kit.CHANNELS * kit.LENGTH, 1)
    wide = np.zeros((shape[0], width), dtype=np.float32)
    constants = {"wide": wide, "narrow": np.zeros((width, kit.CLASSES), dtype=np.float32)}
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", kit.CHANNELS, kit.LENGTH])
    y = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", kit.CLASSES])
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    (tmp_path / "b").mkdir()
    kit.save(helper.make_graph(nodes, "wide", [x], [y], tensors), tmp_path / "b/model.onnx")
    kit.write_bundle(tmp_path / "b", outputs=np.zeros((10, kit.CLASSES), dtype=np.float32))
    peaks = {}
    for batch in (1, 32):
        settings = ScenarioSettings(batch=batch)
        order = MemoryOrder(bundle_dir=tmp_path / "b", result_path=tmp_path / "r.json", scenario="offline")
        memory = carry_out(order.model_copy(update={"settings": settings})).memory
        assert memory is not None
        peaks[batch] = memory.peak_bytes
    assert peaks[32] - peaks[1] >= 16 * width * 4
