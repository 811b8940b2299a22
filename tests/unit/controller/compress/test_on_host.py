"""What answers on the controller where it lacks a variant's engine or hardware, and how the result says so."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from controller.compress.cache import PassCache
from controller.compress.evaluate import EvaluationContext
from controller.compress.process import host, run
from controller.compress.process.host import on_host
from controller.compress.process.run import run_variant
from controller.compress.variant import Variant, baseline_variant
from controller.convert.environments import Environment
from controller.errors import ConversionFailed, UnusableModel
from controller.models.folder import ModelFolder
from tests.unit.controller.compress.small_tflite import expected, rows, write_tflite
from wire.spec import ClassificationPost, Pipeline, TensorPre, TensorSpec

TORCH = Environment("torch", Path("python"), Path("torch"), {"executorch": "1.5.1", "torch": "2.13.0"})
YAML = """\
schema: 1
name: rows
version: "1"
kind: classification
formats: {tflite: {file: rows.tflite}}
pre: {kind: tensor}
post: {kind: classification}
"""


@pytest.fixture
def lite(tmp_path: Path) -> Variant:
    write_tflite(tmp_path / "rows.tflite")
    (tmp_path / "model.yaml").write_text(YAML)
    return baseline_variant(ModelFolder.load(tmp_path))


def program(folder: Path) -> Variant:
    from tests.unit.controller.convert.small_programs import write_program

    pre = TensorPre(input=TensorSpec(name="input_0", shape=(1, 17)))
    post = ClassificationPost(output=TensorSpec(name="output_0", shape=(1, 3)))
    return Variant(
        name="executorch-int8", recipe={}, lineage=(), format="executorch", engine="executorch", engine_options={},
        model_file=write_program(folder / "model.pte"), pipeline=Pipeline(pre=pre, post=post), precision="int8",
    )  # fmt: skip


def without(monkeypatch: pytest.MonkeyPatch, *engines: str) -> None:
    """Let these engines not be installed."""
    installed = host._installed
    monkeypatch.setattr(host, "_installed", lambda engine: None if engine in engines else installed(engine))


def test_litert_runs_the_files_of_tflite_runtime_and_nothing_is_run_twice(
    lite: Variant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without(monkeypatch, "tflite-runtime")
    older = replace(lite, engine="tflite-runtime", engine_options={"threads": 2})
    found = on_host(older)
    assert (found.engine, found.options) == ("litert", {})
    assert found.notes == ("run here by litert, which runs the same file: tflite-runtime is not installed here",)
    context, inputs = EvaluationContext(PassCache(tmp_path / "cache"), rows(1)), rows(5)
    path = run_variant(older, inputs, context)
    assert np.allclose(np.load(path), expected(inputs), atol=1e-4)
    assert run_variant(lite, inputs, context) == path


@pytest.mark.parametrize(
    ("engine", "options", "kept", "note"),
    [
        (
            "onnxruntime",
            {"provider": "tensorrt", "fallback": True, "spinning": False},
            {"spinning": False},
            "provider tensorrt",
        ),
        ("onnxruntime", {"provider": "cpu", "threads": 4}, {}, None),
        (
            "litert",
            {"delegate": "library", "delegate_library": "/x.so", "xnnpack": False},
            {"xnnpack": False},
            "delegate library",
        ),
        ("litert", {"delegate": "none"}, {}, None),
    ],
)
def test_hardware_is_the_devices_and_the_processor_answers_here(
    lite: Variant, engine: str, options: dict[str, Any], kept: dict[str, Any], note: str | None
) -> None:
    found = on_host(replace(lite, engine=engine, engine_options=options))
    assert (found.engine, found.options) == (engine, kept)
    said = [] if note is None else [f"run here on the processor: what {note} answers, its devices say"]
    assert list(found.notes) == said


def test_programs_run_in_the_converter_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "executorch")
    monkeypatch.setattr(host, "environment", lambda name: TORCH if name == "torch" else None)
    asked: list[dict[str, Any]] = []

    def worker(environment: Environment, name: str, order: dict[str, Any], folder: Path) -> dict[str, Any]:
        assert (environment, name) == (TORCH, "from_torch.run_program")
        asked.append({"program": order["program"], "inputs": np.load(order["inputs"])})
        np.save(folder / "outputs-0.npy", np.arange(6, dtype=np.float32).reshape(2, 3))
        return {"outcome": "ok", "outputs": ["outputs-0.npy"]}

    monkeypatch.setattr(run, "run_worker", worker)
    variant, queries = program(tmp_path), np.ones((2, 17), np.float32)
    context = EvaluationContext(PassCache(tmp_path / "cache"), queries)
    path = run_variant(variant, queries, context)
    assert np.load(path).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert (asked[0]["program"], asked[0]["inputs"].shape) == (str(variant.model_file), (2, 17))
    assert sorted(each.name for each in path.parent.iterdir()) == ["outputs.npy", "result.json"]
    assert run_variant(variant, queries, context) == path
    assert len(asked) == 1
    assert on_host(variant).notes == ("run here in the converter environment torch: executorch is not installed here",)


@pytest.mark.parametrize(
    ("worker", "says"),
    [
        (lambda *_: {"outcome": "unusable", "error": "no operator"}, "executorch-int8: no operator"),
        (lambda *_: {"outcome": "ok", "outputs": []}, "output 0 is read, and 0 outputs"),
    ],
)
def test_a_program_that_fails_there_is_unusable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, worker: Any, says: str
) -> None:
    without(monkeypatch, "executorch")
    monkeypatch.setattr(host, "environment", lambda _: TORCH)
    monkeypatch.setattr(run, "run_worker", worker)
    context = EvaluationContext(PassCache(tmp_path / "cache"), rows(1))
    with pytest.raises(UnusableModel, match=says):
        run_variant(program(tmp_path), np.ones((2, 17), np.float32), context)

    def killed(*_: object) -> None:
        raise ConversionFailed("it was killed")

    monkeypatch.setattr(run, "run_worker", killed)
    with pytest.raises(UnusableModel, match="executorch-int8: it was killed"):
        run_variant(program(tmp_path), np.ones((2, 17), np.float32), context)


@pytest.mark.parametrize(
    ("engine", "says"),
    [
        ("executorch", "controller model converters install torch"),
        ("tflite-runtime", r"pip install 'thresher\[litert\]'"),
        ("onnxruntime", r"pip install 'thresher\[onnxruntime\]'"),
    ],
)
def test_an_engine_that_nothing_stands_for_names_what_to_install(
    lite: Variant, monkeypatch: pytest.MonkeyPatch, engine: str, says: str
) -> None:
    without(monkeypatch, "executorch", "tflite-runtime", "litert", "onnxruntime")
    monkeypatch.setattr(host, "environment", lambda _: None)
    with pytest.raises(UnusableModel, match=f"the engine {engine} is not installed here; run  {says}"):
        on_host(replace(lite, engine=engine))
