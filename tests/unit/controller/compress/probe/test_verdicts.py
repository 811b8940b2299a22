"""What is compared with what, and when an emulator is not believed."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from controller.compress.cache import PassCache
from controller.compress.probe import verdicts
from controller.compress.probe.emulated import Emulated, Machine, machine_of
from controller.compress.probe.processors import PROCESSORS
from controller.compress.probe.verdicts import CHECKED, Bench, check, probed, told
from controller.compress.variant import FailedVariant, Variant, baseline_variant
from controller.errors import UnusableModel
from controller.models.folder import ModelFolder
from tests.unit.controller.compress.small_models import series, write_folder

Array = NDArray[Any]
EXACT: Array = np.array([[3.0, 0.0, 0.0], [0.0, 4.0, 0.0]], np.float32)
"""The baseline's outputs: power 25."""


@pytest.fixture
def machine(emulators: Path) -> Machine:
    assert emulators.is_dir()
    return machine_of(PROCESSORS["haswell"])


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    model = ModelFolder.load(write_folder(tmp_path / "model"))
    return Bench(model, series(2, seed=4)[0], PassCache(tmp_path / "cache"))


def answers(monkeypatch: pytest.MonkeyPatch, here: Callable[[str], Array], there: Callable[[str], Array]) -> None:
    """Let variants answer by name, here and on the emulated processor."""
    monkeypatch.setattr(Bench, "here", lambda _, variant, rows=slice(None): here(variant.name)[rows])

    def run(variant: Variant, queries: Array, *_: object) -> Emulated:
        return Emulated(there(variant.name)[: len(queries)], "onnxruntime", "1.32", "1.31", False)

    monkeypatch.setattr(verdicts, "run_emulated", run)


def int8(bench: Bench) -> Variant:
    return replace(baseline_variant(bench.model), name="onnx-int8")


def test_both_sides_are_held_against_the_baseline(
    machine: Machine, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Off by 0.5 in one output: noise 0.25, 25 / 0.25 = 100, 20 dB. Off by 5 as well: noise 25.25, and another largest.
    near, far = EXACT.copy(), EXACT.copy()
    near[0, 1] = 0.5
    far[0, 1], far[1, 2] = 0.5, 5.0
    answers(monkeypatch, lambda name: EXACT if name == "baseline" else near, lambda _: far)
    said: list[str] = []
    (found,) = probed([int8(bench)], machine, [], bench, said.append)
    assert found.sqnr_db == pytest.approx(10 * np.log10(25 / 25.25))
    assert (found.agreement_ratio, found.here_agreement_ratio) == (0.5, 1.0)
    assert found.here_sqnr_db == pytest.approx(20.0)
    assert (found.equals_here, found.largest_difference_from_here) == (False, 5.0)
    assert (found.engine_version, found.here_engine_version, found.samples) == ("1.32", "1.31", 2)
    assert said == ["onnx-int8: -0.0 dB, same top-1 in 1 of 2"]
    assert found.document()["error"] is None


def test_the_same_bits_are_told(machine: Machine, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, lambda _: EXACT, lambda _: EXACT)
    (found,) = probed([int8(bench)], machine, [], bench, lambda _: None)
    assert (found.equals_here, found.sqnr_db) == (True, None)
    assert told(found) == "no difference, same top-1 in 2 of 2"


def test_one_that_fails_costs_itself_alone(machine: Machine, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def there(name: str) -> Array:
        if name == "crashes":
            raise UnusableModel("illegal instruction")
        return np.full_like(EXACT, np.nan) if name == "nan" else EXACT

    answers(monkeypatch, lambda _: EXACT, there)
    unmade = FailedVariant("unmade", {}, "onnx", "quantize_static", "no operator")
    variants: list[Variant | FailedVariant] = [
        unmade,
        *(replace(int8(bench), name=name) for name in ("crashes", "nan", "good")),
    ]
    found = probed(variants, machine, [], bench, lambda _: None)
    assert [each.error for each in found[:2]] == ["no operator", "illegal instruction"]
    assert "NaN or infinite" in (found[2].error or "")
    assert found[3].error is None


def test_an_emulator_that_computes_floats_otherwise_is_not_believed(
    machine: Machine, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(monkeypatch, lambda _: EXACT, lambda _: EXACT * 1.01)
    known = check(machine, "onnx", bench)
    assert known.samples == CHECKED
    assert known.sqnr_db == pytest.approx(40.0, abs=0.01)
    assert "40.0 dB against the source's, at least 70 are needed" in (known.fault or "")
    (found,) = probed([int8(bench)], machine, [known], bench, lambda _: None)
    assert (found.error or "").startswith("the emulator is not believed: of the float model, ")
    assert found.sqnr_db is None


def test_rounding_is_believed(machine: Machine, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, lambda _: EXACT, lambda _: EXACT * np.float32(1.000001))
    known = check(machine, "onnx", bench)
    assert known.fault is None
    assert "onnx: float outputs are this machine's, 1" in known.told


def test_a_check_that_crashes_is_a_fault(machine: Machine, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def there(_: str) -> Array:
        raise UnusableModel("illegal instruction")

    answers(monkeypatch, lambda _: EXACT, there)
    assert check(machine, "onnx", bench).fault == "illegal instruction"


def test_without_a_float_file_nothing_is_checked(machine: Machine, bench: Bench) -> None:
    known = check(machine, "tflite", bench)
    assert (known.samples, known.fault) == (0, None)
    assert known.told == "tflite: not checked, the model has no float file of it"
