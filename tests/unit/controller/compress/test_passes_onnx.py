"""Each ONNX pass gives a file that the engine runs and that agrees with the float model as well as it should."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from controller.compress.cache import PassCache
from controller.compress.calibrate.clipping import Method
from controller.compress.calibrate.ranges import linear_parameters
from controller.compress.calibrate.stream import Feed, observe
from controller.compress.metrics import sqnr_db, top1_agreement_ratio
from controller.compress.passes import find_pass
from controller.compress.passes.base import Artifact, Capabilities, PassContext
from controller.compress.recipe import PassStep
from controller.convert.operators import file_precision
from controller.errors import ConfigurationError, UnusableData, UnusableModel
from tests.unit.controller.compress.small_models import conv_model, run, series, sums_are_exact

SATURATED_SQNR_DB = 8.0
"""What is left of 8-bit signed weights at 8 bits on x86 without VNNI, where sums saturate."""

EVERYTHING = Capabilities(frozenset({"onnxruntime", "litert"}), frozenset({"onnx", "tflite"}))


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    path = tmp_path / "float.onnx"
    onnx.save(conv_model(), path)
    return Artifact("onnx", path)


@pytest.fixture
def context(tmp_path: Path) -> PassContext:
    folder = tmp_path / "out"
    folder.mkdir()
    np.save(tmp_path / "calibration.npy", series(64, seed=2)[0])
    return PassContext(folder, PassCache(tmp_path / "cache"), tmp_path / "calibration.npy", "64 series")


def carry_out(step: dict[str, Any], artifact: Artifact, context: PassContext) -> Artifact:
    chosen = PassStep.model_validate(step)
    return find_pass(chosen.name).run(artifact, chosen.parameters, context)


@pytest.mark.parametrize(
    ("step", "least_sqnr_db", "precision"),
    [
        ({"simplify": {}}, 100.0, "float32"),
        ({"float16": {}}, 45.0, "float16"),
        ({"quantize_static": {"scheme": "u8s8"}}, 20.0, "int8"),
        ({"quantize_static": {"scheme": "s8s8"}}, 20.0, "int8"),
        ({"quantize_static": {"scheme": "u8u8"}}, 20.0, "int8"),
        ({"quantize_static": {"scheme": "u8s8", "per_channel": False}}, 20.0, "int8"),
        ({"quantize_static": {"scheme": "u8s8", "reduce_range": True}}, 18.0, "int8"),
        ({"quantize_static": {"scheme": "u8s8", "calibration": "percentile", "percentile": 99.9}}, 20.0, "int8"),
        ({"quantize_dynamic": {}}, 20.0, "int8-dynamic"),
        ({"quantize_weights": {"block": 16}}, 9.0, "int4-weights"),
        ({"quantize_weights": {"block": 16, "symmetric": False}}, 15.0, "int4-weights"),
    ],
)
def test_a_pass_keeps_what_the_model_says(
    step: dict[str, Any], least_sqnr_db: float, precision: str, artifact: Artifact, context: PassContext
) -> None:
    made = carry_out(step, artifact, context)
    inputs, _ = series(60, seed=3)
    before, after = run(artifact.path, inputs), run(made.path, inputs)
    noise = sqnr_db(before, after)
    assert made.precision == precision
    saturates = not sums_are_exact() and parameters_saturate(step)
    assert noise is None or noise >= (SATURATED_SQNR_DB if saturates else least_sqnr_db)
    assert top1_agreement_ratio(before, after) >= 0.98
    assert [path.name for path in context.folder.iterdir()] == [made.path.name]


def parameters_saturate(step: dict[str, Any]) -> bool:
    static = step.get("quantize_static", {"scheme": "u8u8"})
    return static["scheme"] != "u8u8" and not static.get("reduce_range")


def element_types(path: Path) -> set[int]:
    return {tensor.data_type for tensor in onnx.load(path).graph.initializer if np.prod(tensor.dims) > 8}


@pytest.mark.parametrize(
    ("scheme", "weights"),
    [("u8s8", onnx.TensorProto.INT8), ("s8s8", onnx.TensorProto.INT8), ("u8u8", onnx.TensorProto.UINT8)],
)
def test_a_scheme_sets_the_weights_type(scheme: str, weights: int, artifact: Artifact, context: PassContext) -> None:
    made = carry_out({"quantize_static": {"scheme": scheme}}, artifact, context)
    assert weights in element_types(made.path)
    assert onnx.TensorProto.FLOAT not in {
        tensor.data_type for tensor in onnx.load(made.path).graph.initializer if len(tensor.dims) > 1
    }


def test_blocks_of_4_bits_keep_each_weight_within_half_a_step(artifact: Artifact, context: PassContext) -> None:
    """Symmetric: -8 to 7 levels of a block's largest value / 8; the largest itself may lie a whole level away."""
    made = carry_out({"quantize_weights": {"block": 16}}, artifact, context)
    stored = {each.name: each for each in onnx.load(made.path).graph.initializer}
    head = next(
        numpy_helper.to_array(each) for each in onnx.load(artifact.path).graph.initializer if each.name == "head"
    )
    (levels,) = [each for each in stored.values() if each.data_type == onnx.TensorProto.INT4]
    (scales,) = [numpy_helper.to_array(each) for name, each in stored.items() if name.endswith(("scales", "scale"))]
    given = numpy_helper.to_array(levels).astype(np.float32) * scales
    steps = np.abs(head.T).max(axis=0) / 8
    assert np.allclose(np.abs(scales).reshape(-1), steps, rtol=1e-4)
    assert (np.abs(given - head.T) <= steps * 1.001).all()
    assert np.median(np.abs(given - head.T) / steps) < 0.5
    assert file_precision("onnx", made.path) == "int4-weights"


