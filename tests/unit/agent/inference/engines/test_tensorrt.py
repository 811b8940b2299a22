"""TensorRT without a GPU: precision from the graph, and where an engine may be kept and found."""

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from agent.inference.engines.providers import compiled, tensorrt
from agent.inference.engines.providers.compiled import model_cache
from agent.inference.limits import ENGINE_CACHE_VARIABLE, engine_folder
from agent.measure.orders import SelftestOrder
from tests.unit.agent.inference import bundle_kit as kit

DRIVER = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.86.10\nGCC version: 12\n"
DIGEST = "ab" * 32


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A host with a GPU, its driver and TensorRT."""
    for name, content in {
        "proc/driver/nvidia/version": DRIVER,
        "proc/driver/nvidia/gpus/0000:01:00.0/information": "Model: \t\t NVIDIA RTX A2000\nIRQ: 5\n",
        "usr/lib/x86_64-linux-gnu/libnvinfer.so.10.9.0": "",
        "usr/lib/x86_64-linux-gnu/libnvinfer.so.10": "",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    return tmp_path


def half_model() -> bytes:
    weight = numpy_helper.from_array(np.ones((2, 3), np.float16), "w")
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT16, [1, size]) for name, size in (("x", 2), ("y", 3))
    ]
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", values[:1], values[1:], [weight])
    return bytes(helper.make_model(graph).SerializeToString())


def quantised_model() -> bytes:
    scale = numpy_helper.from_array(np.array(0.1, np.float32), "s")
    zero = numpy_helper.from_array(np.array(0, np.int8), "z")
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 2]) for name in ("x", "y")]
    operators = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    graph = helper.make_graph(operators, "g", values[:1], values[1:], [scale, zero])
    return bytes(helper.make_model(graph).SerializeToString())


def test_precision_follows_from_the_graph(tmp_path: Path) -> None:
    kit.save_linear_model(tmp_path / "m.onnx", batch=1)
    plain = (tmp_path / "m.onnx").read_bytes()
    found = [tensorrt.options_for(model) for model in (plain, half_model(), quantised_model())]
    assert [(each["trt_fp16_enable"], each["trt_int8_enable"]) for each in found] == [
        ("0", "0"),
        ("1", "0"),
        ("0", "1"),
    ]
    assert all(each["trt_max_workspace_size"] == str(2**30) for each in found)


def test_a_free_batch_is_built_for_one_query_and_other_free_axes_are_left(tmp_path: Path) -> None:
    kit.save_linear_model(tmp_path / "m.onnx")
    assert tensorrt.options_for(tmp_path / "m.onnx")["trt_profile_max_shapes"] == "x:1x2x12"
    model = onnx.load(tmp_path / "m.onnx")
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "length"
    assert "trt_profile_max_shapes" not in tensorrt.options_for(model.SerializeToString())


def test_without_a_cache_of_the_agent_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENGINE_CACHE_VARIABLE, raising=False)
    assert not [key for key in tensorrt.options_for(half_model()) if "cache" in key]


def test_the_folder_is_named_by_all_that_an_engine_depends_on(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = tensorrt.key(DIGEST, host)
    assert tensorrt.key(DIGEST, host) == known
    assert tensorrt.key("cd" * 32, host) != known
    seen = {known}
    for name, content in (
        ("proc/driver/nvidia/version", DRIVER.replace("570.86", "575.01")),
        ("proc/driver/nvidia/gpus/0000:01:00.0/information", "Model: NVIDIA H200\n"),
        ("usr/lib/x86_64-linux-gnu/libnvinfer.so.10.10.1", ""),
    ):
        (host / name).write_text(content)
        seen.add(tensorrt.key(DIGEST, host))
    monkeypatch.setattr(tensorrt, "package_version", lambda _: "1.99")
    assert len(seen | {tensorrt.key(DIGEST, host)}) == 5


def test_versions_are_found_without_a_gpu(host: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert (tensorrt.tensorrt_version(host), tensorrt.device_name(host)) == ("10.9.0", "NVIDIA RTX A2000")
    assert "570.86.10" in tensorrt.driver_version(host)
    board = tmp_path_factory.mktemp("jetson")
    (board / "etc").mkdir()
    (board / "etc/nv_tegra_release").write_text("# R36 (release), REVISION: 4.0, GCID: 1\n")
    (board / "proc/device-tree").mkdir(parents=True)
    (board / "proc/device-tree/model").write_text("NVIDIA Jetson Orin Nano\0")
    assert tensorrt.driver_version(board).startswith("# R36")
    assert tensorrt.device_name(board) == "NVIDIA Jetson Orin Nano"
    empty = tmp_path_factory.mktemp("empty")
    assert {tensorrt.tensorrt_version(empty), tensorrt.driver_version(empty), tensorrt.device_name(empty)} == {
        "unknown"
    }


def test_a_folder_that_others_may_write_is_not_used(tmp_path: Path) -> None:
    environment = {ENGINE_CACHE_VARIABLE: str(tmp_path)}
    folder = tensorrt.cache_folder(DIGEST, tmp_path, environment)
    assert folder is not None
    assert folder.parent == tmp_path / DIGEST[:32]
    for mode in (0o777, 0o775):
        folder.chmod(mode)
        assert tensorrt.cache_folder(DIGEST, tmp_path, environment) is None
    folder.chmod(0o755)
    moved = folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(moved)
    assert tensorrt.cache_folder(DIGEST, tmp_path, environment) is None


def test_a_worker_that_may_only_read_uses_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENGINE_CACHE_VARIABLE, str(tmp_path))
    monkeypatch.setattr(os, "access", lambda *_: False)
    found = tensorrt.options_for(half_model())
    assert (found["trt_engine_cache_enable"], found["trt_timing_cache_enable"]) == ("1", "0")
    (tmp_path / "file").touch()
    monkeypatch.setenv(ENGINE_CACHE_VARIABLE, str(tmp_path / "file"))
    assert "trt_engine_cache_path" not in tensorrt.options_for(half_model())


# --- the parent's part -------------------------------------------------------------------------------------------


def order(tmp_path: Path, **options: str) -> SelftestOrder:
    kit.write_bundle(tmp_path / "bundle", engine_options=options)
    return SelftestOrder(bundle_dir=tmp_path / "bundle", result_path=tmp_path / "r.json", cache_dir=tmp_path / "cache")


def test_a_worker_may_write_beside_no_other_models_engine(tmp_path: Path) -> None:
    (folder,) = model_cache(order(tmp_path, provider="tensorrt"))
    assert folder.parent == engine_folder(tmp_path / "cache")
    assert folder.is_dir()
    assert model_cache(order(tmp_path, provider="cuda")) == ()
    assert model_cache(order(tmp_path)) == ()
    assert model_cache(SelftestOrder(bundle_dir=tmp_path / "none", result_path=tmp_path / "r.json")) == ()


def test_engines_of_models_that_are_not_used_any_more_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "MOST_MODELS", 2)
    base = engine_folder(tmp_path / "cache")
    for number, name in enumerate(("oldest", "older")):
        (base / name).mkdir(parents=True)
        os.utime(base / name, (number, number))
    (folder,) = model_cache(order(tmp_path, provider="tensorrt"))
    assert {path.name for path in base.iterdir()} == {"older", folder.name}
