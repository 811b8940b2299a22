"""A variant on an emulated processor: the agent's own answers where the processor is the same, and crashes in words."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from controller.compress.cache import PassCache
from controller.compress.passes import find_pass
from controller.compress.passes.base import Artifact, PassContext
from controller.compress.probe.emulated import Machine, failure, machine_of, run_emulated
from controller.compress.probe.processors import PROCESSORS
from controller.compress.process.host import on_host
from controller.compress.process.run import EvaluationContext, run_variant
from controller.compress.variant import Variant, baseline_variant
from controller.convert.environments.watch import Ending
from controller.errors import UnusableModel
from controller.models.folder import ModelFolder
from tests.unit.controller.compress.probe.fake_emulator import put_emulator, runs
from tests.unit.controller.compress.small_models import series, write_folder
from tests.unit.controller.compress.small_tflite import rows, write_tflite

pytestmark = pytest.mark.usefixtures("children_here")

LITE_YAML = """\
schema: 1
name: rows
version: "1"
kind: classification
formats: {tflite: {file: rows.tflite}}
pre: {kind: tensor}
post: {kind: classification}
"""


@pytest.fixture
def machine(emulators: Path) -> Machine:
    assert emulators.is_dir()
    return machine_of(PROCESSORS["haswell"])


@pytest.fixture
def small(tmp_path: Path) -> Variant:
    return baseline_variant(ModelFolder.load(write_folder(tmp_path / "model")))


@pytest.fixture
def whole_numbers(tmp_path: Path) -> Variant:
    """A TFLite file whose input and output are int8."""
    (tmp_path / "out").mkdir()
    np.save(tmp_path / "calibration.npy", rows(64))
    context = PassContext(tmp_path / "out", PassCache(tmp_path / "passes"), tmp_path / "calibration.npy", "64 rows")
    artifact = Artifact("tflite", write_tflite(tmp_path / "rows.tflite"))
    (tmp_path / "model.yaml").write_text(LITE_YAML)
    model = ModelFolder.load(tmp_path)
    made = find_pass("tflite_quantize").run(
        artifact, {"mode": "static", "calibration": "minmax", "samples": 64}, context
    )
    own = replace(baseline_variant(model), model_file=made.path, pipeline=model.pipeline("tflite", made.path))
    assert own.pipeline.pre.input.dtype == "int8"
    return own


def test_outputs_are_the_agents_and_nothing_is_run_twice(
    machine: Machine, small: Variant, tmp_path: Path, emulators: Path
) -> None:
    queries, cache = series(6, seed=4)[0], PassCache(tmp_path / "cache")
    given = run_emulated(small, queries, machine, cache)
    agents = np.load(run_variant(small, queries, EvaluationContext(cache, queries[:0])))
    assert given.outputs.dtype == np.float32
    assert np.array_equal(given.outputs, agents)
    assert (given.engine, given.version, given.kept) == ("onnxruntime", given.here_version, False)
    assert run_emulated(small, queries, machine, cache).kept
    assert len(runs(emulators, "qemu-x86_64")) == 1
    assert runs(emulators, "qemu-x86_64")[0].startswith("-cpu Haswell-noTSX ")
    other = replace(machine, emulator=replace(machine.emulator, version="9.0.0"))
    assert not run_emulated(small, queries, other, cache).kept


def test_whole_numbers_go_in_and_out_as_the_agents_do(machine: Machine, whole_numbers: Variant, tmp_path: Path) -> None:
    queries, cache = rows(20, seed=9), PassCache(tmp_path / "cache")
    given = run_emulated(whole_numbers, queries, machine, cache)
    agents = np.load(run_variant(whole_numbers, queries, EvaluationContext(cache, queries[:0])))
    assert given.engine == "litert"
    assert len(np.unique(given.outputs)) > 10
    assert np.array_equal(given.outputs, agents)


def test_an_illegal_instruction_is_told_as_one(
    machine: Machine, small: Variant, tmp_path: Path, emulators: Path
) -> None:
    put_emulator(emulators, "qemu-x86_64", body="kill -ILL $$")
    with pytest.raises(UnusableModel, match="emulated haswell crashed: illegal instruction"):
        run_emulated(small, series(2, seed=4)[0], machine, PassCache(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("kill -SEGV $$", "the program on the emulated haswell crashed: signal 11, SIGSEGV"),
        ("echo no such symbol >&2; exit 3", r"(?s)failed with exit code 3; the last it said:.*no such symbol"),
        ("exit 0", "on the emulated haswell: it left no result"),
    ],
)
def test_other_ends_are_told_too(
    body: str, says: str, machine: Machine, small: Variant, tmp_path: Path, emulators: Path
) -> None:
    put_emulator(emulators, "qemu-x86_64", body=body)
    with pytest.raises(UnusableModel, match=says):
        run_emulated(small, series(2, seed=4)[0], machine, PassCache(tmp_path / "cache"))


def test_what_the_engine_refuses_is_told_in_its_words(machine: Machine, small: Variant, tmp_path: Path) -> None:
    model = onnx.load(small.model_file)
    model.graph.node[0].op_type = "NoSuchOperator"
    onnx.save(model, tmp_path / "wrong.onnx")
    wrong = replace(small, model_file=tmp_path / "wrong.onnx")
    with pytest.raises(UnusableModel, match=r"on the emulated haswell: .*NoSuchOperator"):
        run_emulated(wrong, series(2, seed=4)[0], machine, PassCache(tmp_path / "cache"))


def test_an_engine_that_no_emulated_processor_has_is_refused(
    machine: Machine, small: Variant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from controller.compress.probe import emulated

    other = replace(on_host(small), engine="executorch")
    monkeypatch.setattr(emulated, "on_host", lambda _: other)
    with pytest.raises(UnusableModel, match="no emulated processor has the engine executorch"):
        run_emulated(small, series(2, seed=4)[0], machine, PassCache(tmp_path / "cache"))


def test_a_limit_is_no_illegal_instruction() -> None:
    processor = PROCESSORS["cortex-a72"]
    late = Ending(-4, "did not end within 5 s and was killed", "")
    assert failure(late, processor) == (
        "the program on the emulated cortex-a72 did not end within 5 s and was killed; the last it said: nothing"
    )
    assert failure(Ending(0, None, ""), processor) is None
