"""Every provider of ONNX Runtime, also those that no machine here has: found, missing, listed in vain, done without."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.errors import BatchFixed, EngineFailed
from agent.inference.engines.onnxruntime import OnnxRuntimeEngine
from agent.inference.engines.providers import PROVIDERS
from agent.inference.limits import ENGINE_CACHE_VARIABLE
from tests.contract.engines.fake_runtime import CPU, FakeOnnxRuntime
from tests.unit.agent.inference import bundle_kit as kit

NAMES = [name for name in PROVIDERS if name not in ("cpu", "library")]
Loaded = Callable[..., OnnxRuntimeEngine]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    kit.save_linear_model(tmp_path / "m.onnx", batch=1)
    return tmp_path / "m.onnx"


@pytest.fixture
def load(model: Path, monkeypatch: pytest.MonkeyPatch) -> Loaded:
    monkeypatch.delenv(ENGINE_CACHE_VARIABLE, raising=False)

    def loaded(runtime: FakeOnnxRuntime, name: str, content: Path | bytes = model, **options: Any) -> OnnxRuntimeEngine:
        monkeypatch.setattr(OnnxRuntimeEngine, "import_library", lambda: runtime)
        return OnnxRuntimeEngine.load(content, {"provider": name, **options}, threads=3)

    return loaded


def having(name: str, **changes: Any) -> FakeOnnxRuntime:
    return FakeOnnxRuntime((PROVIDERS[name].full_name, "CUDAExecutionProvider", CPU), **changes)


def answers(engine: OnnxRuntimeEngine) -> bool:
    query = kit.queries(1)
    return np.allclose(engine.infer([query])[0], query.reshape(1, -1) @ kit.WEIGHTS, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_one_that_is_used_is_told_with_what_it_takes(load: Loaded, name: str) -> None:
    runtime = having(name)
    engine = load(runtime, name)
    assert answers(engine)
    assert engine.settings["providers"][0] == PROVIDERS[name].full_name
    assert engine.settings["operators"] == {PROVIDERS[name].full_name: 2, CPU: 1}
    assert "fell_back" not in engine.settings
    (asked,) = runtime.asked
    assert (asked["providers"][-1], asked["enable_fallback"]) == (CPU, 0)
    assert all(type(value) is str for options in asked["provider_options"] for value in options.values())


@pytest.mark.parametrize("name", NAMES)
def test_one_that_this_build_lacks_is_named_with_what_brings_it(load: Loaded, name: str) -> None:
    with pytest.raises(
        EngineFailed, match=f"has no {PROVIDERS[name].full_name} .*CPU.*: install .*set the option fall"
    ):
        load(FakeOnnxRuntime(), name)


@pytest.mark.parametrize("name", NAMES)
def test_one_that_is_listed_in_vain_is_told_apart(load: Loaded, name: str) -> None:
    said = "\x1b[1;31m2026-11-30 04:30:00.123 [E:onnxruntime:Default, a.cc:1 Create] Failed: libcudart.so.12\x1b[m\n"
    runtime = having(name, lacks=PROVIDERS[name].full_name, says=said)
    with pytest.raises(
        EngineFailed, match=r"is listed and cannot be used here.* uses .*CPU.*: Failed: libcudart\.so\.12"
    ):
        load(runtime, name)


@pytest.mark.parametrize("name", NAMES)
def test_one_that_raises_is_told_with_its_words(load: Loaded, name: str) -> None:
    with pytest.raises(EngineFailed, match=f"{PROVIDERS[name].full_name} refuses m.onnx: no such device"):
        load(having(name, raises=RuntimeError("no such device")), name)


@pytest.mark.parametrize("name", NAMES)
def test_one_that_takes_nothing_is_not_used(load: Loaded, name: str) -> None:
    with pytest.raises(EngineFailed, match=r"takes none of the model's operators \(CPUExecutionProvider 3\)"):
        load(having(name, taken=0), name)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("fault", ["missing", "listed in vain", "raises", "takes nothing"])
def test_where_the_policy_allows_it_the_processor_answers_and_says_why(load: Loaded, name: str, fault: str) -> None:
    full_name = PROVIDERS[name].full_name
    runtime = {
        "missing": FakeOnnxRuntime(),
        "listed in vain": having(name, lacks=full_name),
        "raises": having(name, raises=RuntimeError("no such device")),
        "takes nothing": having(name, taken=0),
    }[fault]
    engine = load(runtime, name, fallback=True)
    assert answers(engine)
    assert full_name in engine.settings["fell_back"]
    assert CPU in engine.settings["providers"]


def test_a_runtime_that_does_not_tell_who_took_what_is_believed(load: Loaded) -> None:
    engine = load(having("cuda", taken=None), "cuda")
    assert engine.settings["operators"] is None
    assert "fell_back" not in engine.settings


def test_options_of_the_bundle_go_to_its_provider_and_over_ours(load: Loaded) -> None:
    runtime = having("openvino")
    load(runtime, "openvino", provider_options={"device_type": "GPU", "enable_opencl_throttling": True})
    mine, processor = runtime.asked[0]["provider_options"]
    assert mine == {"device_type": "GPU", "num_of_threads": "3", "enable_opencl_throttling": "1"}
    assert processor == {}


def test_one_with_threads_of_its_own_has_no_second_pool_beside_it(load: Loaded) -> None:
    runtime = having("xnnpack")
    load(runtime, "xnnpack")
    assert runtime.asked[0]["provider_options"][0] == {"intra_op_num_threads": "3"}
    assert runtime.asked[0]["options"].intra_op_num_threads == 1


def test_what_does_not_fit_into_memory_is_no_missing_provider(load: Loaded) -> None:
    with pytest.raises(MemoryError, match="Failed to allocate memory"):
        load(having("cuda", raises=RuntimeError("Failed to allocate memory for 1 GB")), "cuda", fallback=True)


def test_an_unknown_provider_is_refused_with_those_there_are(load: Loaded) -> None:
    with pytest.raises(EngineFailed, match=r"provider 'npu' is none of cpu, xnnpack, .*vitisai, library"):
        load(FakeOnnxRuntime(), "npu")


def test_a_model_that_is_no_file_is_loaded_as_well(load: Loaded, model: Path) -> None:
    assert answers(load(having("cuda"), "cuda", model.read_bytes()))
    with pytest.raises(EngineFailed, match="refuses a model of 5 bytes"):
        load(FakeOnnxRuntime(), "cpu", b"wrong")


# --- TensorRT ----------------------------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    (tmp_path / "engines").mkdir()
    return tmp_path / "engines"


def test_an_engine_is_built_once_and_then_found(load: Loaded, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENGINE_CACHE_VARIABLE, str(cache))
    runtime = having("tensorrt", builds=True)
    assert [load(runtime, "tensorrt").settings["engine_cache"] for _ in range(2)] == ["miss", "hit"]
    places = {asked["provider_options"][0]["trt_engine_cache_path"] for asked in runtime.asked}
    assert len(places) == 1
    assert Path(places.pop()).is_relative_to(cache)


def test_what_tensorrt_leaves_goes_to_the_gpu_before_the_processor(load: Loaded) -> None:
    runtime = having("tensorrt")
    engine = load(runtime, "tensorrt")
    names = ["TensorrtExecutionProvider", "CUDAExecutionProvider", CPU]
    assert (runtime.asked[0]["providers"], engine.settings["engine_cache"]) == (names, "miss")
    with pytest.raises(BatchFixed):
        engine.take_batch(2)


def test_an_engine_built_for_one_query_takes_no_batch(load: Loaded, tmp_path: Path) -> None:
    kit.save_linear_model(tmp_path / "free.onnx")
    runtime = having("tensorrt")
    engine = load(runtime, "tensorrt", tmp_path / "free.onnx")
    assert runtime.asked[0]["provider_options"][0]["trt_profile_opt_shapes"] == "x:1x2x12"
    with pytest.raises(BatchFixed, match="compiled the model for one query"):
        engine.take_batch(2)
