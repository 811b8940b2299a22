"""Bundles of detection and segmentation on a real engine: answers, and the self-test's raw outputs."""

from pathlib import Path

import numpy as np
import pytest

from agent.inference.bundle import Bundle
from agent.inference.engines.onnxruntime import OnnxRuntimeEngine
from agent.inference.pipeline import make_pipeline, open_pipeline
from tests.unit.agent.inference import dense_kit
from wire import spec


def test_a_detection_bundle_answers_with_boxes(tmp_path: Path) -> None:
    query = dense_kit.write_dense_bundle(tmp_path, "detection")
    pipeline = open_pipeline(Bundle.open(tmp_path), threads=1)
    np.testing.assert_array_equal(pipeline.raw(query), query)
    for _ in range(3):
        answer = pipeline.answer(query)
        assert answer.boxes == ((16.0, 28.0, 24.0, 32.0), (45.0, 45.0, 55.0, 55.0))
        assert answer.labels == ("leaf", "stone")
        assert answer.values == pytest.approx((0.9, 0.6))
    assert pipeline.answer(query * 0).boxes == ()


def test_a_segmentation_bundle_answers_with_a_map(tmp_path: Path) -> None:
    query = dense_kit.write_dense_bundle(tmp_path, "segmentation")
    answer = open_pipeline(Bundle.open(tmp_path), threads=1).answer(query)
    assert answer.mask is not None
    assert answer.mask.tolist() == [[0, 0, 0, 0, 1]] * 4
    assert (answer.labels, answer.values) == (("leaf", "stone"), (0.8, 0.2))


def test_a_picture_s_boxes_come_back_in_its_own_pixels(tmp_path: Path) -> None:
    """Through the real pre-processing: a wide picture in a square input, one box where the content lies."""
    pytest.importorskip("agent.inference.pre.image")
    dense_kit.save_copying_model(tmp_path / "model.onnx", (3, 64, 64))
    pre = spec.ImagePre(height=64, width=64, fit="letterbox", input=spec.TensorSpec(name="x", shape=(-1, 3, 64, 64)))
    output = spec.TensorSpec(name="y", shape=(-1, 3, 64, 64))
    pipeline = make_pipeline(
        spec.Pipeline(pre=pre, post=spec.SegmentationPost(resize="query", output=output)),
        OnnxRuntimeEngine.load(tmp_path / "model.onnx", {}, threads=1),
    )
    picture = np.zeros((32, 128, 3), np.uint8)
    picture[:, :64, 0], picture[:, 64:, 2] = 255, 255  # red on the left, blue on the right: channels are the classes
    answer = pipeline.answer(picture)
    assert answer.mask is not None
    assert answer.mask.shape == (32, 128)
    assert (answer.mask[:, :62] == 0).all()
    assert (answer.mask[:, 66:] == 2).all()
