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
PARITY = 1e-4  # largest tolerated difference of a standardised output between engines


@pytest.fixture(scope="module")
def data(module: Callable[[str], ModuleType]) -> ModuleType:
    return module("soil_carbon/data.py")


@pytest.fixture(scope="module")
def folder(models: Path) -> Path:
    return models / "soil_carbon"


@pytest.fixture(scope="module")
def metrics(folder: Path) -> dict[str, Any]:
    stated: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return stated


@pytest.fixture(scope="module")
def declared(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((folder / "model.yaml").read_text())
    return content


def standardised(inputs: NDArray[np.float32], declared: dict[str, Any]) -> NDArray[np.float32]:
    normalise = declared["pre"]["normalise"]
    mean, deviation = (np.array(normalise[name], dtype=np.float32) for name in ("mean", "deviation"))
    return np.asarray((inputs - mean) / deviation, dtype=np.float32)


@pytest.mark.parametrize(("name", "rows"), [("train", 175), ("test", 75), ("all", 250)])
def test_a_split_has_its_rows_each_time(data: ModuleType, split: Split, name: str, rows: int) -> None:
    inputs, targets = split(data, name)
    assert inputs.shape == (rows, 17)
    assert targets.shape == (rows, 1)
    assert inputs.dtype == targets.dtype == np.float32
    assert np.array_equal(inputs, split(data, name)[0])


def test_train_and_test_share_no_row(data: ModuleType, split: Split) -> None:
    train, test = ({tuple(row) for row in split(data, name)[0]} for name in ("train", "test"))
    assert not train & test
    assert len(train) == 175


def test_an_unknown_split_is_named(data: ModuleType, split: Split) -> None:
    split(data, "train")
    with pytest.raises(ValueError, match=r"'validation'.*train, test"):
        data.load("validation")


def test_a_missing_data_package_names_the_extra(data: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "find_spec", lambda _name: None)
    with pytest.raises(FileNotFoundError, match=r"pip install 'thresher\[data\]'"):
        data.load("train")


def test_golden_rows_are_reproducible_and_in_range(data: ModuleType) -> None:
    golden = data.golden(50)
    low, high = np.array(data.GOLDEN_RANGES, dtype=np.float32).T
    assert golden.shape == (50, 17)
    assert golden.dtype == np.float32
    assert np.array_equal(golden, data.golden(50))
    assert not np.array_equal(golden, data.golden(50, seed=1))
    assert ((low <= golden) & (golden <= high)).all()


def test_no_golden_row_shares_a_measured_value_with_the_field(data: ModuleType, split: Split) -> None:
    golden, rows = data.golden(), split(data, "all")[0]
    assert not any((golden[:, column, np.newaxis] == rows[:, column]).any() for column in range(17))


def test_the_declared_statistics_are_those_of_the_training_split(
    data: ModuleType, split: Split, declared: dict[str, Any]
) -> None:
    inputs, targets = split(data, "train")
    normalise, post = declared["pre"]["normalise"], declared["post"]
    np.testing.assert_allclose(normalise["mean"], inputs.mean(axis=0, dtype=np.float64), rtol=1e-5)
    np.testing.assert_allclose(normalise["deviation"], inputs.std(axis=0, dtype=np.float64), rtol=1e-5)
    np.testing.assert_allclose(post["offset"], targets.mean(axis=0, dtype=np.float64), rtol=1e-5)
    np.testing.assert_allclose(post["scale"], targets.std(axis=0, dtype=np.float64), rtol=1e-5)


def test_the_committed_onnx_is_as_good_as_the_card_states(
    data: ModuleType, split: Split, formats: ModuleType, folder: Path, declared: dict[str, Any], metrics: dict[str, Any]
) -> None:
    inputs, targets = split(data, "test")
    raw = formats.run_onnx(folder / "soil_carbon.onnx", standardised(inputs, declared))
    predicted = raw * declared["post"]["scale"][0] + declared["post"]["offset"][0]
    r2 = 1 - ((predicted - targets) ** 2).sum() / ((targets - targets.mean()) ** 2).sum()
    stated = metrics["test"][str(metrics["chosen_seed"])]
    assert stated["rows"] == len(targets)
    assert r2 == pytest.approx(stated["r2"], abs=2e-4)
    assert np.abs(predicted - targets).mean() == pytest.approx(stated["mean_absolute_error"], abs=2e-4)


def test_the_card_states_every_seed(folder: Path, metrics: dict[str, Any]) -> None:
    card = (folder / "README.md").read_text()
    for group in ("cross_validated_training_folds", "cross_validated_all_folds", "test"):
        assert len(metrics[group]) >= 3
        for score in metrics[group].values():
            assert f"{score['r2']:.3f}" in card


def test_the_seed_was_chosen_without_the_test_folds(metrics: dict[str, Any]) -> None:
    validated = metrics["cross_validated_training_folds"]
    assert str(metrics["chosen_seed"]) == min(validated, key=lambda seed: (-validated[seed]["r2"], int(seed)))


def test_onnx_and_tflite_agree_on_golden_rows(
    data: ModuleType, formats: ModuleType, folder: Path, declared: dict[str, Any]
) -> None:
    golden = standardised(data.golden(), declared)
    onnx = formats.run_onnx(folder / "soil_carbon.onnx", golden)
    result = formats.parity(onnx, formats.run_tflite(folder / "soil_carbon.tflite", golden))
    assert onnx.shape == (len(golden), 1)
    assert result.largest_difference < PARITY


def test_the_onnx_is_one_file_without_the_exporters_notes(folder: Path) -> None:
    content = (folder / "soil_carbon.onnx").read_bytes()
    assert len(content) > 4 * 3000  # the weights are inside
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
    network = module("soil_carbon/model.py").build().eval()
    network.load_state_dict(safetensors.load_file(folder / "soil_carbon.safetensors"))
    golden = standardised(data.golden(), declared)
    result = formats.parity(formats.run_torch(network, golden), formats.run_onnx(folder / "soil_carbon.onnx", golden))
    assert result.largest_difference < PARITY
