"""An emulator counts when it is there, new enough, and knows the processor; else the package is named."""

from pathlib import Path

import pytest

from controller.compress.probe.emulator import find, known_models, release
from controller.compress.probe.processors import PROCESSORS
from controller.errors import EmulatorMissing
from tests.unit.controller.compress.probe.fake_emulator import put_emulator, use

OLD_LIST = """\
x86 Haswell               (alias configured by machine type)
x86 Haswell-noTSX         (alias of Haswell-v2)
"""


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("qemu-x86_64 version 7.2.22 (Debian 1:7.2+dfsg-7)\nCopyright (c) 2003-2022", (7, 2, 22)),
        ("qemu-aarch64 version 10.0.50", (10, 0, 50)),
        ("no release", ()),
    ],
)
def test_the_release_is_read(said: str, found: tuple[int, ...]) -> None:
    assert release(said) == found


def test_both_forms_of_the_list_are_read() -> None:
    assert {"Haswell", "Haswell-noTSX"} <= known_models(OLD_LIST)
    assert {"cortex-a72", "max"} <= known_models("Available CPUs:\n  cortex-a72\n  max\n")


def test_the_preferred_model_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = put_emulator(tmp_path, "qemu-x86_64")
    use(tmp_path, monkeypatch, alone=True)
    found = find(PROCESSORS["haswell"])
    assert (found.program, found.version, found.model) == (program, "7.2.22", "Haswell-noTSX")


def test_the_static_package_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_emulator(tmp_path, "qemu-aarch64-static")
    use(tmp_path, monkeypatch, alone=True)
    assert find(PROCESSORS["cortex-a76"]).program.name == "qemu-aarch64-static"


@pytest.mark.parametrize("name", list(PROCESSORS))
def test_without_an_emulator_the_package_is_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(tmp_path, monkeypatch, alone=True)
    with pytest.raises(EmulatorMissing, match=rf"{name} is emulated by .*not on the path.*apt-get install qemu-user"):
        find(PROCESSORS[name])


@pytest.mark.parametrize(
    ("name", "version", "models"),
    [("haswell", "6.2.0", None), ("cortex-a76", "7.0.0", None), ("cortex-a76", "7.2.0", "cortex-a72 max")],
)
def test_an_emulator_that_computes_otherwise_is_refused(
    name: str, version: str, models: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_emulator(tmp_path, PROCESSORS[name].emulator, version=version, models=models)
    use(tmp_path, monkeypatch, alone=True)
    with pytest.raises(EmulatorMissing, match=rf"is release {version} and does not compute as {name} does: install"):
        find(PROCESSORS[name])


def test_a_program_that_does_not_run_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "qemu-x86_64"
    path.write_bytes(b"\x7fELF of nothing")
    path.chmod(0o755)
    use(tmp_path, monkeypatch, alone=True)
    with pytest.raises(EmulatorMissing, match="does not run"):
        find(PROCESSORS["haswell"])
