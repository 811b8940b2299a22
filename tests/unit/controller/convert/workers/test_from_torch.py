"""The converters from torch, in their own environment: each target, and what is refused with which words.

Long: every conversion starts a process that imports torch and a converter, which alone takes ten seconds or more.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from controller.compress.cache import PassCache
from controller.convert.coreml import read_coreml
from controller.convert.environments import Environment, Limits, run_worker
from controller.convert.executorch import read_executorch
from controller.convert.making.make import ConvertContext, ConvertRequest, convert
from controller.convert.parity import compare
from controller.errors import ConversionFailed, UnusableModel
from controller.models.folder import ModelFolder
from tests.unit.controller.compress.small_models import run
from tests.unit.controller.convert.workers.kit import (
    installed,
    order,
    script,
    weights,
    work,
    write_folder,
    write_safetensors,
)

pytestmark = pytest.mark.long

MALICIOUS = """\
import os, sys, torch
class Bad:
    def __reduce__(self):
        return (os.mkdir, (sys.argv[2],))
torch.save({"0.weight": Bad()}, sys.argv[1])
"""
PROGRAM = """\
import sys, torch
sys.path.insert(0, sys.argv[1])
from net import build
from safetensors.torch import load_file
network = build()
network.load_state_dict(load_file(sys.argv[1] + "/net.safetensors"))
batch = torch.export.Dim("batch", min=1, max=8)
torch.export.save(torch.export.export(network.eval(), (torch.zeros(2, 3, 16, 16),), dynamic_shapes=({0: batch},)),
                  sys.argv[2])
