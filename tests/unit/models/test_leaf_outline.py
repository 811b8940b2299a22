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
    return module("leaf_outline/data.py")


@pytest.fixture(scope="module")
def folder(models: Path) -> Path:
    return models / "leaf_outline"


def as_declared(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return each outline z-normalised, as `model.yaml` declares it: by its own mean and deviation, ddof 1."""
    centred = inputs - inputs.mean(axis=2, keepdims=True)
    return np.asarray(centred / centred.std(axis=2, ddof=1, keepdims=True), dtype=np.float32)


@pytest.mark.parametrize(
    ("name", "per_species"), [("train", [34, 29, 33, 53, 36, 15]), ("test", [32, 55, 42, 44, 46, 23])]
)
def test_a_split_is_the_archives_own(data: ModuleType, split: Split, name: str, per_species: list[int]) -> None:
    inputs, labels = split(data, name)
    assert inputs.shape == (sum(per_species), 1, 427)
    assert inputs.dtype == np.float32
    assert labels.dtype == np.int64
    assert np.bincount(labels).tolist() == per_species


def test_a_split_is_the_same_each_time(data: ModuleType, split: Split) -> None:
    first, second = split(data, "train"), split(data, "train")
    assert all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))


def test_an_unknown_split_is_named(data: ModuleType) -> None:
    with pytest.raises(ValueError, match=r"'validation'.*train and test"):
        data.load("validation")


def test_a_missing_data_package_names_the_extra(data: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "find_spec", lambda _name: None)
    with pytest.raises(FileNotFoundError, match=r"pip install 'thresher\[data\]'"):
        data.load("train")


def test_golden_outlines_are_closed_normalised_and_reproducible(data: ModuleType) -> None:
    golden = data.golden(12)
    assert golden.shape == (12, 1, 427)
    assert golden.dtype == np.float32
    assert np.array_equal(golden, data.golden(12))
    assert not np.array_equal(golden, data.golden(12, seed=1))
    np.testing.assert_allclose(golden, as_declared(golden), atol=1e-5)
    steps = np.abs(np.diff(golden, axis=2)).max(axis=2)
    assert (np.abs(golden[:, :, 0] - golden[:, :, -1]) <= 1.5 * steps).all()


def test_no_golden_outline_is_in_the_archive(data: ModuleType, split: Split) -> None:
    archive = np.concatenate([split(data, "train")[0], split(data, "test")[0]])[:, 0]
    turned = [np.roll(outline, start) for outline in data.golden()[:, 0] for start in range(427)]
    correlation = np.corrcoef(np.stack(turned), archive)[: len(turned), len(turned) :]
    assert np.abs(correlation).max() < 0.97


@pytest.fixture(scope="module")
def metrics(folder: Path) -> dict[str, Any]:
    stated: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return stated


def test_the_committed_onnx_is_as_accurate_as_the_card_states(
    data: ModuleType, split: Split, formats: ModuleType, folder: Path, metrics: dict[str, Any]
) -> None:
    inputs, labels = split(data, "test")
    answers = formats.run_onnx(folder / "leaf_outline.onnx", as_declared(inputs)).argmax(axis=1)
    stated = next(fit for fit in metrics["test"] if fit["seed"] == metrics["chosen_seed"])
    assert int((answers == labels).sum()) == stated["correct"]


def test_the_card_states_every_seed(folder: Path, metrics: dict[str, Any]) -> None:
    card = (folder / "README.md").read_text()
    assert len(metrics["test"]) >= 3
    assert metrics["test_accuracy_mean"] >= 0.96
    for fit in [*metrics["hold_out"], *metrics["test"]]:
        assert f"{fit['correct']}/{fit['of']}" in card


def test_the_seed_was_chosen_without_the_test_set(metrics: dict[str, Any]) -> None:
    best = min(metrics["hold_out"], key=lambda fit: (-fit["correct"], fit["seed"]))
    assert metrics["chosen_seed"] == best["seed"]


def test_onnx_and_tflite_agree_on_golden_outlines(data: ModuleType, formats: ModuleType, folder: Path) -> None:
    golden = data.golden()
    onnx = formats.run_onnx(folder / "leaf_outline.onnx", golden)
    result = formats.parity(onnx, formats.run_tflite(folder / "leaf_outline.tflite", golden))
    assert result.largest_difference < PARITY
    assert result.agree == result.of == len(golden)


def test_golden_outlines_reach_several_classes(data: ModuleType, formats: ModuleType, folder: Path) -> None:
    answers = formats.run_onnx(folder / "leaf_outline.onnx", data.golden(16)).argmax(axis=1)
    assert len(set(answers.tolist())) >= 4  # else a network that always gives one answer would pass a self-test


@pytest.mark.parametrize("n", [1, 3])
def test_the_onnx_takes_any_batch(data: ModuleType, formats: ModuleType, folder: Path, n: int) -> None:
    assert formats.run_onnx(folder / "leaf_outline.onnx", data.golden(n)).shape == (n, 6)


def test_the_onnx_is_one_file_without_the_exporters_notes(folder: Path) -> None:
    content = (folder / "leaf_outline.onnx").read_bytes()
    assert len(content) > 4 * 480_000  # the weights are inside
    assert b"stack_trace" not in content
    assert b"site-packages" not in content


@pytest.mark.usefixtures("torch")
def test_the_torch_state_fits_the_factory_and_gives_the_onnx_answers(
    data: ModuleType, formats: ModuleType, folder: Path, module: Callable[[str], ModuleType]
) -> None:
    safetensors = pytest.importorskip("safetensors.torch", reason="needs the extra 'train'")
    network = module("leaf_outline/model.py").build().eval()
    network.load_state_dict(safetensors.load_file(folder / "leaf_outline.safetensors"))
    golden = data.golden()
    result = formats.parity(formats.run_torch(network, golden), formats.run_onnx(folder / "leaf_outline.onnx", golden))
    assert result.largest_difference < PARITY
    assert result.agree == result.of


def test_the_declaration_names_what_is_there(folder: Path) -> None:
    declared = yaml.safe_load((folder / "model.yaml").read_text())
    assert len(declared["post"]["labels"]) == 6
    assert all((folder / entry["file"]).is_file() for entry in declared["formats"].values())
