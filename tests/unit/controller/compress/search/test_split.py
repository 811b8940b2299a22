"""The two halves of the training part: they share nothing, classes keep their shares, and too few are refused."""

from dataclasses import replace

import numpy as np
import pytest

from controller.compress.search.split import FEW, FEWEST, folds_of, usual_folds, validation_rows
from controller.errors import UnusableData
from controller.models.samples import LabelledData


def data(labels: list[int]) -> LabelledData:
    inputs = np.arange(len(labels), dtype=np.float32)[:, None]
    return LabelledData("some-training", "classification", inputs, np.array(labels, dtype=np.int64), "digest")


def test_halves_share_no_sample_and_classes_keep_their_shares() -> None:
    training = data([0] * 100 + [1] * 50 + [2] * 10)
    fold = folds_of(training, seed=3)[0]
    judging, fitting = set(fold.validation.inputs.ravel()), set(fold.training.inputs.ravel())
    assert judging | fitting == set(range(160))
    assert not judging & fitting
    assert np.bincount(fold.validation.labels).tolist() == [40, 20, 4]
    assert set(fold.calibration.ravel()) <= fitting


def test_same_seed_same_halves_and_another_seed_others() -> None:
    training = data([0, 1] * 50)
    rows = [validation_rows(training, seed).tolist() for seed in (1, 1, 2)]
    assert rows[0] == rows[1] != rows[2]
    assert folds_of(training, 1)[0].validation.digest != folds_of(training, 2)[0].validation.digest


def test_a_class_of_one_sample_is_fitted_and_not_judged() -> None:
    fold = folds_of(data([0] * 10 + [1]), seed=0)[0]
    assert 1 not in fold.validation.labels


def test_thresholds_of_anomalies_are_set_on_what_is_not_judged() -> None:
    training = data([0] * 20 + [1] * 10)
    fold = folds_of(replace(training, kind="anomaly"), seed=0)[0]
    assert fold.validation.calibration is fold.training
    assert folds_of(training, seed=0)[0].validation.calibration is None


def test_too_few_samples_are_refused_with_how_many_are_needed() -> None:
    with pytest.raises(UnusableData, match=f"3 training samples cannot be parted .* give at least {FEWEST}"):
        folds_of(data([0, 1, 1]), seed=0)


def test_in_several_folds_each_sample_judges_once() -> None:
    training = data([0] * 61 + [1] * 30 + [2] * 9)
    folds = folds_of(training, seed=3, count=3)
    judged = np.concatenate([fold.validation.inputs.ravel() for fold in folds])
    assert sorted(judged.tolist()) == list(range(100))
    for fold in folds:
        assert set(fold.training.inputs.ravel()) == set(range(100)) - set(fold.validation.inputs.ravel())
        shares = np.bincount(fold.validation.labels)
        assert np.abs(shares - np.array([61, 30, 9]) / 3).max() <= 1
    again = folds_of(training, seed=3, count=3)
    assert [fold.validation.digest for fold in again] == [fold.validation.digest for fold in folds]


def test_few_samples_are_crossed() -> None:
    assert (usual_folds(FEW - 1), usual_folds(FEW)) == (3, 1)
    with pytest.raises(UnusableData, match="give at least 6"):
        folds_of(data([0, 1] * 2), seed=0, count=6)
