"""What a waveform may look like, what a specification must fit, and the way through an engine."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from agent.errors import BadBundle, BadQuery
from agent.inference.engines.onnxruntime import OnnxRuntimeEngine
from agent.inference.pipeline import Pipeline, make_pipeline
from agent.inference.pre import Place, make_pre
from tests.unit.agent.inference import bundle_kit as kit
from tests.unit.agent.inference.audio.audio_kit import features, reference, specified, tone
from wire import spec

SAMPLES = 1600
NOT_FINITE = (np.nan, np.inf, -np.inf)


@pytest.mark.parametrize(("dtype", "one", "silence"), [("int16", 2**15, 0), ("int32", 2**31, 0), ("uint8", 128, 128)])
def test_integers_are_brought_to_one(dtype: str, one: int, silence: int) -> None:
    query = np.rint(tone(SAMPLES).astype(np.float64) * one + silence).astype(dtype)
    pre = specified(samples=SAMPLES)
    same = (query.astype(np.float64) - silence) / one
    np.testing.assert_allclose(features(pre, query), features(pre, same), atol=1e-4)
    np.testing.assert_allclose(features(pre, query), reference(pre, query), atol=5e-3)


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_floats_are_taken_as_they_are(dtype: str) -> None:
    pre, query = specified(samples=SAMPLES), tone(SAMPLES).astype(dtype)
    np.testing.assert_array_equal(features(pre, query), features(pre, query.astype(np.float32)))


def test_a_channel_axis_of_one_may_stand_there() -> None:
    pre, query = specified(samples=SAMPLES), tone(SAMPLES)
    stereo = np.stack([query, -query], axis=1)
    for mono in (query[np.newaxis], query[:, np.newaxis], stereo[:, :1]):
        np.testing.assert_array_equal(features(pre, mono), features(pre, query))
        np.testing.assert_array_equal(reference(pre, mono), reference(pre, query))
    one = specified(samples=SAMPLES, resize="pad")
    np.testing.assert_array_equal(features(one, np.ones((1, 1))), features(one, np.ones(1)))


@pytest.mark.parametrize("shape", [(2, SAMPLES), (SAMPLES, 2)])
def test_two_channels_are_refused_with_what_to_do(shape: tuple[int, int]) -> None:
    with pytest.raises(BadQuery, match=rf"one channel, given shape \({shape[0]}, {shape[1]}\): mix"):
        features(specified(samples=SAMPLES), np.zeros(shape))


@pytest.mark.parametrize("shape", [(), (0,), (1, 0), (0, 0), (2, 0), (0, SAMPLES), (1, 1, SAMPLES), (SAMPLES - 1,)])
def test_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(BadQuery, match=r"1600 samples at 16000 Hz, given shape"):
        features(specified(samples=SAMPLES), np.zeros(shape))


@pytest.mark.parametrize("shape", [(0,), (1, 0), (2, 2, 2)])
def test_padding_needs_a_sample(shape: tuple[int, ...]) -> None:
    with pytest.raises(BadQuery, match="at least one sample"):
        features(specified(samples=SAMPLES, resize="pad"), np.zeros(shape))


@pytest.mark.parametrize("dtype", ["int64", "bool", "complex64", "U1"])
def test_other_dtypes_are_refused(dtype: str) -> None:
    with pytest.raises(BadQuery, match=f"given dtype .*{np.dtype(dtype).str[-2:]}|given dtype {dtype}"):
        features(specified(samples=SAMPLES), np.zeros(SAMPLES, dtype=dtype))


@pytest.mark.parametrize("value", [*NOT_FINITE, 1e13, 1e300])
def test_what_is_not_finite_or_far_too_loud_is_refused(value: float) -> None:
    query = tone(SAMPLES).astype(np.float64)
    query[[5, 77]] = value
    with pytest.raises(BadQuery, match="2 samples are not finite, or beyond"):
        features(specified(samples=SAMPLES), query)


@pytest.mark.parametrize("pad_mode", ["zero", "reflect"])
def test_a_short_waveform_is_filled_up_and_a_long_one_cut(pad_mode: str) -> None:
    exact = specified(samples=SAMPLES, pad_mode=pad_mode)
    padded = specified(samples=SAMPLES, pad_mode=pad_mode, resize="pad")
    short, long = tone(1000), tone(3000)
    filled = np.pad(short, (0, SAMPLES - 1000))
    np.testing.assert_array_equal(features(padded, short), features(exact, filled))
    np.testing.assert_array_equal(features(padded, long), features(exact, long[:SAMPLES]))


def test_the_loudest_that_is_taken_gives_finite_energies() -> None:
    query = np.where(np.arange(8192) % 2, 1e12, -1e12)
    pre = specified(samples=8192, window_length=8192, fft_length=8192, features="power", log="none")
    assert np.isfinite(features(pre, query)).all()


@pytest.mark.parametrize("layout", ["NFT", "NTF"])
@pytest.mark.parametrize("channel", [(), (1,)])
def test_free_axes_are_filled(layout: str, channel: tuple[int, ...]) -> None:
    shape = (-1, *channel, -1, -1)
    pre = specified(samples=SAMPLES, layout=layout, input={"name": "x", "shape": shape})
    natural = (80, 11) if layout == "NFT" else (11, 80)
    assert features(pre, tone(SAMPLES)).shape == (*channel, *natural) == reference(pre, tone(SAMPLES)).shape


def test_an_input_of_another_shape_names_both() -> None:
    pre = specified(samples=SAMPLES, input={"name": "x", "shape": (-1, 80, 12)})
    with pytest.raises(BadBundle, match=r"11 frames of 80 bins, NFT \(80, 11\).*given \(1, 80, 12\)"):
        make_pre(pre, Place({"x": (-1, 80, 12)}))


def test_a_row_of_a_batch_is_written_in_place() -> None:
    pre, batch = specified(samples=SAMPLES), np.zeros((3, 80, 11), dtype=np.float32)
    made = make_pre(pre, Place({"x": pre.input.shape}, rows={"x": batch[1:2]}))
    made.prepare(tone(SAMPLES))
    np.testing.assert_array_equal(batch[1], features(pre, tone(SAMPLES)))
    assert not batch[0].any()
    assert not batch[2].any()


def sum_model(path: Path, dtype: int = TensorProto.FLOAT) -> None:
    """(n, 1, 80, frames) -> the mean of each bin (n, 80)."""
    cast = helper.make_node("Cast", ["x"], ["real"], to=TensorProto.FLOAT)
    mean = helper.make_node("ReduceMean", ["real"], ["y"], axes=[1, 3], keepdims=0)
    x = helper.make_tensor_value_info("x", dtype, ["n", 1, 80, "frames"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 80])
    kit.save(helper.make_graph([cast, mean], "mean", [x], [y], [numpy_helper.from_array(np.zeros(1), "unused")]), path)


def loaded(folder: Path, onnx_type: int = TensorProto.FLOAT, **tensor: Any) -> Pipeline:
    sum_model(folder / "m.onnx", onnx_type)
    pre = specified(samples=SAMPLES, input={"name": "x", "shape": (-1, 1, 80, -1), **tensor})
    post = spec.RegressionPost(output=spec.TensorSpec(name="y", shape=(-1, 80)))
    engine = OnnxRuntimeEngine.load(folder / "m.onnx", {}, threads=1)
    return make_pipeline(spec.Pipeline(pre=pre, post=post), engine)


def means() -> NDArray[Any]:
    return np.asarray(reference(specified(samples=SAMPLES), tone(SAMPLES)).mean(axis=1))


def test_an_answer_comes_through_an_engine(tmp_path: Path) -> None:
    answer = loaded(tmp_path).answer(tone(SAMPLES))
    np.testing.assert_allclose(answer.values, means(), atol=5e-3)


def test_half_precision_goes_in_as_half(tmp_path: Path) -> None:
    answer = loaded(tmp_path, TensorProto.FLOAT16, dtype="float16").answer(tone(SAMPLES))
    np.testing.assert_allclose(answer.values, means(), atol=0.05)


@pytest.mark.parametrize(
    ("dtype", "kind", "zero_point"), [("int8", TensorProto.INT8, 28), ("uint8", TensorProto.UINT8, 156)]
)
def test_features_are_quantised(tmp_path: Path, dtype: str, kind: int, zero_point: int) -> None:
    scale = 0.5
    tensor = {"dtype": dtype, "quantisation": {"scale": scale, "zero_point": zero_point}}
    raw = loaded(tmp_path, kind, **tensor).raw(tone(SAMPLES))
    np.testing.assert_allclose((raw - zero_point) * scale, means(), atol=scale / 2 + 0.01)


def test_loud_power_does_not_fit_half_precision() -> None:
    tensor = {"name": "x", "shape": (-1, -1, -1), "dtype": "float16"}
    pre = specified(samples=SAMPLES, features="power", log="none", full_scale=32768.0, input=tensor)
    with pytest.raises(BadQuery, match="not finite after pre-processing to float16"):
        features(pre, tone(SAMPLES))
