"""ExecuTorch programs and Core ML packages are read without their libraries; what is broken is refused."""

import random
from pathlib import Path

import pytest

from controller.convert.coreml import MINIMUM_OS, read_coreml
from controller.convert.executorch import read_executorch
from controller.convert.signature import read_signature
from controller.errors import UnusableModel
from tests.unit.controller.convert.small_programs import (
    BFLOAT16,
    INT,
    LONG,
    specification,
    write_package,
    write_program,
)


def test_a_program_says_what_it_takes_and_who_runs_it(tmp_path: Path) -> None:
    facts = read_executorch(write_program(tmp_path / "m.pte"))
    (source,), (result,) = facts.signature.inputs, facts.signature.outputs
    assert (source.name, source.shape, source.dtype) == ("input_0", (1, 17), "float32")
    assert (result.name, result.shape) == ("output_0", (1, 3))
    assert facts.operators == {"aten::relu": 1}
    assert facts.delegates == {"XnnpackBackend": 1}
    assert read_signature("executorch", tmp_path / "m.pte") == facts.signature


def test_whole_numbers_are_named_as_such(tmp_path: Path) -> None:
    facts = read_executorch(write_program(tmp_path / "m.pte", scalar_type=LONG))
    assert facts.signature.input().dtype == "int64"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"method": "backward"}, "no method called forward"),
        ({"scalar_type": BFLOAT16}, "input 0 has scalar type 15; known are uint8"),
        ({"value_type": INT}, "input 0 is no tensor"),
    ],
)
def test_programs_that_nothing_here_runs(tmp_path: Path, options: dict[str, object], says: str) -> None:
    with pytest.raises(UnusableModel, match=says):
        read_executorch(write_program(tmp_path / "m.pte", **options))  # type: ignore[arg-type]


def test_other_files_are_no_programs(tmp_path: Path) -> None:
    (tmp_path / "m.pte").write_bytes(b"\x20\0\0\0TFL3" + bytes(64))
    with pytest.raises(UnusableModel, match="not an ExecuTorch program of format ET12"):
        read_executorch(tmp_path / "m.pte")


@pytest.mark.parametrize("reader", [read_executorch, read_coreml])
def test_harmed_bytes_are_refused_or_read_and_nothing_else(tmp_path: Path, reader: object) -> None:
    whole = write_program(tmp_path / "m").read_bytes() if reader is read_executorch else specification()
    refused, dice = 0, random.Random(7)
    for _ in range(400):
        harmed = bytearray(whole[: dice.randrange(9, len(whole) + 1)])
        for _ in range(dice.randrange(3)):
            harmed[dice.randrange(8, len(harmed))] = dice.randrange(256)
        path = tmp_path / "harmed"
        if reader is read_executorch:
            path.write_bytes(harmed)
        else:
            write_package(path, bytes(harmed))
        try:
            reader(path)  # type: ignore[operator]
        except UnusableModel:
            refused += 1
    assert refused > 200


def test_a_package_says_what_it_takes_and_its_oldest_system(tmp_path: Path) -> None:
    facts = read_coreml(write_package(tmp_path / "m.mlpackage.zip", specification()))
    assert facts.signature.input().shape == (1, 3, 300)
    assert facts.signature.output().name == "output"
    assert facts.min_os == "iOS 16, macOS 13, watchOS 9, tvOS 16"
    assert read_signature("coreml", tmp_path / "m.mlpackage.zip") == facts.signature


@pytest.mark.parametrize("version", MINIMUM_OS)
def test_every_specification_names_its_systems(tmp_path: Path, version: int) -> None:
    assert read_coreml(write_package(tmp_path / "m.zip", specification(version))).min_os.startswith("iOS 1")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (specification(5), "specification 5 is no ML Program"),
        (specification(program=False), "specification 7 is no ML Program"),
        (specification(kind=7), "an array has type 7; known are float16"),
        (b"", "specification 0 is no ML Program"),
        (b"\xff" * 20, "a broken Core ML specification"),
    ],
)
def test_packages_that_are_none(tmp_path: Path, content: bytes, says: str) -> None:
    with pytest.raises(UnusableModel, match=says):
        read_coreml(write_package(tmp_path / "m.zip", content))


def test_other_archives_are_no_packages(tmp_path: Path) -> None:
    write_package(tmp_path / "m.zip", specification(), name="model.mlmodelc")
    with pytest.raises(UnusableModel, match=r"no zipped \.mlpackage: 0 specifications"):
        read_coreml(tmp_path / "m.zip")
    (tmp_path / "m.zip").write_bytes(b"PK no zip")
    with pytest.raises(UnusableModel, match=r"no zipped \.mlpackage"):
        read_coreml(tmp_path / "m.zip")
