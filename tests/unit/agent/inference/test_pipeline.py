"""The whole way of a query, on real engines, and what is refused before the first one."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from agent.errors import BadBundle, BadQuery, EngineFailed, EngineUnavailable
from agent.inference.bundle import Bundle
from agent.inference.engines.base import import_failure, threads_of
from agent.inference.engines.onnxruntime import OnnxRuntimeEngine
from agent.inference.engines.registry import engine_class
from agent.inference.pipeline import Pipeline, make_pipeline, open_pipeline
from tests.unit.agent.inference import bundle_kit as kit
from wire import spec


def loaded(folder: Path, pipeline: spec.Pipeline, **model: Any) -> Pipeline:
    kit.save_linear_model(folder / "model.onnx", **model)
    return make_pipeline(pipeline, OnnxRuntimeEngine.load(folder / "model.onnx", {}, threads=1))


def test_raw_outputs_are_the_references(tmp_path: Path) -> None:
    kit.write_bundle(tmp_path)
    pipeline = open_pipeline(Bundle.open(tmp_path), threads=1)
    given = np.stack([pipeline.raw(query) for query in kit.queries()])
    np.testing.assert_allclose(given, kit.reference(kit.queries()), rtol=1e-4, atol=1e-4)


def test_answers_are_the_best_classes_with_their_probabilities(tmp_path: Path) -> None:
    pipeline = loaded(tmp_path, kit.classifier_pipeline())
    scores = kit.reference(kit.queries())[0].astype(np.float64)
    answer = pipeline.answer(kit.queries()[0])
    order = np.argsort(-scores)[:2]
    shares = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
    assert answer.classes == tuple(order)
    assert answer.labels == tuple(kit.LABELS[index] for index in order)
    assert answer.values == pytest.approx(shares[order], rel=1e-4)


def test_a_query_does_not_change_the_next_one(tmp_path: Path) -> None:
    pipeline = loaded(tmp_path, kit.classifier_pipeline())
    first, second = kit.queries()[:2]
    before = pipeline.raw(first)
    pipeline.raw(second)
    np.testing.assert_array_equal(pipeline.raw(first), before)


@pytest.mark.parametrize(
    ("change", "expected", "given"),
    [
        ({"name": "y"}, "'y'", "'x'"),
        ({"shape": (-1, 2, 13)}, "(-1, 2, 13)", "(-1, 2, 12)"),
        ({"dtype": "float16"}, "float16", "float32"),
    ],
)
def test_a_specification_that_does_not_fit_names_both_sides(
    tmp_path: Path, change: dict[str, Any], expected: str, given: str
) -> None:
    tensor = spec.TensorSpec(**{"name": "x", "shape": (-1, kit.CHANNELS, kit.LENGTH), **change})
    with pytest.raises(BadBundle) as refusal:
        loaded(tmp_path, kit.classifier_pipeline(input=tensor))
    assert expected in str(refusal.value)
    assert given in str(refusal.value)


def test_a_fixed_batch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadBundle, match="batch axis is fixed at 8"):
        loaded(tmp_path, kit.classifier_pipeline(), batch=8)


def test_an_unknown_output_is_refused_with_the_models_own(tmp_path: Path) -> None:
    pipeline = kit.classifier_pipeline()
    post = pipeline.post.model_copy(update={"output": spec.TensorSpec(name="scores", shape=(-1, kit.CLASSES))})
    with pytest.raises(BadBundle, match=r"'scores'.*logits"):
        loaded(tmp_path, pipeline.model_copy(update={"post": post}))


@pytest.mark.parametrize("shape", [(2, 11), (3, 12), (12,), (2, 12, 1), (0, 0)])
def test_a_query_of_another_shape_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    pipeline = loaded(tmp_path, kit.classifier_pipeline())
    with pytest.raises(BadQuery, match=r"\(2, 12\), given"):
        pipeline.prepare(np.zeros(shape))


def test_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadQuery, match="expected numbers"):
        loaded(tmp_path, kit.classifier_pipeline()).prepare(np.full((2, 12), "x"))


def test_another_length_is_resampled_where_the_rule_says_so(tmp_path: Path) -> None:
    pipeline = loaded(tmp_path, kit.classifier_pipeline(resize="linear", normalise=spec.NoNormalisation()))
    ramp = np.linspace(0.0, 1.0, 30)
    buffer = pipeline.prepare(np.stack([ramp, 2 * ramp]))
    wanted = np.linspace(0.0, 1.0, kit.LENGTH, dtype=np.float32)
    np.testing.assert_allclose(buffer[0], [wanted, 2 * wanted], atol=1e-6)


def test_missing_values_follow_the_rule(tmp_path: Path) -> None:
    query = kit.queries()[0].copy()
    query[1, 3] = np.nan
    with pytest.raises(BadQuery, match="1 values are not finite"):
        loaded(tmp_path, kit.classifier_pipeline()).prepare(query)
    plain = {"normalise": spec.NoNormalisation()}
    zeroed = loaded(tmp_path, kit.classifier_pipeline(nan="zero", **plain)).prepare(query)
    assert zeroed[0, 1, 3] == 0.0
    bridged = loaded(tmp_path, kit.classifier_pipeline(nan="interpolate", **plain)).prepare(query)
    assert bridged[0, 1, 3] == pytest.approx((query[1, 2] + query[1, 4]) / 2)


def test_channels_last_are_laid_out_so(tmp_path: Path) -> None:
    weights = numpy_helper.from_array(kit.WEIGHTS, "w")
    nodes = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["logits"])]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", kit.LENGTH, kit.CHANNELS])
    y = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", kit.CLASSES])
    kit.save(helper.make_graph(nodes, "last", [x], [y], [weights]), tmp_path / "m.onnx")
    tensor = spec.TensorSpec(name="x", shape=(-1, kit.LENGTH, kit.CHANNELS))
    declared = kit.classifier_pipeline(layout="NLC", input=tensor, normalise=spec.NoNormalisation())
    pipeline = make_pipeline(declared, OnnxRuntimeEngine.load(tmp_path / "m.onnx", {}, threads=1))
    query = kit.queries()[0]
    np.testing.assert_array_equal(pipeline.prepare(query)[0], query.T)


def test_half_precision_goes_in_as_half(tmp_path: Path) -> None:
    tensor = spec.TensorSpec(name="x", shape=(-1, kit.CHANNELS, kit.LENGTH), dtype="float16")
    pipeline = loaded(tmp_path, kit.classifier_pipeline(input=tensor), dtype=TensorProto.FLOAT16)
    given = pipeline.raw(kit.queries()[0])
    np.testing.assert_allclose(given, kit.reference(kit.queries()[:1])[0], rtol=0.02, atol=0.02)


def quantised_model(path: Path) -> None:
    """int8 in, uint8 out: logits are de-quantised by the pipeline."""
    scalars = {"si": np.float32(0.05), "zi": np.int8(-3), "so": np.float32(0.2), "zo": np.uint8(120)}
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "si", "zi"], ["real"]),
        helper.make_node("Flatten", ["real"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["scores"]),
        helper.make_node("QuantizeLinear", ["scores", "so", "zo"], ["logits"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.INT8, ["n", kit.CHANNELS, kit.LENGTH])
    y = helper.make_tensor_value_info("logits", TensorProto.UINT8, ["n", kit.CLASSES])
    constants = [numpy_helper.from_array(np.array(value), name) for name, value in scalars.items()]
    constants.append(numpy_helper.from_array(kit.WEIGHTS, "w"))
    kit.save(helper.make_graph(nodes, "quantised", [x], [y], constants), path)
    onnx.checker.check_model(str(path))


def quantised_pipeline() -> spec.Pipeline:
    shape = (-1, kit.CHANNELS, kit.LENGTH)
    into = spec.Quantisation(scale=0.05, zero_point=-3)
    out = spec.Quantisation(scale=0.2, zero_point=120)
    tensor = spec.TensorSpec(name="x", shape=shape, dtype="int8", quantisation=into)
    pipeline = kit.classifier_pipeline(input=tensor)
    output = spec.TensorSpec(name="logits", shape=(-1, kit.CLASSES), dtype="uint8", quantisation=out)
    return pipeline.model_copy(update={"post": pipeline.post.model_copy(update={"output": output})})


def test_integer_models_are_fed_and_read_through_their_quantisation(tmp_path: Path) -> None:
    quantised_model(tmp_path / "q.onnx")
    pipeline = make_pipeline(quantised_pipeline(), OnnxRuntimeEngine.load(tmp_path / "q.onnx", {}, threads=1))
    query = kit.queries()[0].astype(np.float64)
    normal = ((query - query.mean(axis=1, keepdims=True)) / query.std(axis=1, keepdims=True)).astype(np.float32)
    levels = np.clip(np.rint(normal / np.float32(0.05)) - 3, -128, 127)
    np.testing.assert_array_equal(pipeline.prepare(query)[0], levels.astype(np.int8))
    expected = kit.reference(query[np.newaxis])[0]
    np.testing.assert_allclose(pipeline.raw(query), expected, atol=0.2 + 0.05 * np.abs(kit.WEIGHTS).sum(axis=0).max())


def test_an_integer_tensor_without_quantisation_is_refused(tmp_path: Path) -> None:
    quantised_model(tmp_path / "q.onnx")
    tensor = spec.TensorSpec(name="x", shape=(-1, kit.CHANNELS, kit.LENGTH), dtype="int8")
    pipeline = quantised_pipeline()
    bare = pipeline.model_copy(update={"pre": pipeline.pre.model_copy(update={"input": tensor})})
    with pytest.raises(BadBundle, match="gives no quantisation"):
        make_pipeline(bare, OnnxRuntimeEngine.load(tmp_path / "q.onnx", {}, threads=1))


def row_model(path: Path, features: int) -> None:
    """One output: the sum of the features."""
    node = helper.make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=1)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", features])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1])
    axes = numpy_helper.from_array(np.array([1], dtype=np.int64), "axes")
    kit.save(helper.make_graph([node], "sum", [x], [y], [axes]), path)


def row_pipeline(**pre: Any) -> spec.Pipeline:
    tensor = spec.TensorSpec(name="x", shape=(-1, 3))
    post = spec.RegressionPost(scale=(10.0,), offset=(1.0,), output=spec.TensorSpec(name="y", shape=(-1, 1)))
    return spec.Pipeline(pre=spec.TablePre(features=3, input=tensor, **pre), post=post)


def test_rows_are_normalised_with_training_statistics_and_answered_in_units(tmp_path: Path) -> None:
    row_model(tmp_path / "row.onnx", 3)
    training = spec.ZScore(statistics="training", mean=(1.0, 2.0, 3.0), deviation=(1.0, 2.0, 4.0))
    declared = row_pipeline(nan="mean", normalise=training)
    pipeline = make_pipeline(declared, OnnxRuntimeEngine.load(tmp_path / "row.onnx", {}, threads=1))
    assert pipeline.answer(np.array([2.0, 4.0, 7.0])).values == pytest.approx((31.0,))
    assert pipeline.answer(np.array([2.0, np.nan, 7.0])).values == pytest.approx((21.0,))
    with pytest.raises(BadQuery, match=r"\(3,\), given \(4,\)"):
        pipeline.prepare(np.zeros(4))


def test_the_mean_rule_needs_training_statistics() -> None:
    with pytest.raises(ValueError, match="training statistics"):
        row_pipeline(nan="mean")


def test_a_tensor_goes_in_as_it_is(tmp_path: Path) -> None:
    tensor = spec.TensorSpec(name="x", shape=(-1, kit.CHANNELS, kit.LENGTH))
    declared = kit.classifier_pipeline().model_copy(update={"pre": spec.TensorPre(input=tensor)})
    pipeline = loaded(tmp_path, declared)
    np.testing.assert_array_equal(pipeline.prepare(kit.queries()[0])[0], kit.queries()[0])
    assert pipeline.pre.kernels == ()


def tensor_pipeline(tensor: spec.TensorSpec | None = None) -> spec.Pipeline:
    tensor = tensor or spec.TensorSpec(name="x", shape=(-1, kit.CHANNELS, kit.LENGTH))
    return kit.classifier_pipeline().model_copy(update={"pre": spec.TensorPre(input=tensor)})


def with_one(value: float, dtype: str = "float64") -> Any:
    query = kit.queries()[0].astype(dtype)
    query[1, 3] = value
    return query


NOT_FINITE = (np.nan, np.inf, -np.inf)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("value", NOT_FINITE)
def test_a_tensor_takes_finite_numbers_only(tmp_path: Path, value: float, dtype: str) -> None:
    pipeline = loaded(tmp_path, tensor_pipeline())
    with pytest.raises(BadQuery, match="1 values are not finite"):
        pipeline.prepare(with_one(value, dtype))
    assert pipeline.answer(kit.queries()[0]).classes


def test_a_number_that_does_not_fit_the_models_dtype_is_refused(tmp_path: Path) -> None:
    single = loaded(tmp_path, tensor_pipeline())
    with pytest.raises(BadQuery, match="too large for float32"):
        single.prepare(with_one(1e39))
    assert single.prepare(with_one(3e38))[0, 1, 3] == np.float32(3e38)
    tensor = spec.TensorSpec(name="x", shape=(-1, kit.CHANNELS, kit.LENGTH), dtype="float16")
    half = loaded(tmp_path, tensor_pipeline(tensor), dtype=TensorProto.FLOAT16)
    for dtype in ("float64", "int64"):
        with pytest.raises(BadQuery, match="too large for float16"):
            half.prepare(with_one(70_000, dtype))


@pytest.mark.parametrize("value", NOT_FINITE)
def test_a_quantised_tensor_takes_finite_numbers_only(tmp_path: Path, value: float) -> None:
    quantised_model(tmp_path / "q.onnx")
    declared = tensor_pipeline(quantised_pipeline().pre.input)
    declared = declared.model_copy(update={"post": quantised_pipeline().post})
    pipeline = make_pipeline(declared, OnnxRuntimeEngine.load(tmp_path / "q.onnx", {}, threads=1))
    with pytest.raises(BadQuery, match="1 values are not finite"):
        pipeline.prepare(with_one(value))
    assert pipeline.prepare(with_one(1e9))[0, 1, 3] == 127


@pytest.mark.parametrize("rule", ["error", "zero", "interpolate"])
def test_no_rule_for_missing_values_takes_infinities(tmp_path: Path, rule: str) -> None:
    for resize in ("error", "linear"):
        pipeline = loaded(tmp_path, kit.classifier_pipeline(nan=rule, resize=resize))
        for query in (with_one(np.inf), with_one(-np.inf)):
            given = query if resize == "error" else np.repeat(query, 2, axis=1)
            with pytest.raises(BadQuery, match="are not finite" if rule == "error" else "are infinite"):
                pipeline.prepare(given)


def test_a_series_that_overflows_is_refused(tmp_path: Path) -> None:
    plain = {"normalise": spec.NoNormalisation()}
    with pytest.raises(BadQuery, match="1 are not finite after pre-processing to float32"):
        loaded(tmp_path, kit.classifier_pipeline(**plain)).prepare(with_one(1e39))
    tensor = spec.TensorSpec(name="x", shape=(-1, kit.CHANNELS, kit.LENGTH), dtype="float16")
    half = loaded(tmp_path, kit.classifier_pipeline(input=tensor, **plain), dtype=TensorProto.FLOAT16)
    with pytest.raises(BadQuery, match="1 are not finite after pre-processing to float16"):
        half.prepare(with_one(70_000))


def test_a_window_whose_statistics_overflow_is_refused_by_an_integer_model_too(tmp_path: Path) -> None:
    quantised_model(tmp_path / "q.onnx")
    pipeline = make_pipeline(quantised_pipeline(), OnnxRuntimeEngine.load(tmp_path / "q.onnx", {}, threads=1))
    with pytest.raises(BadQuery, match="1 values are not finite, or beyond 1e\\+100"):
        pipeline.prepare(with_one(1e300))
    assert pipeline.prepare(kit.queries()[0]).any()


@pytest.mark.parametrize("rule", ["error", "zero", "mean"])
def test_a_row_takes_neither_infinities_nor_what_overflows(tmp_path: Path, rule: str) -> None:
    row_model(tmp_path / "row.onnx", 3)
    training = spec.ZScore(statistics="training", mean=(1.0, 2.0, 3.0), deviation=(1.0, 2.0, 4.0))
    declared = row_pipeline(nan=rule, normalise=training)
    pipeline = make_pipeline(declared, OnnxRuntimeEngine.load(tmp_path / "row.onnx", {}, threads=1))
    with pytest.raises(BadQuery, match="are not finite" if rule == "error" else "1 values are infinite"):
        pipeline.prepare(np.array([1.0, np.inf, 2.0]))
    with pytest.raises(BadQuery, match="beyond 1e\\+100"):
        pipeline.prepare(np.array([1.0, 2.0, 1e300]))
    with pytest.raises(BadQuery, match="numbers too large: 1 are"):
        pipeline.prepare(np.array([1.0, 2.0, 1e60]))


def test_an_option_that_the_engine_lacks_is_refused(tmp_path: Path) -> None:
    kit.save_linear_model(tmp_path / "m.onnx")
    with pytest.raises(EngineFailed, match=r"no option 'fast'.*graph_optimization"):
        OnnxRuntimeEngine.load(tmp_path / "m.onnx", {"fast": True}, threads=1)


@pytest.mark.parametrize(("asked", "allowed", "given"), [(None, 3, 3), (2, 3, 2), (3, 2, 2), (1, 1, 1), (64, 64, 64)])
def test_an_engine_has_as_many_threads_as_the_variant_asks_for_and_the_device_allows(
    asked: int | None, allowed: int, given: int
) -> None:
    assert threads_of("litert", {} if asked is None else {"threads": asked}, allowed) == given


@pytest.mark.parametrize("asked", [0, -1, 65, 2.0, "2", True])
def test_threads_that_are_no_number_of_threads_are_refused(asked: object) -> None:
    with pytest.raises(EngineFailed, match="option 'threads' takes a whole number from 1 to 64"):
        threads_of("litert", {"threads": asked}, 4)


def test_a_bundle_that_asks_for_fewer_threads_gets_them_wherever_it_is_opened(tmp_path: Path) -> None:
    """Measuring and serving both open bundles so; the settings say what the engine really has."""
    kit.write_bundle(tmp_path / "b", engine_options={"threads": 1, "spinning": False})
    pipeline = open_pipeline(Bundle.open(tmp_path / "b"), threads=2)
    assert (pipeline.engine.settings["intra_op_threads"], pipeline.engine.settings["spinning"]) == (1, False)
    assert "threads" not in pipeline.engine.settings
    pipeline.close()


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"not a model")
    with pytest.raises(EngineFailed, match=r"refuses m\.onnx"):
        OnnxRuntimeEngine.load(tmp_path / "m.onnx", {}, threads=1)


def test_a_library_that_does_not_fit_is_no_missing_engine() -> None:
    full = import_failure(ImportError("x.so: failed to map segment from shared object"), "litert")
    assert isinstance(full, MemoryError)
    missing = import_failure(ModuleNotFoundError("No module named 'x'"), "litert")
    assert isinstance(missing, EngineUnavailable)


def test_an_unknown_engine_is_unavailable() -> None:
    with pytest.raises(EngineUnavailable, match="no engine 'tensorrt'"):
        engine_class("tensorrt")
