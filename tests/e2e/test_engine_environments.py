"""Engines that cannot stand beside the others, each in an environment of its own: bundles run there end to end.

The environments are made here, from the extras as they are declared, so these tests need a package index; where there
is none, or not the Python that an engine is for, they are skipped and say so.
"""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from agent.inference.engines.litert import LiteRtEngine
from agent.inference.pipeline import make_pipeline
from agent.warm import ensure_warm
from tests.e2e.world import ROOT
from tests.unit.agent.inference import bundle_kit as kit
from tests.unit.agent.inference.test_litert import described, outline_pipeline, outlines
from wire import spec
from wire.manifest import GoldenSpec

MODEL = ROOT / "models/leaf_outline/leaf_outline.tflite"
PROGRAMS = ROOT / "tests/unit/agent/inference/engines"
GIVEN = "THRESHER_TEST_ENVIRONMENTS"
"""Folder with ready environments by engine name: for those who run these tests often."""

Give = Callable[..., dict[str, Any]]

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(1800)]


def make_environment(folder: Path, python: str, *extras: str, alone: tuple[str, ...] = ()) -> Path:
    """Return the interpreter of a new environment with what the agent's workers need, and `extras`.

    `alone`: requirements that are installed without what they ask for.
    """
    found = shutil.which(python)
    if found is None:
        pytest.skip(f"there is no {python} here")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]
    inside = folder / "bin/python"
    for command in (
        [found, "-m", "venv", str(folder)],
        [str(inside), "-m", "pip", "install", "--quiet", *wanted],
        *([[str(inside), "-m", "pip", "install", "--quiet", "--no-deps", *alone]] if alone else []),
    ):
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode != 0:
            pytest.skip(f"no environment can be made here: {ended.stderr.strip()[-300:]}")
    return inside


def environment_of(engine: str, folder: Path, make: Callable[[Path], Path]) -> Path:
    given = Path(os.environ.get(GIVEN, "/nowhere")) / engine / "bin/python"
    return given if given.exists() else make(folder / engine)


def giving(python: Path, folder: Path) -> Give:
    """Return what gives an order for a bundle to a worker of `python`, with kernels that are compiled already."""
    kernels = ensure_warm()
    shutil.copytree(kernels, folder / "cache/kernels" / kernels.name)

    def give(kind: str, bundle: Path) -> dict[str, Any]:
        command = [str(python), "-P", "-m", "tests.e2e.worker_in", kind, str(bundle), str(folder)]
        variables = {name: text for name, text in os.environ.items() if not name.startswith(("VIRTUAL_ENV", "PYTHON"))}
        ended = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=folder, env={**variables, "PYTHONPATH": str(ROOT)}
        )
        assert ended.returncode == 0, ended.stderr[-2000:]
        result: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
        return result

    return give


# --- tflite-runtime ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tflite(tmp_path_factory: pytest.TempPathFactory) -> Give:
    folder = tmp_path_factory.mktemp("tflite-runtime")
    python = environment_of(
        "tflite-runtime", folder, lambda place: make_environment(place, "python3.11", "tflite-runtime")
    )
    return giving(python, folder)


def quantised(mode: str) -> bytes:
    """Quantise the committed model as a deploy would."""
    from ai_edge_quantizer import quantizer, recipe

    if mode == "float":
        return MODEL.read_bytes()
    quantise = quantizer.Quantizer(str(MODEL))
    quantise.load_quantization_recipe(recipe.static_wi8_ai8() if mode == "static" else recipe.dynamic_wi8_afp32())
    queries = outlines(8)
    normal = (queries - queries.mean(axis=2, keepdims=True)) / queries.std(axis=2, ddof=1, keepdims=True)
    samples = [{"args_0": one[np.newaxis].astype(np.float32)} for one in normal]
    calibrated = quantise.calibrate({"serving_default": samples}) if quantise.need_calibration else None
    return bytes(quantise.quantize(calibrated).quantized_model)


def outline_bundle(folder: Path, mode: str) -> Path:
    """Write a bundle whose golden outputs are LiteRT's."""
    folder.mkdir()
    (folder / "m.tflite").write_bytes(quantised(mode))
    engine = LiteRtEngine.load(folder / "m.tflite", {}, threads=1)
    pipeline = described(engine) if mode == "static" else outline_pipeline(engine)
    made, inputs = make_pipeline(pipeline, engine), outlines(8)
    outputs = np.stack([made.raw(query) for query in inputs])
    fields = {"format": "tflite", "engine": "tflite-runtime", "model_file": "m.tflite", "pipeline": pipeline}
    kit.write_bundle(folder, inputs, outputs, **fields, golden=GoldenSpec(samples=len(inputs)))
    return folder


