"""Models with state: kept between calls, fresh after a reset, and golden outputs held against a fresh one."""

from pathlib import Path

import numpy as np
import pytest

from agent.inference.bundle import Bundle
from agent.inference.engines.litert import LiteRtEngine
from agent.inference.engines.onnxruntime import OnnxRuntimeEngine
from agent.inference.pipeline import Pipeline, make_pipeline
from agent.measure.carry_out.outputs import check_golden
from tests.unit.agent.inference import bundle_kit as kit
from tests.unit.agent.inference.engines.stateful_tflite import UNITS, write_running_sum
from wire import spec
from wire.manifest import GoldenSpec

ONES = np.ones((1, UNITS), np.float32)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "b").mkdir()
    return write_running_sum(tmp_path / "b/sum.tflite")


def sums(engine: LiteRtEngine, count: int) -> list[float]:
    return [float(engine.infer([ONES])[0][0, 0]) for _ in range(count)]


@pytest.mark.parametrize("as_bytes", [False, True])
def test_an_interpreter_keeps_its_state_until_it_is_reset(model: Path, as_bytes: bool) -> None:
    engine = LiteRtEngine.load(model.read_bytes() if as_bytes else model, {}, threads=1)
    assert sums(engine, 3) == [1, 2, 3]
    engine.reset()
    assert sums(engine, 2) == [1, 2]


def test_two_engines_share_no_state(model: Path) -> None:
    first, second = (LiteRtEngine.load(model, {}, threads=1) for _ in range(2))
    assert sums(first, 2) == [1, 2]
    assert sums(second, 1) == [1]


def test_a_reset_keeps_the_batch(tmp_path: Path) -> None:
    from tests.unit.controller.compress.small_tflite import expected, rows, write_tflite

    engine = LiteRtEngine.load(write_tflite(tmp_path / "m.tflite"), {}, threads=1)
    engine.take_batch(4)
    engine.reset()
    answers = np.asarray(engine.infer([rows(4)])[0], dtype=np.float32)
    np.testing.assert_allclose(answers, expected(rows(4)), rtol=1e-5, atol=1e-5)


def pipeline_of(engine: LiteRtEngine) -> Pipeline:
    tensor = spec.TensorSpec(name=engine.inputs[0].name, shape=(1, UNITS))
    output = spec.TensorSpec(name=engine.outputs[0].name, shape=(1, UNITS))
    post = spec.RegressionPost(scale=(1.0,) * UNITS, offset=(0.0,) * UNITS, output=output)
    return make_pipeline(spec.Pipeline(pre=spec.TensorPre(input=tensor), post=post), engine)


def test_golden_outputs_are_held_against_a_fresh_state(model: Path) -> None:
    """A worker answers a query before it looks at the golden ones; what that leaves must not count."""
    golden = np.stack([ONES[0] * (step + 1) for step in range(4)])
    engine = LiteRtEngine.load(model, {}, threads=1)
    pipeline = pipeline_of(engine)
    declared = spec.Pipeline(
        pre=spec.TensorPre(input=spec.TensorSpec(name="x", shape=(1, UNITS))), post=pipeline_post()
    )
    kit.write_bundle(
        model.parent,
        np.repeat(ONES, 4, axis=0),
        golden,
        kind="regression",
        format="tflite",
        engine="litert",
        model_file="sum.tflite",
        pipeline=declared,
        golden=GoldenSpec(samples=4),
    )
    pipeline.answer(ONES[0])
    for _ in range(2):
        found = check_golden(pipeline, Bundle.open(model.parent))
        assert (found.passed, found.max_abs_difference) == (True, 0.0)


def pipeline_post() -> spec.RegressionPost:
    return spec.RegressionPost(
        scale=(1.0,) * UNITS, offset=(0.0,) * UNITS, output=spec.TensorSpec(name="y", shape=(1, UNITS))
    )


def test_a_session_has_nothing_to_reset(tmp_path: Path) -> None:
    kit.save_linear_model(tmp_path / "m.onnx")
    engine = OnnxRuntimeEngine.load(tmp_path / "m.onnx", {}, threads=1)
    before = engine.infer([kit.queries(1)])[0]
    engine.reset()
    np.testing.assert_array_equal(engine.infer([kit.queries(1)])[0], before)
