"""A model of text from its folder to a bundle that the device's own pipeline answers with."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from agent.inference.bundle import Bundle
from agent.inference.pipeline import open_pipeline
from controller.bundle.artifacts import ArtifactStore
from controller.bundle.pack import pack_bundle
from controller.compress.build import build_variants
from controller.compress.cache import PassCache
from controller.compress.evaluate import EvaluationContext, evaluate
from controller.compress.process.start import run_child
from controller.compress.recipe import Recipe
from controller.compress.variant import FailedVariant, Variant, baseline_variant
from controller.errors import ConfigurationError, UnusableData, UnusableModel
from controller.models.folder import ModelFolder
from controller.models.importing import ImportRequest, import_model
from controller.models.preprocess.text import check_tokeniser, token_inputs
from controller.models.samples import calibration_samples, evaluation_samples, golden_inputs
from tests.unit.agent.inference.text import kit

pytestmark = pytest.mark.usefixtures("children_here")

MODEL_YAML = f"""\
schema: 1
name: mood
version: "1"
kind: classification
formats:
  onnx: {{file: model.onnx, input: ids, mask: mask}}
pre: {{kind: text, length: {kit.LENGTH}}}
post: {{kind: classification, activation: softmax, top_k: 1, labels: [bad, good]}}
data: {{npz: samples.npz}}
"""
GOOD, BAD = "very good", "bad plain bad"
INT8 = {"version": 1, "name": "int8", "formats": ["onnx"]}


def mood_model(mask_type: int = TensorProto.INT64) -> onnx.ModelProto:
    """Return logits of (bad, good): the words' vectors, averaged where the mask is 1, times a matrix."""
    random = np.random.default_rng(2)
    vectors = random.normal(0, 0.1, (len(kit.WORDS), 8)).astype(np.float32)
    vectors[kit.WORDS["good"], 0], vectors[kit.WORDS["bad"], 0] = 4.0, -4.0
    matrix = np.zeros((8, 2), np.float32)
    matrix[0] = (-1.0, 1.0)
    constants = {"vectors": vectors, "matrix": matrix, "last": np.array([2]), "middle": np.array([1])}
    operators = [
        helper.make_node("Gather", ["vectors", "ids"], ["words"]),
        helper.make_node("Cast", ["mask"], ["weights"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["weights", "last"], ["wide"]),
        helper.make_node("Mul", ["words", "wide"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "middle"], ["total"], keepdims=0),
        helper.make_node("ReduceSum", ["wide", "middle"], ["count"], keepdims=0),
        helper.make_node("Div", ["total", "count"], ["mean"]),
        helper.make_node("MatMul", ["mean", "matrix"], ["logits"]),
    ]
    graph = helper.make_graph(
        operators,
        "mood",
        [
            helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", "tokens"]),
            helper.make_tensor_value_info("mask", mask_type, ["batch", "tokens"]),
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def write_folder(folder: Path, text: str = MODEL_YAML, **model: Any) -> Path:
    kit.save_tokeniser(folder / "tokenizer.json")
    onnx.save(mood_model(**model), folder / "model.onnx")
    texts = [text for number in range(20) for text in (f"{GOOD} {'plain ' * (number % 3)}", f"{BAD} unheard {number}")]
    np.savez(folder / "samples.npz", inputs=kit.queries(texts), labels=np.array([1, 0] * 20))
    (folder / "model.yaml").write_text(text)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    root = tmp_path_factory.mktemp("mood")
    return import_model(ImportRequest(write_folder(root / "source")), root / "models")


@pytest.fixture(scope="module")
def context(model: ModelFolder, tmp_path_factory: pytest.TempPathFactory) -> EvaluationContext:
    root = tmp_path_factory.mktemp("kept")
    return EvaluationContext(PassCache(root / "cache"), golden_inputs(model, root / "samples", count=4))


def test_golden_texts_are_made_of_the_tokeniser_s_words(model: ModelFolder, tmp_path: Path) -> None:
    first, again = (golden_inputs(model, tmp_path, count=5) for _ in range(2))
    assert first.dtype == np.uint8
    assert (first == again).all()
    for row in first:
        *whole, _last = row.tobytes().rstrip(b"\0").decode().split()  # the last one may be cut
        assert set(whole) <= set(kit.WORDS)


def test_a_bundle_answers_on_the_device_s_pipeline(
    model: ModelFolder, context: EvaluationContext, tmp_path: Path
) -> None:
    variant, samples = baseline_variant(model), evaluation_samples(model, tmp_path / "samples")
    result = evaluate(variant, samples, None, context)
    assert result.metrics["accuracy"] == 1.0
    store = ArtifactStore(tmp_path / "artifacts")
    golden = context.golden_inputs
    packed = pack_bundle(variant, model, golden, result.golden_outputs, evaluation_digest=None, store=store)
    folder = store.folder(packed.digest)
    (tmp_path / "scratch").mkdir()
    order = {"kind": "selftest", "bundle_dir": str(folder)}
    assert run_child("agent.measure.worker", order, tmp_path / "scratch", "selftest")["outcome"] == "ok"
    pipeline = open_pipeline(Bundle.open(folder), threads=1)
    assert [pipeline.answer(kit.query(text)).labels for text in (GOOD, BAD)] == [("good",), ("bad",)]
    assert pipeline.answer(np.array(GOOD.encode())).labels == ("good",)


def test_dynamic_int8_works_and_calibrated_int8_is_refused(model: ModelFolder, context: EvaluationContext) -> None:
    passes = ({"quantize_dynamic": {"weights": "s8"}}, {"quantize_static": {"scheme": "u8u8"}})
    recipes = [
        Recipe.model_validate({**INT8, "name": f"int8-{number}", "passes": [step]})
        for number, step in enumerate(passes)
    ]
    queries = calibration_samples(model, context.cache.root / "samples")
    dynamic, static = build_variants(model, recipes, queries, context.cache, lambda *_: None)
    assert isinstance(dynamic, Variant)
    assert isinstance(static, FailedVariant)
    assert static.pass_name == "quantize_static"
    assert "one float input, and this one takes tokens; use quantize_dynamic" in static.because
    samples = evaluation_samples(model, context.cache.root / "samples")
    baseline = evaluate(baseline_variant(model), samples, None, context)
    result = evaluate(dynamic, samples, baseline.outputs(), context)
    assert result.metrics["accuracy"] == 1.0
    assert result.sqnr_db is not None
    assert result.sqnr_db > 25


def declared(old: str, new: str) -> str:
    assert old in MODEL_YAML
    return MODEL_YAML.replace(old, new)


@pytest.mark.parametrize(
    ("text", "built", "error", "says"),
    [
        (declared(", mask: mask", ""), {}, UnusableModel, "nothing feeds the input 'mask'.*formats.FORMAT.mask"),
        (declared("mask: mask", "mask: absent"), {}, UnusableModel, "no input is called 'absent'"),
        (declared("input: ids, ", ""), {}, UnusableModel, "exactly one input is needed, this one has 2: ids, mask"),
        (MODEL_YAML, {"mask_type": TensorProto.FLOAT}, UnusableModel, "int32 or int64, the input 'mask' is float32"),
        (declared("kind: text, length: 6", "kind: tensor"), {}, ConfigurationError, "only models of text"),
        (declared("length: 6", "length: 6, mask: {name: m, shape: [1]}"), {}, ConfigurationError, "formats.FORMAT"),
        (declared("length: 6", "length: 6, tokeniser: other.json"), {}, UnusableModel, "pre.tokeniser: .*not there"),
        (declared("length: 6", "length: 6, tokeniser: ../up.json"), {}, UnusableModel, "outside the model's folder"),
        (declared("length: 6", "length: 6, pad_id: 9"), {}, UnusableModel, "pre.pad_id is 9, which is none of its 9"),
        (declared("length: 6", "length: 2"), {}, UnusableModel, "pre.length is 2, a text is surrounded by 2 tokens"),
    ],
)
def test_folders_that_are_refused(text: str, built: Any, error: Any, says: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=says):
        import_model(ImportRequest(write_folder(tmp_path / "source", text, **built)), tmp_path / "models")


@pytest.mark.parametrize("broken", kit.BROKEN)
def test_a_tokeniser_that_fails_at_unknown_words_is_not_imported(broken: str, tmp_path: Path) -> None:
    source = write_folder(tmp_path / "source")
    kit.save_broken(source / "tokenizer.json", broken)
    with pytest.raises(UnusableModel, match=r"tokenizer\.json: fails at words that it does not know: .*unknown token"):
        import_model(ImportRequest(source), tmp_path / "models")


def test_a_token_that_the_input_does_not_hold_is_not_imported(tmp_path: Path) -> None:
    kit.save_far(tmp_path / "t.json", 2**31)
    pre = kit.text_pre(input=kit.tensor("ids", "int32"))
    with pytest.raises(UnusableModel, match="has a token of number 2147483648, the input is int32: at most 2147483647"):
        check_tokeniser(pre, tmp_path / "t.json")
    check_tokeniser(kit.text_pre(), tmp_path / "t.json")


def test_a_text_that_the_tokeniser_refuses_is_no_calibration_data(tmp_path: Path) -> None:
    kit.save_broken(tmp_path / "tokenizer.json", "words")
    with pytest.raises(UnusableData, match="sample 1 is refused by the tokeniser"):
        token_inputs(kit.text_pre(), kit.queries(["good", "unheard"]), tmp_path)


def test_a_bare_file_of_tokens_takes_their_numbers(tmp_path: Path) -> None:
    file = tmp_path / "ids.onnx"
    onnx.save(_one_input(), file)
    pre = import_model(ImportRequest(file), tmp_path / "models").pipeline("onnx").pre
    assert (pre.kind, pre.input.dtype) == ("tensor", "int64")


def _one_input() -> onnx.ModelProto:
    """Return a model of numbers of tokens alone."""
    vectors = np.ones((len(kit.WORDS), 2), np.float32)
    operators = [
        helper.make_node("Gather", ["vectors", "ids"], ["words"]),
        helper.make_node("ReduceMean", ["words"], ["logits"], axes=[1], keepdims=0),
    ]
    graph = helper.make_graph(
        operators,
        "mean",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", kit.LENGTH])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2])],
        [numpy_helper.from_array(vectors, "vectors")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
