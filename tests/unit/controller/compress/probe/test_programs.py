"""What an emulated processor runs, and what of this machine it sees."""

import json
import platform
import sys
from pathlib import Path

import pytest

from controller.compress.probe.emulator import Emulator
from controller.compress.probe.processors import PROCESSORS, cpuinfo
from controller.compress.probe.programs import Programs, command, lay_out, programs_of, variables
from controller.compress.probe.root import places
from controller.compress.probe.root.locks import root_locks
from controller.convert.environments.hold import exclusive
from controller.convert.environments.places import COMPLETE
from controller.errors import Busy, ProbeRootMissing

EMULATOR = Emulator(Path("/bin/emulator"), "7.2.22", "Model")


@pytest.mark.usefixtures("emulators")
def test_a_processor_of_this_machines_kind_runs_this_environment(tmp_path: Path) -> None:
    own = programs_of(PROCESSORS["haswell"])
    assert (own.root, own.site) == (None, ())
    assert {"python", "numpy", "onnxruntime"} <= own.versions.keys()
    line = command(EMULATOR, own, tmp_path, ("worker.py", "order.json"))
    assert line == ["/bin/emulator", "-cpu", "Model", sys.executable, "-I", "worker.py", "order.json"]
    prefix = tmp_path / "prefix"
    prefix.mkdir()
    lay_out(PROCESSORS["haswell"], own, prefix)
    assert list(prefix.iterdir()) == []
    with own.held():
        pass


def test_another_kind_runs_the_root(tmp_path: Path) -> None:
    programs = Programs(tmp_path / "root", {"numpy": "2"})
    line = command(EMULATOR, programs, Path("/p"), ("worker.py",))
    assert line == ["/bin/emulator", "-cpu", "Model", "-L", "/p", "/p/usr/bin/python3.11", "-I", "-S", "worker.py"]
    assert programs.site == (str(tmp_path / "root" / "packages"),)
    assert programs.identity == {"root": True, "versions": {"numpy": "2"}}


def test_the_root_looks_like_the_processors_own_machine(tmp_path: Path) -> None:
    root, prefix, processor = tmp_path / "root", tmp_path / "prefix", PROCESSORS["cortex-a72"]
    (root / places.SYSTEM / "usr").mkdir(parents=True)
    prefix.mkdir()
    lay_out(processor, Programs(root, {}), prefix)
    assert (prefix / "usr").resolve() == root / places.SYSTEM / "usr"
    assert (prefix / "proc/cpuinfo").read_text() == cpuinfo(processor)
    assert (prefix / "sys/devices/system/cpu/possible").read_text() == "0\n"


@pytest.mark.usefixtures("emulators")
def test_a_root_that_is_not_there_names_the_command() -> None:
    with pytest.raises(ProbeRootMissing, match="is not installed: run  controller model probe --install"):
        programs_of(PROCESSORS["cortex-a72"])


@pytest.mark.usefixtures("emulators")
def test_there_is_no_root_for_x86(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(ProbeRootMissing, match="haswell runs the Python of a machine that is x86_64"):
        programs_of(PROCESSORS["haswell"])
    assert programs_of(PROCESSORS["cortex-a72"]).root is None


@pytest.mark.usefixtures("emulators")
def test_nobody_removes_a_root_that_is_used() -> None:
    root = places.root_folder()
    root.mkdir(parents=True)
    record = {"versions": {"numpy": "2"}, "locks_sha256": root_locks().digest, "disk_bytes": 1}
    (root / COMPLETE).write_text(json.dumps(record))
    programs = programs_of(PROCESSORS["cortex-a72"])
    assert programs == Programs(root, {"numpy": "2"})
    with programs.held(), pytest.raises(Busy, match="the probe's root aarch64"), exclusive(root, places.CALLED):
        pass


def test_variables_that_change_programs_are_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("PYTHONPATH", "LD_PRELOAD", "QEMU_CPU"):
        monkeypatch.setenv(name, "other")
    monkeypatch.setenv("HERS", "1")
    given = variables(tmp_path)
    assert given["HERS"] == "1"
    assert (given["ORT_DISABLE_TELEMETRY"], given["OMP_NUM_THREADS"]) == ("1", "1")
    assert not {"PYTHONPATH", "LD_PRELOAD", "QEMU_CPU"} & given.keys()
