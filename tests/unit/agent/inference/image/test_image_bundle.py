"""From a bundle's folder to an answer: a real ONNX model of pictures, opened as a device opens it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from agent.errors import BadBundle, BadQuery
from agent.inference.bundle import Bundle
from agent.inference.golden import judge_golden
from agent.inference.pipeline import Pipeline, open_pipeline
from tests.unit.agent.inference import bundle_kit
from tests.unit.agent.inference.image import kit
from wire import spec
from wire.manifest import GoldenSpec

SIZE, LABELS = 16, ("red", "green", "blue")


def save_colour_model(path: Path) -> None:
    """Write logits = mean of each channel, as ONNX."""
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["x"], ["means"], axes=[2, 3], keepdims=0),
            helper.make_node("MatMul", ["means", "w"], ["logits"]),
        ],
        "colour",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(np.eye(3, dtype=np.float32), "w")],
    )
    bundle_kit.save(graph, path)


def colour_pipeline(**fields: Any) -> spec.Pipeline:
    post = spec.ClassificationPost(top_k=1, labels=LABELS, output=spec.TensorSpec(name="logits", shape=(-1, 3)))
    return spec.Pipeline(pre=kit.image_pre(SIZE, SIZE, scale=1 / 255, **fields), post=post)


def tinted(channel: int, rows: int = 60, columns: int = 90) -> kit.Bytes:
    pixels = kit.picture(rows, columns) // 4
    pixels[:, :, channel] += 150
    return pixels


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    folder = tmp_path_factory.mktemp("colour")
    save_colour_model(folder / "model.onnx")
    queries = np.stack([tinted(channel) for channel in (0, 1, 2)])
    outputs = np.stack([query.mean(axis=(0, 1)) / 255 for query in queries]).astype(np.float32)
    fields = {"pipeline": colour_pipeline(interpolation="area"), "golden": GoldenSpec(samples=3)}
    bundle_kit.write_bundle(folder, queries, outputs, **fields)
    return open_pipeline(Bundle.open(folder), threads=1)


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_a_picture_of_any_size_is_answered(opened: Pipeline, channel: int) -> None:
    for rows, columns in ((60, 90), (16, 16), (200, 31)):
        assert opened.answer(tinted(channel, rows, columns)).classes[0] == channel


def test_the_model_sees_the_pictures_mean(opened: Pipeline) -> None:
    pixels = tinted(1)
    assert opened.raw(pixels) == pytest.approx(pixels.mean(axis=(0, 1)) / 255, abs=2e-3)


def test_the_bundles_golden_pictures_pass(opened: Pipeline) -> None:
    queries = [tinted(channel) for channel in (0, 1, 2)]
    wanted = np.stack([query.mean(axis=(0, 1)) / 255 for query in queries]).astype(np.float32)
    given: NDArray[Any] = np.stack([opened.raw(query) for query in queries])
    assert judge_golden(wanted, given, GoldenSpec(samples=3, absolute=0.002), "classification").passed


def test_a_refused_picture_leaves_the_pipeline_as_it_was(opened: Pipeline) -> None:
    with pytest.raises(BadQuery):
        opened.answer(np.zeros((4, 4, 3), dtype=np.float32))
    assert opened.answer(tinted(2)).classes[0] == 2


def test_another_layout_than_the_models_is_refused(tmp_path: Path) -> None:
    save_colour_model(tmp_path / "model.onnx")
    queries, outputs = np.zeros((1, 4, 4, 3), np.uint8), np.zeros((1, 3), np.float32)
    bundle_kit.write_bundle(tmp_path, queries, outputs, pipeline=colour_pipeline(layout="NHWC"))
    with pytest.raises(BadBundle, match=r"\(-1, 16, 16, 3\), the model \(-1, 3, 16, 16\)"):
        open_pipeline(Bundle.open(tmp_path), threads=1)