"""


@pytest.fixture(scope="module")
def torch_environment() -> Environment:
    return installed("torch")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "pictures")


def test_onnx_has_a_free_batch_the_names_asked_for_and_the_same_answers(
    torch_environment: Environment, root: Path, tmp_path: Path
) -> None:
    names = {"input": "picture", "outputs": ["scores"]}
    wanted = order(root, tmp_path / "out", "Named", names=names)
    write_safetensors(root / "net.safetensors", {f"inner.{name}": value for name, value in weights().items()})
    result = work(torch_environment, "from_torch.to_onnx", wanted)
    assert result["outcome"] == "ok", result
    path = tmp_path / "out" / "model.onnx"
    model = onnx.load(path)
    assert model.graph.input[0].name == "picture"
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    assert len(model.graph.output) == 2  # two outputs, and one name was given: all are named anew
    assert not any(each.doc_string or each.metadata_props for each in model.graph.node)
    source = np.load(tmp_path / "out" / result["source_outputs"][0])
    assert len(result["source_outputs"]) == 1  # numbers of classes are no answer that is read
    assert np.allclose(run(path, np.load(wanted["inputs"])), source, atol=1e-4)


@pytest.mark.parametrize(
    ("factory", "says"),
    [
        ("in_words", "the network gives str; a tensor, or a tuple or mapping of tensors"),
        ("no_network", "gives int; it has to give a torch.nn.Module"),
        ("missing", "net.py:missing cannot be loaded"),
    ],
)
def test_networks_that_are_none(
    torch_environment: Environment, root: Path, tmp_path: Path, factory: str, says: str
) -> None:
    write_safetensors(root / "net.safetensors", {})
    result = work(torch_environment, "from_torch.to_onnx", order(root, tmp_path / "out", factory))
    assert result["outcome"] == "unusable"
    assert says in result["error"]


@pytest.mark.parametrize("worker", ["to_tflite", "to_executorch", "to_coreml"])
def test_an_operator_that_a_converter_lacks_is_named(
    torch_environment: Environment, root: Path, tmp_path: Path, worker: str
) -> None:
    wanted = order(root, tmp_path / "out", "by_spectrum")
    write_safetensors(root / "net.safetensors", {})
    result = work(torch_environment, f"from_torch.{worker}", wanted)
    assert result["outcome"] == "unusable", result
    assert "svd" in result["error"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"0.weight": np.full((8, 3, 3, 3), np.nan, np.float32)}, "'0.weight' hold NaN or infinite values"),
        ({"0.weight": np.zeros((8, 1, 3, 3), np.float32)}, "do not fit what net.py:build makes"),
    ],
)
def test_weights_that_do_not_do(
    torch_environment: Environment, root: Path, tmp_path: Path, change: dict[str, Any], says: str
) -> None:
    write_safetensors(root / "net.safetensors", weights() | change)
    result = work(torch_environment, "from_torch.to_tflite", order(root, tmp_path / "out"))
    assert result["outcome"] == "unusable"
    assert says in result["error"]


def test_a_pickle_is_never_run(torch_environment: Environment, root: Path, tmp_path: Path) -> None:
    script(torch_environment, MALICIOUS, root / "net.pt", tmp_path / "was-run")
    wanted = order(root, tmp_path / "out")
    for named in ({"factory": "net.py:build", "state": "net.pt"}, {"program": "net.pt"}):
        result = work(torch_environment, "from_torch.to_onnx", {**wanted, "torch": named})
        assert result["outcome"] == "unusable"
        assert "net.pt" in result["error"]
    assert not (tmp_path / "was-run").exists()


def test_an_exported_program_is_converted_as_its_network_is(
    torch_environment: Environment, root: Path, tmp_path: Path
) -> None:
    script(torch_environment, PROGRAM, root, root / "net.pt2")
    wanted = order(root, tmp_path / "out")
    result = work(torch_environment, "from_torch.to_onnx", {**wanted, "torch": {"program": "net.pt2"}})
    assert result["outcome"] == "ok", result
    again = work(torch_environment, "from_torch.to_executorch", order(root, tmp_path / "other"))
    assert again["outcome"] == "ok", again
    one, other = (np.load(tmp_path / place / "source-outputs-0.npy") for place in ("out", "other"))
    assert (compare(one, other, "regression").sqnr_db or 200) > 100


def test_a_factory_that_hangs_is_killed(torch_environment: Environment, root: Path, tmp_path: Path) -> None:
    wanted = order(root, tmp_path / "out", "endless")
    with pytest.raises(ConversionFailed, match="did not end within 20 s and was killed"):
        run_worker(torch_environment, "from_torch.to_onnx", wanted, tmp_path / "out", Limits(longest_s=20))


def test_a_folder_of_torch_alone_becomes_every_format(
    torch_environment: Environment, root: Path, tmp_path: Path
) -> None:
    assert torch_environment
    context = ConvertContext(PassCache(tmp_path / "cache"), tmp_path / "datasets")
    made = {}
    for target, precision in (
        ("onnx", "float"), ("tflite", "float"), ("tflite", "fp16"), ("executorch", "float"), ("executorch", "fp16"),
        ("coreml", "fp16"), ("tensorrt", "fp16"),
    ):  # fmt: skip
        kept = convert(ConvertRequest(ModelFolder.load(root), target, precision), context)
        assert kept.because is None, (target, precision, kept.because)
        made[target, precision] = kept
    model = ModelFolder.load(root)
    assert sorted(model.formats) == ["executorch", "onnx", "tflite"]
    assert model.pipeline("tflite").pre.input.shape == (1, 16, 16, 3)
    assert model.pipeline("tflite").pre.layout == "NHWC"  # type: ignore[union-attr]
    assert model.pipeline("onnx").pre.layout == "NCHW"  # type: ignore[union-attr]
    assert read_executorch(made["executorch", "float"].path).delegates == {"XnnpackBackend": 1}
    assert made["coreml", "fp16"].conversion.min_os == "iOS 15, macOS 12, watchOS 8, tvOS 15"
    with pytest.raises(UnusableModel, match="names no samples"):
        convert(ConvertRequest(model, "tflite", "int8"), context)


def test_static_int8_of_executorch_is_quantised(torch_environment: Environment, root: Path, tmp_path: Path) -> None:
    result = work(torch_environment, "from_torch.to_executorch", order(root, tmp_path / "out", precision="int8"))
    assert result["outcome"] == "ok", result
    source, made = (np.load(tmp_path / "out" / result[side][0]) for side in ("source_outputs", "outputs"))
    parity = compare(source, made, "regression")
    assert parity.sqnr_db is not None
    assert 15 < parity.sqnr_db < 60


@pytest.mark.parametrize("precision", ["int8", "pal6", "pal4"])
def test_core_ml_is_compressed_compared_and_the_same_twice(
    torch_environment: Environment, tmp_path: Path, precision: str
) -> None:
    root = write_folder(tmp_path / "wide")
    wide = (
        "import torch\nfrom torch import nn\ndef build():\n    return nn.Sequential(nn.Flatten(), nn.Linear(768, 32))\n"
    )
    (root / "net.py").write_text(wide)
    matrix = np.random.default_rng(1).normal(0, 1, (32, 768)).astype(np.float32)
    write_safetensors(root / "net.safetensors", {"1.weight": matrix, "1.bias": np.ascontiguousarray(matrix[:, 0])})
    made = []
    for place in ("one", "two"):
        wanted = order(root, tmp_path / place, precision=precision)
        result = work(torch_environment, "from_torch.to_coreml", wanted)
        assert result["outcome"] == "ok", result
        made.append(tmp_path / place / result["file"])
        assert result["weights"]["compared"] == 2
        least = {"int8": 38, "pal6": 26, "pal4": 16}[precision]
        assert least < result["weights"]["lowest_sqnr_db"] < 60
    assert made[0].read_bytes() == made[1].read_bytes()
    assert read_coreml(made[0]).min_os.startswith("iOS 16")
    bits = {"int8": 8, "pal6": 6, "pal4": 4}[precision]
    assert made[0].stat().st_size < matrix.size * bits / 8 + 8000
