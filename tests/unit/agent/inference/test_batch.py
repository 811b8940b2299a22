"""Several queries in one inference give the answers that they get one by one, or the batch is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from agent.errors import BadQuery, BatchFixed
from agent.inference.arrays import golden_inputs
from agent.inference.batch import open_batch
from agent.inference.bundle import Bundle
from agent.inference.pipeline import Pipeline, open_pipeline
from tests.unit.agent.inference import bundle_kit as kit
from wire import spec
from wire.manifest import GoldenSpec

MODELS = Path(__file__).parents[4] / "models"


def opened(folder: Path) -> tuple[Bundle, Pipeline]:
    bundle = Bundle.open(folder)
    return bundle, open_pipeline(bundle, threads=1)


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("linear")
    kit.write_bundle(folder)
    return folder


@given(st.integers(1, 12), st.integers(0, 1000))
@settings(max_examples=30)
def test_answers_are_those_of_single_queries_in_their_order(linear: Path, size: int, seed: int) -> None:
    bundle, pipeline = opened(linear)
    queries = list(kit.queries(size, seed))
    single = [pipeline.answer(query) for query in queries]
    batch = open_batch(bundle, pipeline, size, queries)
    batch.prepare(queries)
    answers = batch.finish(batch.infer())
    assert [answer.classes for answer in answers] == [answer.classes for answer in single]
    np.testing.assert_allclose(
        [answer.values for answer in answers], [answer.values for answer in single], rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(batch.raw(queries), kit.reference(np.stack(queries)), rtol=1e-4, atol=1e-4)


def test_fewer_queries_than_rows_are_checked_in_rotation(linear: Path) -> None:
    bundle, pipeline = opened(linear)
    batch = open_batch(bundle, pipeline, 7, list(kit.queries(2)))
    assert batch.raw(list(kit.queries(7))).shape == (7, kit.CLASSES)


def test_a_query_that_does_not_fit_is_refused(linear: Path) -> None:
    bundle, pipeline = opened(linear)
    queries = list(kit.queries(3))
    batch = open_batch(bundle, pipeline, 3, queries)
    with pytest.raises(BadQuery, match="expected a series"):
        batch.prepare([*queries[:2], np.zeros((1, 1))])


def graph_bundle(folder: Path, nodes: list[Any], constants: dict[str, Any]) -> None:
    folder.mkdir()
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", kit.CHANNELS, kit.LENGTH])
    y = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", kit.CLASSES])
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    kit.save(helper.make_graph(nodes, "graph", [x], [y], tensors), folder / "model.onnx")
    kit.write_bundle(folder)


def refusal(folder: Path, size: int = 4) -> str:
    """Return why a batch is refused, once the pipeline was seen to answer as before."""
    bundle, pipeline = opened(folder)
    queries = list(golden_inputs(bundle))
    before = pipeline.raw(queries[0])
    with pytest.raises(BatchFixed) as caught:
        open_batch(bundle, pipeline, size, queries)
    np.testing.assert_array_equal(pipeline.raw(queries[0]), before)
    assert caught.value.reason == "batch_fixed"
    return str(caught.value)


def test_a_fixed_axis_is_named(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    kit.save_linear_model(tmp_path / "b/model.onnx", batch=1)
    kit.write_bundle(tmp_path / "b")
    assert "'x' of shape (1, 2, 12) has no free batch axis, asked for 4" in refusal(tmp_path / "b")


def test_a_model_that_mixes_its_queries_is_found_out(tmp_path: Path) -> None:
    """Its axis is free, and its answers depend on what else is in the batch."""
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"]),
        helper.make_node("ReduceMean", ["flat"], ["mean"], axes=[0], keepdims=1),
        helper.make_node("Add", ["flat", "mean"], ["mixed"]),
        helper.make_node("MatMul", ["mixed", "w"], ["logits"]),
    ]
    graph_bundle(tmp_path / "b", nodes, {"w": kit.WEIGHTS})
    assert "in a batch of 4 the answers change by" in refusal(tmp_path / "b")


def test_a_model_that_is_fixed_inside_is_found_out(tmp_path: Path) -> None:
    size = np.array([1, kit.CHANNELS * kit.LENGTH], dtype=np.int64)
    nodes = [
        helper.make_node("Reshape", ["x", "size"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["logits"]),
    ]
    graph_bundle(tmp_path / "b", nodes, {"w": kit.WEIGHTS, "size": size})
    assert "'logits' of shape (1, 3) has no free batch axis" in refusal(tmp_path / "b")


def test_a_model_with_one_answer_for_all_is_found_out(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["scores"]),
        helper.make_node("ReduceMean", ["scores"], ["logits"], axes=[0], keepdims=1),
    ]
    graph_bundle(tmp_path / "b", nodes, {"w": kit.WEIGHTS})
    assert "'logits' of shape (1, 3) has no free batch axis" in refusal(tmp_path / "b")


def soil_bundle(folder: Path, model: bytes) -> None:
    from agent.inference.engines.litert import LiteRtEngine

    folder.mkdir()
    (folder / "model.tflite").write_bytes(model)
    engine = LiteRtEngine.load(folder / "model.tflite", {}, threads=1)
    given, wanted = engine.inputs[0], engine.outputs[0]
    rows = np.random.default_rng(2).normal(size=(8, 17)).astype(np.float32)
    tensors = [
        spec.TensorSpec(name=info.name, shape=info.shape, dtype=info.dtype, quantisation=info.quantisation)  # type: ignore[arg-type]
        for info in (given, wanted)
    ]
    pipeline = spec.Pipeline(
        pre=spec.TablePre(features=17, input=tensors[0]), post=spec.RegressionPost(output=tensors[1])
    )
    described = {"kind": "regression", "format": "tflite", "engine": "litert", "model_file": "model.tflite"}
    golden = GoldenSpec(samples=8)
    kit.write_bundle(folder, rows, np.zeros((8, 1), np.float32), **described, pipeline=pipeline, golden=golden)


def quantised(model: Path) -> bytes:
    from ai_edge_quantizer import quantizer, recipe

    quantise = quantizer.Quantizer(str(model))
    quantise.load_quantization_recipe(recipe.static_wi8_ai8())
    name, signature = next(iter(quantise_signatures(model).items()))
    rows = np.random.default_rng(3).normal(size=(32, 1, 17)).astype(np.float32)
    samples = {name: [{signature[0]: row} for row in rows]}
    return bytes(quantise.quantize(quantise.calibrate(samples)).quantized_model)


def quantise_signatures(model: Path) -> dict[str, list[str]]:
    from ai_edge_litert import interpreter

    loaded = interpreter.Interpreter(model_path=str(model))
    return {name: list(found["inputs"]) for name, found in loaded.get_signature_list().items()}


@pytest.mark.parametrize("is_quantised", [False, True])
def test_litert_resizes_a_model_that_lets_it_and_the_answers_stay(tmp_path: Path, is_quantised: bool) -> None:
    model = MODELS / "soil_carbon/soil_carbon.tflite"
    soil_bundle(tmp_path / "b", quantised(model) if is_quantised else model.read_bytes())
    bundle, pipeline = opened(tmp_path / "b")
    queries = list(golden_inputs(bundle))
    single = np.concatenate([pipeline.raw(query).reshape(1, -1) for query in queries])
    output = pipeline.engine.outputs[0].quantisation
    assert (output is not None) is is_quantised
    batch = open_batch(bundle, pipeline, 8, queries)
    step = output.scale if output is not None else 1e-6
    np.testing.assert_allclose(batch.raw(queries), single, atol=1.01 * step)
    pipeline.engine.take_batch(1)
    np.testing.assert_array_equal(pipeline.raw(queries[0]).reshape(-1), single[0])


def test_litert_refuses_a_model_that_is_fixed_inside() -> None:
    """The outline model reshapes to one query: the interpreter cannot allocate it for more, and is as it was."""
    from agent.inference.engines.litert import LiteRtEngine

    engine = LiteRtEngine.load(MODELS / "leaf_outline/leaf_outline.tflite", {}, threads=1)
    query = np.random.default_rng(1).normal(size=(1, 1, 427)).astype(np.float32)
    before = engine.infer([query])[0]
    with pytest.raises(BatchFixed, match="cannot resize the model to 4 queries"):
        engine.take_batch(4)
    np.testing.assert_array_equal(engine.infer([query])[0], before)
