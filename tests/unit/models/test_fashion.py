import gzip
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

Split = Callable[[ModuleType, str], tuple[Any, Any]]
PARITY = 1e-3  # largest tolerated difference of a logit between engines; logits span about ten


@pytest.fixture(scope="module")
def data(module: Callable[[str], ModuleType]) -> ModuleType:
    return module("fashion/data.py")


@pytest.fixture(scope="module")
def folder(models: Path) -> Path:
    return models / "fashion"


@pytest.fixture(scope="module")
def metrics(folder: Path) -> dict[str, Any]:
    stated: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return stated


@pytest.fixture(scope="module")
def declared(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((folder / "model.yaml").read_text())
    return content


def as_declared(pixels: NDArray[np.uint8], declared: dict[str, Any]) -> NDArray[np.float32]:
    """Return the network's inputs: scaled to 0 to 1, less the mean, by the deviation."""
    pre = declared["pre"]
    scaled = pixels[:, np.newaxis].astype(np.float32) / 255
    return np.asarray((scaled - pre["mean"][0]) / pre["deviation"][0], dtype=np.float32)


@pytest.mark.parametrize(("name", "per_class"), [("test", 200), ("calibration", 100), ("all-test", 1000)])
def test_a_split_has_as_many_pictures_of_each_class(data: ModuleType, split: Split, name: str, per_class: int) -> None:
    pictures, labels = split(data, name)
    assert (pictures.shape, pictures.dtype) == ((10 * per_class, 28, 28), np.uint8)
    assert labels.dtype == np.int64
    assert np.bincount(labels).tolist() == [per_class] * 10


def test_variants_are_judged_on_the_first_of_each_class(data: ModuleType, split: Split) -> None:
    pictures, labels = split(data, "test")
    every, every_label = split(data, "all-test")
    for one in range(10):
        np.testing.assert_array_equal(pictures[labels == one], every[every_label == one][:200])
    again = split(data, "test")
    assert np.array_equal(pictures, again[0])


def test_an_unknown_split_is_named(data: ModuleType) -> None:
    with pytest.raises(ValueError, match=r"'validation'.*test, calibration, all-test and train"):
        data.load("validation")


def test_missing_data_name_the_package(data: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FASHION_MNIST", str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match=r"apt install dataset-fashion-mnist.*FASHION_MNIST"):
        data.load("test")
    monkeypatch.setenv("FASHION_MNIST", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"t10k-images-idx3-ubyte\.gz is not there"):
        data.load("test")


@pytest.mark.parametrize(
    "content",
    [b"no gzip", gzip.compress(b"short"), gzip.compress(bytes(16 + 784))],
    ids=["no gzip", "too short", "no picture"],
)
def test_damaged_data_are_refused(
    content: bytes, data: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("images-idx3", "labels-idx1"):
        (tmp_path / f"t10k-{name}-ubyte.gz").write_bytes(content)
    monkeypatch.setenv("FASHION_MNIST", str(tmp_path))
    with pytest.raises(ValueError, match=r"t10k-images.*--reinstall dataset-fashion-mnist"):
        data.load("test")


def test_golden_pictures_are_reproducible_and_span_the_range(data: ModuleType) -> None:
    golden = data.golden(12)
    assert (golden.shape, golden.dtype) == ((12, 28, 28), np.uint8)
    assert np.array_equal(golden, data.golden(12))
    assert not np.array_equal(golden, data.golden(12, seed=1))
    assert golden.min() == 0
    assert golden.max() > 200


def test_no_golden_picture_is_in_the_archive(data: ModuleType, split: Split) -> None:
    archive = split(data, "all-test")[0].reshape(-1, 784).astype(np.float32)
    golden = data.golden().reshape(-1, 784).astype(np.float32)
    correlation = np.corrcoef(golden, archive)[: len(golden), len(golden) :]
    assert np.abs(correlation).max() < 0.97


def test_the_committed_onnx_is_as_accurate_as_the_card_states(
    data: ModuleType,
    split: Split,
    formats: ModuleType,
    folder: Path,
    metrics: dict[str, Any],
    declared: dict[str, Any],
) -> None:
    pixels, labels = split(data, "test")
    answers = formats.run_onnx(folder / "fashion.onnx", as_declared(pixels, declared)).argmax(axis=1)
    correct = int((answers == labels).sum())
    assert abs(correct - metrics["judged"]["correct"]) <= 2  # another processor rounds otherwise
    assert metrics["judged"]["of"] == len(labels)
    assert correct / len(labels) > 0.9


def test_the_card_states_every_seed(folder: Path, metrics: dict[str, Any]) -> None:
    card = (folder / "README.md").read_text()
    assert len(metrics["fits"]) >= 3
    assert metrics["test_accuracy_mean"] > 0.9
    for fit in metrics["fits"]:
        assert f"{fit['held_out']}/{fit['of_held_out']}" in card
        assert f"{fit['test']}/{fit['of_test']}" in card


def test_the_seed_was_chosen_without_the_test_set(metrics: dict[str, Any]) -> None:
    best = min(metrics["fits"], key=lambda fit: (-fit["held_out"], fit["seed"]))
    assert metrics["chosen_seed"] == best["seed"]


def test_onnx_and_tflite_agree_on_golden_pictures(
    data: ModuleType, formats: ModuleType, folder: Path, declared: dict[str, Any]
) -> None:
    golden = as_declared(data.golden(16), declared)
    onnx = formats.run_onnx(folder / "fashion.onnx", golden)
    result = formats.parity(onnx, formats.run_tflite(folder / "fashion.tflite", golden))
    assert result.largest_difference < PARITY
    assert result.agree == result.of == len(golden)


def test_golden_pictures_reach_several_classes(
    data: ModuleType, formats: ModuleType, folder: Path, declared: dict[str, Any]
) -> None:
    answers = formats.run_onnx(folder / "fashion.onnx", as_declared(data.golden(16), declared)).argmax(axis=1)
    assert len(set(answers.tolist())) >= 3  # else a network that always gives one answer would pass a self-test


def test_the_model_is_small_and_without_the_exporters_notes(folder: Path) -> None:
    sizes = {path.name: path.stat().st_size for path in folder.iterdir() if path.is_file()}
    content = (folder / "fashion.onnx").read_bytes()
    assert sum(sizes.values()) < 1_500_000
    assert b"stack_trace" not in content
    assert b"site-packages" not in content


@pytest.mark.usefixtures("torch")
def test_the_torch_state_fits_the_factory_and_gives_the_onnx_answers(
    data: ModuleType,
    formats: ModuleType,
    folder: Path,
    module: Callable[[str], ModuleType],
    declared: dict[str, Any],
) -> None:
    safetensors = pytest.importorskip("safetensors.torch", reason="needs the extra 'train'")
    network = module("fashion/model.py").build().eval()
    network.load_state_dict(safetensors.load_file(folder / "fashion.safetensors"))
    golden = as_declared(data.golden(), declared)
    result = formats.parity(formats.run_torch(network, golden), formats.run_onnx(folder / "fashion.onnx", golden))
    assert result.largest_difference < PARITY
    assert result.agree == result.of


def test_the_declaration_names_what_is_there(folder: Path, declared: dict[str, Any]) -> None:
    assert len(declared["post"]["labels"]) == 10
    assert all((folder / entry["file"]).is_file() for entry in declared["formats"].values())
