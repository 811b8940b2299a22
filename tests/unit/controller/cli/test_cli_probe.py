"""`controller model probe`: what can be probed here, what was found, and its exit codes."""

import json
import platform
from pathlib import Path

import numpy as np
import pytest

from controller.cli.entry import run
from controller.cli.nouns.probe.probing import probe_queries
from controller.compress.probe.root.locks import root_locks
from controller.convert.environments.places import COMPLETE
from controller.errors import UnusableData
from controller.keys import create_key
from controller.models.folder import ModelFolder
from controller.workspace import Workspace
from tests.unit.controller.compress.probe.fake_emulator import put_emulator, runs, use
from tests.unit.controller.compress.small_models import write_folder


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with the model `small`, on an x86-64 machine with emulators that emulate nothing, without a root."""
    for name in ("qemu-x86_64", "qemu-aarch64"):
        put_emulator(tmp_path / "bin", name)
    use(tmp_path / "bin", monkeypatch)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setenv("THRESHER_PROBE_ROOTS", str(tmp_path / "roots"))
    monkeypatch.setenv("THRESHER_HOME", str(tmp_path / "ws"))
    workspace = Workspace(tmp_path / "ws")
    workspace.create()
    create_key(workspace.keys)
    write_folder(workspace.models / "small" / "1")
    return tmp_path


def out(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    """Return what a command prints; its exit code is asserted."""
    capsys.readouterr()
    assert run(["model", "probe", *arguments]) == code
    shown = capsys.readouterr()
    return shown.err if code else shown.out


@pytest.mark.usefixtures("place")
def test_what_can_be_probed_here(capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads(out(capsys, "--json"))
    assert [row["cpu"] for row in document["processors"]] == ["haswell", "cortex-a72", "cortex-a76"]
    haswell, older, _ = document["processors"]
    assert (haswell["fault"], haswell["emulator"].split()[-1]) == (None, "7.2.22")
    assert older["fault"].endswith("is not installed: run  controller model probe --install")
    assert document["root"]["installed"] is False
    assert "it is not installed" in out(capsys)


def test_outputs_of_variants_on_another_processor(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("small", "--cpu", "haswell", "--recipe", "int8-u8u8-minmax", "--samples", "9")
    told = out(capsys, *asked, "--dry-run")
    assert told == "would run onnx-int8-u8u8-minmax of small@1 on haswell, 9 samples each\n"
    assert runs(place / "bin", "qemu-x86_64") == []

    document = json.loads(out(capsys, *asked, "--json"))
    assert (document["model"], document["measures"]) == ("small@1", "outputs only, never speed")
    assert (document["samples"], document["samples_are"]) == (9, "evaluation")
    (check,) = document["checks"]
    assert (check["cpu"], check["format"], check["samples"], check["fault"]) == ("haswell", "onnx", 2, None)
    (int8,) = document["verdicts"]
    assert (int8["variant"], int8["cpu"], int8["samples"]) == ("onnx-int8-u8u8-minmax", "haswell", 9)
    assert int8["equals_here"]
    assert int8["sqnr_db"] == int8["here_sqnr_db"]
    assert int8["sqnr_db"] > 15.0
    # The check, and a run for each variant; the table is of what was kept.
    assert len(runs(place / "bin", "qemu-x86_64")) == 2
    table = out(capsys, *asked)
    assert len(runs(place / "bin", "qemu-x86_64")) == 2
    assert "haswell, onnx: float outputs are this machine's" in table
    assert "bit for bit" in table
    assert table.endswith("outputs only: nothing here tells how fast these processors are\n")


def test_a_crash_is_in_its_row(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put_emulator(place / "bin", "qemu-x86_64", body="kill -ILL $$")
    shown = out(capsys, "small", "--cpu", "haswell", "--recipe", "float32", "--samples", "2")
    assert "onnx-float32 on haswell: the emulator is not believed: of the float model, the program on" in shown
    assert "crashed: illegal instruction" in shown


def test_what_is_missing_is_named(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = out(capsys, "small", "--cpu", "haswell", "--cpu", "cortex-a76", code=4)
    assert "run  controller model probe --install" in said
    assert "none of the recipes tflite-float is for a format that small@1 has" in out(
        capsys, "small", "--cpu", "haswell", "--recipe", "tflite-float", code=3
    )
    (place / "empty").mkdir()
    use(place / "empty", monkeypatch, alone=True)
    assert "apt-get install qemu-user" in out(capsys, "small", "--cpu", "haswell", code=4)


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("small",), "--cpu says on which processor: haswell, cortex-a72, cortex-a76"),
        (("small", "--install"), "a model, --install and --remove exclude each other"),
        (("--install", "--remove"), "a model, --install and --remove exclude each other"),
        (("--mirror", "http://hers"), "--mirror says where --install fetches from"),
        (("small", "--cpu", "skylake"), "'skylake' is not one of"),
    ],
)
def test_a_line_that_says_two_things(arguments: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert says in out(capsys, *arguments, code=2)


def test_a_root_that_is_there_is_told_and_removed(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = place / "roots" / "aarch64"
    assert out(capsys, "--remove") == "no root was there\n"
    root.mkdir(parents=True)
    record = {"versions": {"numpy": "2"}, "locks_sha256": root_locks().digest, "disk_bytes": 3}
    (root / COMPLETE).write_text(json.dumps(record))
    assert out(capsys, "--install") == f"the root for ARM processors is installed in {root}\n"
    assert "(installed, 3 B)" in out(capsys)
    assert out(capsys, "--remove", "--dry-run") == f"would remove {root}\n"
    assert out(capsys, "--remove") == f"removed {root}\n"
    assert not root.exists()


def test_samples_without_labels_are_those_of_calibration(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unlabelled(*_: object) -> None:
        raise UnusableData("no labels")

    workspace = Workspace(place / "ws")
    model = ModelFolder.load(workspace.models / "small" / "1")
    queries, source = probe_queries(model, workspace, 7)
    assert (queries.shape, source) == ((7, 1, 64), "evaluation")
    monkeypatch.setattr("controller.cli.nouns.probe.probing.evaluation_samples", unlabelled)
    others, source = probe_queries(model, workspace, 7)
    assert (others.shape, source) == ((7, 1, 64), "calibration")
    assert not np.array_equal(queries, others)
