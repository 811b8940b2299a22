"""A load that compiles the model: its own phase, signs of life in the silence, an end to them, a cache that counts."""

import time
from pathlib import Path
from typing import Any

import pytest

from agent.inference import order as orders
from agent.inference.bundle import Bundle
from agent.inference.engines.onnxruntime import OnnxRuntimeEngine
from agent.inference.limits import ENGINE_CACHE_VARIABLE
from agent.measure.carry_out.work import Work
from agent.measure.memory import MemoryMeter
from tests.contract.engines.fake_runtime import FakeOnnxRuntime
from tests.unit.agent.inference import bundle_kit as kit

LISTED = ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider")
SILENCE_S = 0.3


class SlowRuntime(FakeOnnxRuntime):
    """Takes its time for a session, as TensorRT does, and says nothing meanwhile."""

    def InferenceSession(self, model: Any, options: Any, **given: Any) -> Any:  # noqa: N802 - its name there
        time.sleep(SILENCE_S)
        return super().InferenceSession(model, options, **given)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    monkeypatch.setattr(orders, "HEARTBEAT_S", 0.02)
    monkeypatch.setattr(OnnxRuntimeEngine, "import_library", lambda: SlowRuntime(LISTED, builds=True))
    monkeypatch.setenv(ENGINE_CACHE_VARIABLE, str(tmp_path / "engines"))
    return []


def loaded(folder: Path, said: list[str], **options: str) -> Work:
    if not (folder / "b").exists():
        kit.save_linear_model(_made(folder / "b") / "model.onnx", batch=1)
    kit.write_bundle(folder / "b", engine_options=options)
    say = lambda event, **_: said.append(event)  # noqa: E731 - one line
    work = Work(Bundle.open(folder / "b"), MemoryMeter(), say, time.perf_counter_ns())
    work.pipeline(1, answers=False)
    return work


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_a_load_that_compiles_is_the_phase_compile_with_signs_of_life(tmp_path: Path, said: list[str]) -> None:
    work = loaded(tmp_path, said, provider="tensorrt")
    phases = work.phases()
    assert phases.load_ms is None
    assert phases.compile_ms is not None
    assert phases.compile_ms >= SILENCE_S * 1000
    assert said.count("compiling") >= 2
    assert said.index("compiling") > said.index("phase")  # importing is told before


def test_what_was_compiled_counts_and_what_was_found_as_well(tmp_path: Path, said: list[str]) -> None:
    counts = []
    for _ in range(2):
        work = loaded(tmp_path, said, provider="tensorrt")
        counts.append(work.engines)
    assert counts == [(0, 1), (1, 0)]
    phases = work.phases()
    assert phases.cache_hits is not None
    assert phases.cache_hits >= 1


def test_a_plain_load_stays_a_load(tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    phases = loaded(tmp_path, said).phases()
    assert phases.load_ms is not None
    assert "compiling" not in said


def test_signs_of_life_end_where_compiling_may_not_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A build that never ends falls silent, and whoever waits kills it after the usual time."""
    said: list[str] = []
    monkeypatch.setattr(orders, "HEARTBEAT_S", 0.01)
    monkeypatch.setattr(orders, "LONGEST_COMPILE_S", 0.05)
    with orders.heartbeat(lambda event, **_: said.append(event)):
        time.sleep(SILENCE_S)
    assert 1 <= len(said) <= 6
