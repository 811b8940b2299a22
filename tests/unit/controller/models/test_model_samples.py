"""Labelled samples: what is refused, how they are split, and that golden inputs are none of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from controller.errors import UnusableData
from controller.models.folder import ModelFolder
from controller.models.samples import (
    arrays_digest,
    calibration_samples,
    evaluation_samples,
    golden_inputs,
    stratified_rows,
)
from tests.unit.controller.compress.small_models import MODEL_YAML, series, write_folder

SPLIT = MODEL_YAML.replace(", train_inputs: train_inputs, train_labels: train_labels", ", seed: 3")
FACTORY = MODEL_YAML[: MODEL_YAML.index("data:")] + "data: {factory: 'data.py:load', golden: 'data.py:golden'}\n"


def folder(root: Path, yaml: str = SPLIT, **arrays: Any) -> ModelFolder:
    path = write_folder(root / "model", yaml)
    if arrays:
        np.savez(path / "samples.npz", **arrays)
    return ModelFolder.load(path)


def test_separate_train_arrays_calibrate(tmp_path: Path) -> None:
    model = folder(tmp_path, MODEL_YAML)
    assert len(evaluation_samples(model, tmp_path / "s")) == 90
    assert calibration_samples(model, tmp_path / "s").shape == (120, 1, 64)


def test_one_set_is_split_the_same_way_every_time(tmp_path: Path) -> None:
    inputs, labels = series(100, seed=9)
    model = folder(tmp_path, inputs=inputs, labels=labels)
    evaluation, calibration = evaluation_samples(model, tmp_path / "s"), calibration_samples(model, tmp_path / "s")
    again = evaluation_samples(model, tmp_path / "elsewhere")
    assert (len(evaluation), len(calibration)) == (80, 20)
    assert evaluation.digest == again.digest
    rows = {row.tobytes() for row in evaluation.inputs}
    assert not any(row.tobytes() in rows for row in calibration)


def test_calibration_takes_all_classes_alike() -> None:
    labels = np.array([0] * 90 + [1] * 6 + [2] * 4)
    rows = stratified_rows(labels, "classification", 12)
    assert np.bincount(labels[rows]).tolist() == [4, 4, 4]
    assert np.array_equal(rows, np.sort(rows))
    assert len(stratified_rows(labels, "classification", 1000)) == 100


def test_regression_rows_are_drawn_without_classes() -> None:
    assert len(stratified_rows(np.zeros((50, 2)), "regression", 10)) == 10


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"inputs": np.zeros((0, 1, 64)), "labels": np.zeros(0, int)}, "no samples"),
        ({"inputs": np.zeros((5, 1, 64)), "labels": np.zeros(4, int)}, "5 inputs and 4 labels"),
        (
            {"inputs": np.zeros((50, 1, 63)), "labels": np.zeros(50, int)},
            r"shape \(50, 1, 63\), the model takes \(n, 1, 64\)",
        ),
        ({"inputs": np.zeros((50, 64)), "labels": np.zeros(50, int)}, r"the model takes \(n, 1, 64\)"),
        ({"inputs": np.full((50, 1, 64), np.nan), "labels": np.zeros(50, int)}, "sample 0 holds NaN"),
        (
            {"inputs": np.zeros((50, 1, 64)), "labels": np.full(50, 3)},
            "labels run from 3 to 3, the model has classes 0 to 2",
        ),
        ({"inputs": np.zeros((50, 1, 64)), "labels": np.full(50, -1)}, "labels run from -1"),
        ({"inputs": np.zeros((50, 1, 64)), "labels": np.full(50, 0.5)}, "must be whole numbers"),
        ({"inputs": np.zeros((50, 1, 64)), "labels": np.full(50, "oak")}, "not numbers"),
        ({"inputs": np.zeros((1, 1, 64)), "labels": np.zeros(1, int)}, "of 1 samples 1 would calibrate"),
        ({"inputs": np.zeros((50, 1, 64)), "labels": np.zeros((50, 3))}, r"labels have shape \(50, 3\)"),
        ({"inputs": np.zeros((50, 1, 64)), "labels": np.int64(3)}, r"labels have shape \(\)"),
        ({"x": np.zeros((5, 1, 64)), "labels": np.zeros(5)}, "no array 'inputs'; it has x, labels"),
    ],
)
def test_samples_that_are_of_no_use_are_refused(arrays: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(UnusableData, match=says):
        evaluation_samples(folder(tmp_path, **arrays), tmp_path / "s")


@pytest.mark.parametrize("content", [b"", b"no archive"])
def test_a_file_that_is_no_npz_is_refused(content: bytes, tmp_path: Path) -> None:
    model = folder(tmp_path)
    (model.root / "samples.npz").write_bytes(content)
    with pytest.raises(UnusableData, match=r"not an \.npz of plain arrays"):
        evaluation_samples(model, tmp_path / "s")


def test_what_was_kept_and_is_damaged_is_made_again(tmp_path: Path) -> None:
    model = folder(tmp_path, MODEL_YAML)
    first = evaluation_samples(model, tmp_path / "s")
    (kept,) = (tmp_path / "s").glob("*.npz")
    kept.write_bytes(kept.read_bytes()[:100])
    assert evaluation_samples(model, tmp_path / "s").digest == first.digest


def test_a_copy_is_called_by_the_name_of_the_users_file(tmp_path: Path) -> None:
    model = folder(tmp_path, inputs=np.zeros((50, 1, 63)), labels=np.zeros(50, int))
    with pytest.raises(UnusableData, match=r"^mine\.npz: inputs have shape \(50, 1, 63\)"):
        evaluation_samples(model, tmp_path / "s", named=Path("mine.npz"))


def test_a_model_without_samples_says_how_to_add_them(tmp_path: Path) -> None:
    model = folder(tmp_path, MODEL_YAML[: MODEL_YAML.index("data:")])
    with pytest.raises(UnusableData, match="import it with --data"):
        evaluation_samples(model, tmp_path / "s")


def with_factory(root: Path, code: str) -> ModelFolder:
    path = write_folder(root / "model", FACTORY)
    (path / "data.py").write_text("import numpy as np\n" + code)
    return ModelFolder.load(path)


LOAD = """
def load(split):
    count = {"train": 6, "test": 9}[split]
    return np.ones((count, 1, 64), np.float32), np.zeros(count, int)