def test_weights_of_convolutions_alone_are_refused(tmp_path: Path, context: PassContext) -> None:
    model = conv_model()
    del model.graph.node[5:]
    del model.graph.output[:]
    model.graph.output.append(onnx.helper.make_tensor_value_info("r2", onnx.TensorProto.FLOAT, None))
    onnx.save(model, tmp_path / "convolutions.onnx")
    with pytest.raises(UnusableModel, match="nothing to quantise"):
        carry_out({"quantize_weights": {}}, Artifact("onnx", tmp_path / "convolutions.onnx"), context)


def test_the_written_scale_follows_from_the_observed_range(artifact: Artifact, context: PassContext) -> None:
    made = carry_out({"quantize_static": {"scheme": "u8s8"}}, artifact, context)
    inferred = context.folder.parent / "inferred.onnx"
    onnx.save(onnx.shape_inference.infer_shapes(onnx.load(artifact.path)), inferred)
    seen = observe(inferred, Feed(np.load(context.calibration or "")), Method("minmax"))["series"]
    scale, zero_point = linear_parameters(seen.low, seen.high, 0, 255)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(made.path).graph.initializer}
    assert constants["series_scale"] == pytest.approx(scale, rel=1e-6)
    assert constants["series_zero_point"] == zero_point


def test_schemes_share_one_calibration(artifact: Artifact, context: PassContext) -> None:
    for scheme in ("u8s8", "s8s8", "u8u8"):
        carry_out({"quantize_static": {"scheme": scheme}}, artifact, context)
    kept = [path for path in context.cache.root.iterdir() if len(path.name) == 64]
    assert len(kept) == 2  # the prepared model and its ranges


@pytest.mark.parametrize("method", ["mse", "entropy", "percentile"])
def test_histograms_that_were_kept_give_the_same_ranges(method: str, artifact: Artifact, context: PassContext) -> None:
    """The cache keeps facts in an order of its own: each tensor must find its own histogram again."""
    step = {"quantize_static": {"scheme": "u8u8", "calibration": method}}
    made = carry_out(step, artifact, context).path.read_bytes()
    assert carry_out(step, artifact, context).path.read_bytes() == made
    fresh = replace(context, cache=PassCache(context.cache.root.with_name("fresh")))
    assert carry_out(step, artifact, fresh).path.read_bytes() == made


def test_a_constant_activation_does_not_break_quantisation(tmp_path: Path, context: PassContext) -> None:
    model = conv_model()
    for tensor in model.graph.initializer:
        if tensor.name in {"w2", "b2"}:  # everything after the second convolution is 0
            tensor.CopyFrom(numpy_helper.from_array(np.zeros(tensor.dims, np.float32), tensor.name))
    path = tmp_path / "constant.onnx"
    onnx.save(model, path)
    made = carry_out({"quantize_static": {"scheme": "u8s8"}}, Artifact("onnx", path), context)
    inputs, _ = series(6, seed=3)
    assert np.allclose(run(path, inputs), run(made.path, inputs), atol=0.05)


def test_calibrating_without_samples_says_what_to_add(artifact: Artifact, tmp_path: Path) -> None:
    bare = PassContext(tmp_path, PassCache(tmp_path / "cache"))
    with pytest.raises(UnusableData, match=r"add `data` to model\.yaml"):
        carry_out({"quantize_static": {}}, artifact, bare)


def test_fewer_samples_are_spread_over_all(context: PassContext) -> None:
    every = np.load(context.calibration or "")
    chosen = context.calibration_inputs(4)
    assert np.array_equal(chosen, every[[0, 21, 42, 63]])
    assert len(context.calibration_inputs(1000)) == 64


@pytest.mark.parametrize("name", ["simplify", "float16", "quantize_static", "quantize_dynamic"])
def test_a_pass_says_why_it_does_not_apply(name: str, artifact: Artifact) -> None:
    chosen = find_pass(name)
    assert chosen.applies(EVERYTHING, artifact) is None
    assert "takes onnx files" in str(chosen.applies(EVERYTHING, Artifact("tflite", artifact.path)))
    assert "this one is int8" in str(chosen.applies(EVERYTHING, Artifact("onnx", artifact.path, "int8")))
    litert = Capabilities(frozenset({"litert"}), frozenset({"tflite"}))
    assert "nothing here runs onnx" in str(chosen.applies(litert, artifact))


def test_the_search_space_holds_valid_parameters() -> None:
    space = find_pass("quantize_static").space(EVERYTHING)
    for scheme in space["scheme"]:
        for percentile in space["percentile"]:
            step = {"scheme": scheme, "calibration": "percentile", "percentile": percentile}
            assert PassStep.model_validate({"quantize_static": step}).name == "quantize_static"


def test_an_unknown_pass_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no pass is called 'os'"):
        find_pass("os")


def test_nothing_is_written_beside_the_model_that_schemes_share(
    artifact: Artifact, context: PassContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime's quantiser writes a scratch file beside its input; two schemes at once would meet in it."""
    from onnxruntime.quantization import quant_utils

    written: list[Path] = []
    original = quant_utils.generate_identified_filename

    def noted(path: Path, identifier: str) -> Path:
        written.append(path.parent)
        return Path(original(path, identifier))

    monkeypatch.setattr(quant_utils, "generate_identified_filename", noted)
    carry_out({"quantize_static": {"scheme": "u8s8"}}, artifact, context)
    assert context.folder in written
    assert not any(folder.is_relative_to(context.cache.root) for folder in written)
