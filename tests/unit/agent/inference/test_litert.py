"""LiteRT behind the same interface, on the committed reference models."""

from pathlib import Path

import numpy as np
import pytest

from agent.errors import EngineFailed
from agent.inference.engines.interpreter import tensor_info
from agent.inference.engines.litert import LiteRtEngine
from agent.inference.engines.onnxruntime import OnnxRuntimeEngine
from agent.inference.pipeline import make_pipeline
from wire import spec

MODELS = Path(__file__).parents[4] / "models"


def outline_pipeline(engine: LiteRtEngine | OnnxRuntimeEngine) -> spec.Pipeline:
    given, wanted = engine.inputs[0], engine.outputs[0]
    tensor = spec.TensorSpec(name=given.name, shape=given.shape)
    post = spec.ClassificationPost(top_k=3, output=spec.TensorSpec(name=wanted.name, shape=wanted.shape))
    pre = spec.SeriesPre(channels=1, length=427, normalise=spec.ZScore(ddof=1), input=tensor)
    return spec.Pipeline(pre=pre, post=post)


def outlines(count: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
    angle = np.linspace(0, 2 * np.pi, 427)
    return np.stack([[1 + 0.3 * np.sin(k * angle) + 0.1 * np.cos(3 * k * angle)] for k in range(1, count + 1)])


def test_both_engines_agree_on_the_reference_model() -> None:
    litert = LiteRtEngine.load(MODELS / "leaf_outline/leaf_outline.tflite", {}, threads=1)
    onnx = OnnxRuntimeEngine.load(MODELS / "leaf_outline/leaf_outline.onnx", {}, threads=1)
    first, second = (make_pipeline(outline_pipeline(engine), engine) for engine in (litert, onnx))
    for query in outlines(5):
        np.testing.assert_allclose(first.raw(query), second.raw(query), rtol=1e-3, atol=1e-3)


def test_it_reports_what_it_set() -> None:
    engine = LiteRtEngine.load(MODELS / "soil_carbon/soil_carbon.tflite", {"xnnpack": False}, threads=2)
    assert (engine.settings["xnnpack"], engine.settings["intra_op_threads"]) == (False, 2)
    fewer = LiteRtEngine.load(MODELS / "soil_carbon/soil_carbon.tflite", {"threads": 1}, threads=2)
    assert fewer.settings["intra_op_threads"] == 1
    assert engine.settings["delegate"] == "none"
    assert engine.inputs[0].shape == (1, 17)
    assert engine.version[0].isdigit()


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(b"not a model, but long enough to be read as one")
    with pytest.raises(EngineFailed, match=r"refuses m\.tflite"):
        LiteRtEngine.load(tmp_path / "m.tflite", {}, threads=1)


@pytest.mark.parametrize("scale", [float("inf"), float("nan"), -0.5, 1e-45])
def test_a_scale_that_is_no_number_is_refused(scale: float) -> None:
    detail = {"name": "x", "shape": np.array([1, 2]), "dtype": np.int8, "quantization": (scale, 3)}
    with pytest.raises(EngineFailed, match=r"tensor 'x' has the scale .*: expected a finite number above 0"):
        tensor_info(detail)
    assert tensor_info({**detail, "quantization": (0.0, 0)}).quantisation is None
    assert tensor_info({**detail, "quantization": (0.5, 3)}).quantisation == spec.Quantisation(scale=0.5, zero_point=3)


def test_a_wrong_option_type_is_refused() -> None:
    with pytest.raises(EngineFailed, match="takes a bool"):
        LiteRtEngine.load(MODELS / "soil_carbon/soil_carbon.tflite", {"xnnpack": "yes"}, threads=1)


def test_an_int8_model_is_fed_and_read_through_its_quantisation(tmp_path: Path) -> None:
    """Quantise the committed model as a deploy would; integers go in and out."""
    from ai_edge_quantizer import quantizer, recipe

    quantise = quantizer.Quantizer(str(MODELS / "leaf_outline/leaf_outline.tflite"))
    quantise.load_quantization_recipe(recipe.static_wi8_ai8())
    queries = outlines(8)
    normal = (queries - queries.mean(axis=2, keepdims=True)) / queries.std(axis=2, ddof=1, keepdims=True)
    samples = [{"args_0": one[np.newaxis].astype(np.float32)} for one in normal]
    calibrated = quantise.calibrate({"serving_default": samples})
    (tmp_path / "q.tflite").write_bytes(quantise.quantize(calibrated).quantized_model)
    engine = LiteRtEngine.load(tmp_path / "q.tflite", {}, threads=1)
    assert (engine.inputs[0].dtype, engine.outputs[0].dtype) == ("int8", "int8")
    pipeline = make_pipeline(described(engine), engine)
    into, out = engine.inputs[0].quantisation, engine.outputs[0].quantisation
    assert into is not None
    assert out is not None
    for query, expected in zip(queries, normal, strict=True):
        levels = np.rint(expected.astype(np.float32) / np.float32(into.scale)) + into.zero_point
        integers = np.clip(levels, -128, 127).astype(np.int8)
        np.testing.assert_array_equal(pipeline.prepare(query)[0], integers)
        scores = (engine.infer([integers[np.newaxis]])[0][0].astype(np.float32) - out.zero_point) * np.float32(
            out.scale
        )
        np.testing.assert_allclose(pipeline.raw(query), scores, rtol=1e-6)


def described(engine: LiteRtEngine) -> spec.Pipeline:
    """Return the pipeline of the float model with the engine's own dtypes and quantisations."""
    plain, given, wanted = outline_pipeline(engine), engine.inputs[0], engine.outputs[0]
    tensor = spec.TensorSpec(name=given.name, shape=given.shape, dtype="int8", quantisation=given.quantisation)
    output = spec.TensorSpec(name=wanted.name, shape=wanted.shape, dtype="int8", quantisation=wanted.quantisation)
    pre = plain.pre.model_copy(update={"input": tensor})
    return plain.model_copy(update={"pre": pre, "post": plain.post.model_copy(update={"output": output})})
