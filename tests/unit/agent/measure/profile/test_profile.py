"""The engines' own profilers on the committed reference models, and what they must not claim."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.errors import EngineFailed
from agent.inference.bundle import Bundle
from agent.inference.engines.registry import engine_class
from agent.inference.pipeline import open_pipeline
from agent.measure import profile
from agent.measure.profile import Subject, agrees, take_profile
from agent.measure.profile.litert_library import Library
from tests.unit.agent.inference import bundle_kit as kit
from wire import spec

MODELS = Path(__file__).parents[5] / "models"
ENGINES = {"onnxruntime": ("onnx", "leaf_outline.onnx"), "litert": ("tflite", "leaf_outline.tflite")}


def outlines(count: int) -> Any:
    angle = np.linspace(0, 2 * np.pi, 427)
    return np.stack([[1 + 0.3 * np.sin(k * angle) + 0.1 * np.cos(3 * k * angle)] for k in range(1, count + 1)])


def subject(folder: Path, engine: str, options: dict[str, Any] | None = None) -> Subject:
    """Return the reference model as a loaded bundle."""
    kind, name = ENGINES[engine]
    folder.mkdir()
    (folder / name).write_bytes((MODELS / "leaf_outline" / name).read_bytes())
    loaded = engine_class(engine).load(folder / name, options or {}, 1)
    given, wanted = loaded.inputs[0], loaded.outputs[0]
    pre = spec.SeriesPre(
        channels=1, length=427, normalise=spec.ZScore(ddof=1), input=spec.TensorSpec(name=given.name, shape=given.shape)
    )
    post = spec.ClassificationPost(top_k=3, output=spec.TensorSpec(name=wanted.name, shape=wanted.shape))
    queries = outlines(4).astype(np.float32)
    kit.write_bundle(
        folder,
        queries,
        np.zeros((4, 6), dtype=np.float32),
        variant=f"{kind}-float",
        format=kind,
        engine=engine,
        engine_options=options or {},
        model_file=name,
        pipeline=spec.Pipeline(pre=pre, post=post),
    )
    bundle = Bundle.open(folder)
    return Subject(open_pipeline(bundle, 1), bundle, list(queries), 1)


@pytest.mark.parametrize(
    ("engine", "options", "dearest"),
    [
        ("onnxruntime", {}, "FusedConv"),
        ("litert", {}, "Convolution (NHWC, F32) IGEMM"),
        ("litert", {"xnnpack": False}, "CONV_2D"),
    ],
)
def test_a_convolutional_model_spends_its_time_in_convolutions(
    tmp_path: Path, engine: str, options: dict[str, Any], dearest: str
) -> None:
    found = take_profile(subject(tmp_path / "b", engine, options), tmp_path)
    assert found.engine == engine
    assert found.operators[0].operator == dearest
    assert sum(cost.share_ratio for cost in found.operators) == pytest.approx(1.0)
    assert found.operators[0].share_ratio > 0.5
    assert [cost.total_ns for cost in found.operators] == sorted(
        (cost.total_ns for cost in found.operators), reverse=True
    )
    assert found.overhead_ratio is not None
    assert found.queries in range(8, 51)
    assert list(tmp_path.iterdir()) == [tmp_path / "b"]  # no trace is left behind


def test_operators_add_up_to_the_inference(tmp_path: Path) -> None:
    """As many calls as the graph has nodes, and no more time than the inference takes."""
    one = subject(tmp_path / "b", "onnxruntime")
    found = take_profile(one, tmp_path)
    assert {cost.operator: cost.calls for cost in found.operators}["Gemm"] == 1
    assert sum(cost.calls for cost in found.operators) == 20


def test_an_engine_without_a_profiler_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile, "PROFILERS", {})
    with pytest.raises(EngineFailed, match="no profiler for the engine 'onnxruntime'"):
        take_profile(subject(tmp_path / "b", "onnxruntime"), tmp_path)


def test_a_release_whose_interface_is_not_known_is_refused() -> None:
    with pytest.raises(EngineFailed, match=r"from release 2\.3 on, 2\.1\.4 is installed"):
        Library("2.1.4")


@pytest.mark.parametrize(
    ("ours", "theirs", "same"),
    [
        (np.array([1.0, -20.0], np.float32), np.array([1.0, -20.01], np.float32), True),
        (np.array([1.0, -20.0], np.float32), np.array([1.5, -20.0], np.float32), False),
        (np.array([5, -7], np.int8), np.array([6, -7], np.int8), True),
        (np.array([5, -7], np.int8), np.array([7, -7], np.int8), False),
        (np.array([1.0], np.float32), np.array([[1.0]], np.float32), False),
        (np.array([1.0], np.float32), np.array([np.nan], np.float32), False),
    ],
)
def test_answers_agree_but_for_the_last_digits(ours: Any, theirs: Any, same: bool) -> None:
    assert agrees(ours, theirs) is same