def golden(n):
    return np.full((n, 1, 64), 7.0)
"""


def test_a_factory_gives_both_splits_and_golden_inputs(tmp_path: Path) -> None:
    model = with_factory(tmp_path, LOAD)
    assert len(evaluation_samples(model, tmp_path / "s")) == 9
    assert len(calibration_samples(model, tmp_path / "s")) == 6
    assert golden_inputs(model, tmp_path / "s", count=5).tolist() == np.full((5, 1, 64), 7.0).tolist()


def test_loaded_samples_are_kept_in_the_workspace(tmp_path: Path) -> None:
    model = with_factory(tmp_path, LOAD)
    first = evaluation_samples(model, tmp_path / "s")
    (tmp_path / "s").joinpath("x").touch()
    kept = [path for path in (tmp_path / "s").iterdir() if path.suffix == ".npz"]
    assert len(kept) == 1
    assert evaluation_samples(model, tmp_path / "s").digest == first.digest
    (model.root / "data.py").write_text("import numpy as np\n" + LOAD.replace('"test": 9', '"test": 8'))
    assert len(evaluation_samples(model, tmp_path / "s")) == 8  # another source is another set


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("def load(split): raise FileNotFoundError('run  pip install x')", "pip install x"),
        ("def load(split): return 3", "gave no 'test' samples"),
        ("def lod(split): pass", "load cannot be loaded"),
        ("import no_such_package", "no_such_package"),
        ("def load(split: return", "cannot be loaded"),
    ],
)
def test_a_factory_that_fails_says_why(code: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(UnusableData, match=says):
        evaluation_samples(with_factory(tmp_path, code), tmp_path / "s")


def test_golden_inputs_of_an_npz_are_synthetic_and_in_range(tmp_path: Path) -> None:
    model = folder(tmp_path, MODEL_YAML)
    golden = golden_inputs(model, tmp_path / "s", count=8)
    calibration, evaluation = calibration_samples(model, tmp_path / "s"), evaluation_samples(model, tmp_path / "s")
    known = {row.tobytes() for row in (*calibration, *evaluation.inputs)}
    assert golden.shape == (8, 1, 64)
    assert not any(row.tobytes() in known for row in golden)
    assert (golden >= calibration.min(axis=0)).all()
    assert (golden <= calibration.max(axis=0)).all()
    assert np.array_equal(golden, golden_inputs(model, tmp_path / "s", count=8))


def test_the_digest_knows_types_and_shapes() -> None:
    flat = np.arange(6, dtype=np.float32)
    digests = {arrays_digest(flat), arrays_digest(flat.reshape(2, 3)), arrays_digest(flat.astype(np.int32))}
    assert len(digests) == 3
