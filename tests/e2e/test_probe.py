"""Other processors, really emulated: where 8-bit sums saturate, where not, and how a missing instruction is told.

`controller model probe --install` makes the root that the ARM ones need; without it, or without the package qemu-user,
these say so and are skipped.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from controller.compress.build import build_variants
from controller.compress.cache import PassCache
from controller.compress.probe.emulated import Machine, failure, machine_of, run_order
from controller.compress.probe.processors import PROCESSORS
from controller.compress.probe.programs import command, lay_out, variables
from controller.compress.probe.verdicts import Bench, check, probed
from controller.compress.shipped import find_recipes
from controller.convert.environments.watch import watch
from controller.errors import EmulatorMissing, ProbeRootMissing
from controller.models.folder import ModelFolder
from controller.models.samples import calibration_samples
from tests.unit.controller.compress.small_models import series, write_folder

pytestmark = [pytest.mark.long, pytest.mark.e2e, pytest.mark.timeout(1800)]

READINGS, OUTPUTS = 64, 32
LARGEST = 255 * 127
"""The largest product of an unsigned and a signed number of 8 bits; two of them do not fit 16 bits with a sign."""

# vpxord zmm0, zmm0, zmm0; ret: AVX-512, which no Haswell has.
NEWER_INSTRUCTION = b"\x62\xf1\x7d\x48\xef\xc0\xc3"
JUMP = """\
import ctypes, mmap
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write({code!r})
ctypes.CFUNCTYPE(None)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
"""


def machine(name: str) -> Machine:
    """Return a processor, or skip with what is missing."""
    try:
        return machine_of(PROCESSORS[name])
    except (EmulatorMissing, ProbeRootMissing) as exc:
        pytest.skip(str(exc))


@pytest.fixture
def scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def sums(name: str, scratch: Path) -> NDArray[np.float32]:
    """Return the sums of the largest products that a processor computes, u8 with s8."""
    weights = np.full((READINGS, OUTPUTS), 127, np.int8)
    constants = {"one": np.float32(1), "zero": np.uint8(0), "weights": weights}
    operators = [
        helper.make_node("QuantizeLinear", ["x", "one", "zero"], ["q"]),
        helper.make_node("MatMulInteger", ["q", "weights"], ["sums"]),
        helper.make_node("Cast", ["sums"], ["y"], to=TensorProto.FLOAT),
    ]
    graph = helper.make_graph(
        operators,
        "sums",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, READINGS])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, OUTPUTS])],
        [numpy_helper.from_array(np.asarray(value), key) for key, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, scratch / "sums.onnx")
    np.save(scratch / "inputs.npy", np.full((1, READINGS), 255, np.float32))
    names = {"engine": "onnxruntime", "options": {}, "input": "x", "outputs": ["y"]}
    paths = {"model": str(scratch / "sums.onnx"), "inputs": str(scratch / "inputs.npy")}
    run_order({**names, **paths}, machine(name), scratch)
    given: NDArray[np.float32] = np.load(scratch / "output-0.npy")
    return given


def test_haswell_saturates_pairs_of_products(scratch: Path) -> None:
    # vpmaddubsw adds products in pairs, in 16 bits: each pair ends at 32767 (Intel's manual).
    assert np.unique(sums("haswell", scratch)).tolist() == [READINGS // 2 * 32767]


@pytest.mark.parametrize("name", ["cortex-a72", "cortex-a76"])
def test_arm_adds_exactly(name: str, scratch: Path) -> None:
    assert np.unique(sums(name, scratch)).tolist() == [READINGS * LARGEST]


@pytest.mark.parametrize("name", list(PROCESSORS))
def test_floats_are_this_machines_and_u8u8_is_the_same_everywhere(name: str, tmp_path: Path) -> None:
    emulated = machine(name)
    model = ModelFolder.load(write_folder(tmp_path / "model"))
    bench = Bench(model, series(4, seed=4)[0], PassCache(tmp_path / "cache"))
    calibration = calibration_samples(model, tmp_path / "datasets")
    variants = build_variants(model, find_recipes(["int8-u8u8-minmax"]), calibration, bench.cache, lambda *_: None)
    known = check(emulated, "onnx", bench)
    assert (known.fault, known.samples) == (None, 2)
    (found,) = probed(variants, emulated, [known], bench, lambda _: None)
    assert found.error is None
    assert found.sqnr_db is not None
    assert found.here_sqnr_db is not None
    # Whole numbers are added exactly; what is float around them may round otherwise, and a level more or less is seen.
    assert abs(found.sqnr_db - found.here_sqnr_db) < 1.0
    assert found.sqnr_db > 15.0


def test_an_instruction_that_a_processor_lacks_is_told(scratch: Path) -> None:
    emulated = machine("haswell")
    if emulated.programs.root is not None:
        pytest.skip("the instruction is one of x86")
    lay_out(emulated.processor, emulated.programs, scratch)
    arguments = ("-c", JUMP.format(code=NEWER_INSTRUCTION))
    ending = watch(
        command(emulated.emulator, emulated.programs, scratch, arguments), variables(scratch), scratch, 300, None
    )
    assert "crashed: illegal instruction" in (failure(ending, emulated.processor) or "")