@pytest.mark.parametrize("mode", ["float", "static"])
def test_tflite_runtime_answers_like_litert_and_is_measured(tflite: Give, tmp_path: Path, mode: str) -> None:
    bundle = outline_bundle(tmp_path / "b", mode)
    tested = tflite("selftest", bundle)
    assert (tested["outcome"], tested["engine"], tested["engine_version"]) == ("ok", "tflite-runtime", "2.14.0")
    assert tested["golden"]["passed"]
    measured = tflite("measure", bundle)
    assert measured["outcome"] == "ok"
    settings = measured["replicate"]["conditions"]["engine_settings"]
    assert settings == {"xnnpack": True, "intra_op_threads": 1}
    assert tflite("load", bundle)["phases"]["load_ms"] > 0


def test_what_tflite_runtime_gets_wrong_is_not_let_through(tflite: Give, tmp_path: Path) -> None:
    """It computes this model wrongly and reports no error: only the golden outputs tell."""
    bundle = outline_bundle(tmp_path / "b", "dynamic")
    tested, measured = tflite("selftest", bundle), tflite("measure", bundle)
    for result in (tested, measured):
        assert result["outcome"] in ("unfit", "failed")
        assert result["error"]["code"] in ("golden_mismatch", "engine_failed", "worker_crashed")
    assert "replicate" not in measured


# --- ExecuTorch --------------------------------------------------------------------------------------------------


def executorch_environment(folder: Path) -> Path:
    """Return the interpreter of an environment with ExecuTorch, as docs/engines.md has it made."""
    if shutil.which("c++") is None:
        pytest.skip("no C++ compiler: ExecuTorch's bridge cannot be made")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    alone = (project["optional-dependencies"]["executorch"][0],)
    return environment_of(
        "executorch", folder, lambda place: make_environment(place, Path(sys.executable).name, "kernels", alone=alone)
    )


@pytest.fixture(scope="module")
def executorch(tmp_path_factory: pytest.TempPathFactory) -> Give:
    folder = tmp_path_factory.mktemp("executorch")
    return giving(executorch_environment(folder), folder)


def program_bundle(folder: Path, outputs: NDArray[Any]) -> Path:
    folder.mkdir()
    shutil.copy(PROGRAMS / "small.pte", folder)
    inputs = queries()
    post = spec.ClassificationPost(top_k=1, output=spec.TensorSpec(name="output_0", shape=(1, 3)))
    tensor = spec.TensorSpec(name="input_0", shape=(1, 2, 12))
    pipeline = spec.Pipeline(pre=spec.TensorPre(input=tensor), post=post)
    fields = {"format": "executorch", "engine": "executorch", "model_file": "small.pte", "pipeline": pipeline}
    kit.write_bundle(folder, inputs, outputs, **fields, golden=GoldenSpec(samples=len(inputs)))
    return folder


def queries() -> NDArray[np.float32]:
    return np.random.default_rng(3).normal(size=(8, 2, 12)).astype(np.float32)


def golden() -> NDArray[np.float32]:
    from tests.unit.agent.inference.engines.test_executorch import answer_of_small

    return np.concatenate([answer_of_small(one[np.newaxis]) for one in queries()]).astype(np.float32)


def test_executorch_answers_and_is_measured_without_torch(executorch: Give, tmp_path: Path) -> None:
    bundle = program_bundle(tmp_path / "b", golden())
    tested = executorch("selftest", bundle)
    assert (tested["outcome"], tested["engine"], tested["golden"]["passed"]) == ("ok", "executorch", True)
    assert tested["memory"]["peak_bytes"] < 150 * 2**20  # torch alone takes twice as much
    measured = executorch("measure", bundle)
    assert measured["outcome"] == "ok"
    settings = measured["replicate"]["conditions"]["engine_settings"]
    assert settings == {"intra_op_threads": 1, "backends": ["XnnpackBackend"]}


def test_wrong_golden_outputs_are_seen_there_as_well(executorch: Give, tmp_path: Path) -> None:
    result = executorch("selftest", program_bundle(tmp_path / "b", np.roll(golden(), 1, axis=1) + 3))
    assert (result["outcome"], result["error"]["code"]) == ("unfit", "golden_mismatch")
