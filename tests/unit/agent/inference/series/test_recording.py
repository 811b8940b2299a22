"""A long recording's windows are what the pipeline makes of each of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.errors import BadBundle, BadQuery
from agent.inference import recording as module
from agent.inference.engines.onnxruntime import OnnxRuntimeEngine
from agent.inference.pipeline import make_pipeline
from agent.inference.recording import answer_recording, cut_recording
from tests.unit.agent.inference import bundle_kit as kit
from tests.unit.agent.inference.series.plain import made, series_pre
from wire.spec import ClassificationPost, MinMax, NoNormalisation, Pipeline, Robust, SeriesPre, TensorSpec, ZScore

RANDOM = np.random.default_rng(4)
TRAINED: dict[str, Any] = {"statistics": "training", "median": (8.0, 9.0), "interquartile_range": (2.0, 4.0)}


@pytest.mark.parametrize("hop", [1, 7, 60])
@pytest.mark.parametrize("difference", [0, 2])
@pytest.mark.parametrize(
    "normalise", [ZScore(ddof=1), MinMax(low=-1.0), NoNormalisation(), Robust(**TRAINED)], ids=lambda one: one.method
)
def test_each_window_is_as_the_pipeline_makes_it(normalise: Any, difference: int, hop: int) -> None:
    pre = series_pre(length=20, difference=difference, normalise=normalise)
    recording = RANDOM.normal(9, 3, (2, 200))
    windows, single = cut_recording(pre, recording, hop), made(pre)
    starts = range(0, 200 - difference - 20 + 1, hop)
    expected = [single.prepare(recording[:, at : at + 20 + difference])[0].copy() for at in starts]
    np.testing.assert_allclose(windows, expected, rtol=1e-5, atol=1e-5)


def test_gaps_are_repaired_over_the_whole_recording_which_stays_as_it_is() -> None:
    recording = np.array([[0.0, 1.0, np.nan, 3.0, 4.0]])
    pre = series_pre(channels=1, length=3, nan="interpolate")
    assert cut_recording(pre, recording, 2).tolist() == [[[0, 1, 2]], [[2, 3, 4]]]
    assert np.isnan(recording[0, 2])


@pytest.mark.parametrize("place", [5, 38])
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e101])
def test_what_no_rule_repairs_is_refused_in_windows_and_behind_them(value: float, place: int) -> None:
    recording = RANDOM.normal(size=(2, 39))  # windows of two blocks; two points lie in none
    recording[1, place] = value
    with pytest.raises(BadQuery, match="1 values"):
        cut_recording(series_pre(length=16, normalise=ZScore()), recording, 8)


def test_a_gap_is_repaired_where_sums_tell_of_it() -> None:
    recording, whole = RANDOM.normal(size=(2, 40)), RANDOM.normal(size=(2, 40))
    whole[:] = recording
    recording[0, 20], whole[0, 20] = np.nan, (recording[0, 19] + recording[0, 21]) / 2
    pre = series_pre(length=16, nan="interpolate", normalise=ZScore())
    np.testing.assert_allclose(cut_recording(pre, recording, 8), cut_recording(pre, whole, 8), rtol=1e-6, atol=1e-6)


def test_numbers_that_only_look_too_large_are_taken() -> None:
    recording = RANDOM.normal(size=(2, 40))
    windows = cut_recording(series_pre(length=16, normalise=ZScore()), recording, 8)
    large = cut_recording(series_pre(length=16, normalise=ZScore()), recording * 1e99, 8)
    np.testing.assert_allclose(large, windows, rtol=1e-5, atol=1e-5)


def test_the_result_goes_where_it_is_wanted() -> None:
    out = np.zeros((3, 2, 5), dtype=np.float32)
    assert cut_recording(series_pre(), np.ones((2, 7), np.float32), 1, out) is out
    assert (out == 1).all()


@pytest.mark.parametrize(
    ("recording", "hop", "says"),
    [
        (np.zeros((2, 4)), 1, r"\(2, 5 or more\)"),
        (np.zeros((3, 9)), 1, "given \\(3, 9\\)"),
        (np.zeros((2, 9)), 0, "and 0"),
        (np.full((2, 9), np.inf), 1, "infinite|not finite"),
        (np.full((2, 9), np.nan), 1, "18 values are not finite"),
        (np.array([["a"] * 9] * 2), 1, "expected numbers"),
    ],
)
def test_recordings_that_are_refused(recording: Any, hop: int, says: str) -> None:
    with pytest.raises(BadQuery, match=says):
        cut_recording(series_pre(), recording, hop)


def test_a_result_of_another_shape_is_refused() -> None:
    with pytest.raises(BadQuery, match=r"windows of shape \(3, 2, 5\), given \(9, 2, 5\)"):
        cut_recording(series_pre(), np.zeros((2, 7)), 1, np.zeros((9, 2, 5), dtype=np.float32))


def test_quartiles_are_not_carried() -> None:
    with pytest.raises(BadBundle, match="one window at a time"):
        cut_recording(series_pre(normalise=Robust()), np.zeros((2, 9)), 1)


def test_answers_come_in_order_and_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_AT_ONCE", 3)
    kit.save_linear_model(tmp_path / "m.onnx")
    tensor = TensorSpec(name="x", shape=(-1, kit.CHANNELS, kit.LENGTH))
    pre = SeriesPre(channels=kit.CHANNELS, length=kit.LENGTH, normalise=ZScore(), input=tensor)
    post = ClassificationPost(output=TensorSpec(name="logits", shape=(-1, kit.CLASSES)))
    engine = OnnxRuntimeEngine.load(tmp_path / "m.onnx", {}, threads=1)
    pipeline = make_pipeline(Pipeline(pre=pre, post=post), engine)
    recording = RANDOM.normal(size=(kit.CHANNELS, 5 * kit.LENGTH))
    answers = list(answer_recording(pipeline, pre, recording, hop=3))
    starts = range(0, 4 * kit.LENGTH + 1, 3)
    expected = [pipeline.answer(recording[:, at : at + kit.LENGTH]) for at in starts]
    assert [answer.classes for answer in answers] == [answer.classes for answer in expected]
    np.testing.assert_allclose([a.values for a in answers], [a.values for a in expected], rtol=1e-4)
