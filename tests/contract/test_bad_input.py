"""Bad input at the command line: a clear message, the documented exit code, nothing lost."""

import io
import shutil
import tarfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from controller.broker.embedded import EmbeddedBroker, free_port
from controller.cli.entry import run
from controller.deploy import pipeline
from controller.store import deployments, tables
from controller.store.database import Store
from controller.workspace import Workspace

FLEET = """\
version: 1
fleet: yard
broker: {{host: 127.0.0.1, port: {port}{login}}}
classes:
  - {{name: small, match: {{labels: {{board: z}}}}}}
workloads:
  main:
    model: tiny@1
    recipes: [float32]
    goals: {{max_accuracy_drop_ratio: 0.2, decide_on: point_estimate}}
"""


def write_onnx(path: Path, features: int = 4, classes: int = 3) -> None:
    """Write a linear classifier."""
    weights = np.random.default_rng(0).normal(size=(features, classes)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "w"], ["logits"])],
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", features])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", classes])],
        [numpy_helper.from_array(weights, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), path)


def write_samples(path: Path, shape: tuple[int, ...] = (60, 4), classes: int = 3) -> None:
    """Write labelled samples."""
    random = np.random.default_rng(1)
    inputs = random.normal(size=shape).astype(np.float32)
    np.savez(path, inputs=inputs, labels=np.arange(len(inputs)) % classes)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with one small model; the folder around it holds the files."""
    folder = tmp_path_factory.mktemp("original")
    write_onnx(folder / "tiny.onnx")
    write_samples(folder / "tiny.npz")
    root = folder / "ws"
    assert run(["--workspace", str(root), "init"]) == 0
    source = ["model", "import", str(folder / "tiny.onnx"), "--name", "tiny", "--data", str(folder / "tiny.npz")]
    assert run(["--workspace", str(root), *source]) == 0
    return folder


@pytest.fixture
def place(original: Path, tmp_path: Path) -> Path:
    """A copy of the workspace, for this test alone."""
    shutil.copytree(original, tmp_path, dirs_exist_ok=True)
    return tmp_path / "ws"


@pytest.fixture
def said(place: Path, capsys: pytest.CaptureFixture[str]) -> "Said":
    return Said(place, capsys)


class Said:
    """Runs a command in the workspace and keeps what it said."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root, self._capsys = root, capsys

    def __call__(self, *arguments: str) -> tuple[int, str]:
        code = run(["--workspace", str(self.root), *arguments])
        return code, self._capsys.readouterr().err

    def fleet_file(self, port: int = 1883, login: str = "", changes: Mapping[str, str] | None = None) -> str:
        path = self.root.parent / "yard.yaml"
        text = FLEET.format(port=port, login=login)
        for old, new in (changes or {}).items():
            text = text.replace(old, new)
        path.write_text(text)
        return str(path)

    def deploy(self, config: str, *more: str) -> tuple[int, str]:
        return self("deploy", "--fleet", "yard", "--config", config, "--yes", *more)


def test_no_workspace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--workspace", str(tmp_path / "none"), "deploy", "--fleet", "yard"]) == 4
    assert "controller init" in capsys.readouterr().err


def test_unknown_fleet_lists_those_that_are_known(said: Said) -> None:
    code, text = said("deploy", "--fleet", "nowhere")
    assert (code, "farm-sensors" in text, "--config" in text) == (4, True, True)


def test_fleet_file_of_another_fleet(said: Said) -> None:
    code, text = said("deploy", "--fleet", "other", "--config", said.fleet_file())
    assert (code, "'yard'" in text) == (3, True)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("goals:", "gaols:", "gaols"),
        ("version: 1", "version: [", "yard.yaml"),
        ("max_accuracy_drop_ratio: 0.2", "max_accuracy_drop_ratio: lots", "max_accuracy_drop_ratio"),
        ("recipes: [float32]", "recipes: [no-such]", "no-such"),
    ],
)
def test_malformed_fleet_file(said: Said, old: str, new: str, named: str) -> None:
    code, text = said.deploy(said.fleet_file(changes={old: new}))
    assert (code in (3, 4), named in text) == (True, True), text


def test_unknown_workload(said: Said) -> None:
    code, text = said.deploy(said.fleet_file(), "--workload", "soil")
    assert (code, "main" in text) == (4, True)


def test_missing_model(said: Said) -> None:
    code, text = said.deploy(said.fleet_file(), "--model", "absent@1")
    assert (code, "tiny@1" in text, "model import" in text) == (4, True, True)


def test_onnx_that_does_not_load(said: Said) -> None:
    broken = said.root.parent / "broken.onnx"
    broken.write_bytes(b"not a model")
    code, text = said("model", "import", str(broken), "--data", str(said.root.parent / "tiny.npz"))
    assert (code, "broken.onnx" in text) == (5, True)


@pytest.mark.parametrize(("shape", "named"), [((60, 5), "(n, 4)"), ((0, 4), "sample")])
def test_samples_that_do_not_fit(said: Said, shape: tuple[int, ...], named: str) -> None:
    samples = said.root.parent / "other.npz"
    write_samples(samples, shape)
    code, text = said("model", "import", str(said.root.parent / "tiny.onnx"), "--name", "two", "--data", str(samples))
    assert (code, named in text) == (5, True), text


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[400] ^= 0xFF  # within the values of the first member
    path.write_bytes(content)


def _compress_and_flip(path: Path) -> None:
    np.savez_compressed(path, inputs=np.random.default_rng(1).normal(size=(60, 4)), labels=np.arange(60) % 3)
    content = bytearray(path.read_bytes())
    content[300:340] = bytes(40)
    path.write_bytes(content)


def _objects(path: Path, name: str) -> None:
    arrays: dict[str, Any] = {"inputs": np.zeros((60, 4), np.float32), "labels": np.arange(60) % 3}
    np.savez(path, **{**arrays, name: arrays[name].astype(object)})


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (_cut, "not an .npz"),
        (_flip, "damaged"),
        (_compress_and_flip, "damaged"),
        (lambda path: _objects(path, "inputs"), "'inputs' holds Python objects"),
        (lambda path: _objects(path, "labels"), "'labels' holds Python objects"),
        (lambda path: write_samples(path, (60, 5)), "(60, 5)"),
        (lambda path: write_samples(path, classes=9), "labels run from 0 to 8"),
    ],
    ids=["cut", "flipped", "flipped-compressed", "object-inputs", "object-labels", "shape", "labels"],
)
@pytest.mark.parametrize("kind", [(), ("--kind", "classification")], ids=["guessed", "given"])
def test_samples_that_are_damaged(
    said: Said, damage: Callable[[Path], None], named: str, kind: tuple[str, ...]
) -> None:
    samples = said.root.parent / "mine.npz"
    write_samples(samples)
    damage(samples)
    onnx_file = str(said.root.parent / "tiny.onnx")
    code, text = said("model", "import", onnx_file, "--name", "two", "--data", str(samples), *kind)
    assert (code, named in text, str(samples) in text, ".partial-" in text) == (5, True, True, False), text


def test_a_malicious_backup(said: Said) -> None:
    path = said.root.parent / "b.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, content in (
            ("backup.json", b'{"format": 1, "made_s": 1.0}'),
            ("keys/k", b"secret"),
            ("../outside", b"x"),
        ):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    code, text = said("restore", str(path), "--replace")
    assert (code, str(path) in text, "nothing was changed" in text) == (3, True, True), text
    assert not list(said.root.parent.glob(".restore-*"))


def test_a_limit_that_the_samples_cannot_show(said: Said) -> None:
    config = said.fleet_file(changes={"0.2, decide_on: point_estimate": "0.001"})
    code, text = said.deploy(config, "--dry-run")
    assert (code, "point_estimate" in text) == (3, True), text


def test_no_broker(said: Said) -> None:
    port = free_port()
    code, text = said.deploy(said.fleet_file(port))
    assert (code, f"127.0.0.1:{port}" in text, "controller broker run" in text) == (6, True, True)


def test_wrong_credentials(said: Said) -> None:
    secret = said.root.parent / "password"
    secret.write_text("wrong")
    with EmbeddedBroker(folder=said.root.parent / "broker", logins={"ada": "right"}) as broker:
        config = said.fleet_file(broker.port, f", username: ada, password_file: {secret}")
        code, text = said.deploy(config)
    assert (code, "credentials" in text) == (6, True), text


def test_no_device_of_a_class(said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "PRESENT_WAIT_S", 0.2)
    with EmbeddedBroker(folder=said.root.parent / "broker") as broker:
        code, text = said.deploy(said.fleet_file(broker.port))
    assert (code, "small" in text, "board" in text) == (7, True, True), text


def test_a_deploy_that_runs_already(said: Said) -> None:
    with EmbeddedBroker(folder=said.root.parent / "broker") as broker:
        _running_deployment(said.root)
        code, text = said.deploy(said.fleet_file(broker.port))
    assert (code, "runs already" in text) == (9, True), text


def test_without_a_key_nothing_is_said_to_devices(said: Said) -> None:
    (said.root / "keys" / "controller-ed25519").unlink()
    with EmbeddedBroker(folder=said.root.parent / "broker") as broker:
        code, text = said.deploy(said.fleet_file(broker.port))
    assert (code, "controller init" in text) == (11, True), text


@pytest.mark.parametrize(
    "arguments",
    [("deploy",), ("rollout", "show"), ("no-such-command",), ("broker", "run", "--port", "x"), ("model", "compress")],
)
def test_usage(said: Said, arguments: tuple[str, ...]) -> None:
    assert said(*arguments)[0] == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("rollout", "show", "none"), ("rollout", "pause", "none"), ("trial", "show", "none"), ("report", "none"),
        ("report", "latest"), ("fleet", "show", "none"), ("model", "show", "none"), ("restore", "none.tar.gz"),
        ("model", "import", "none.onnx"),
    ],
)  # fmt: skip
def test_what_is_not_there(said: Said, arguments: tuple[str, ...]) -> None:
    code, text = said(*arguments)
    assert (code, text.startswith("error: ")) == (4, True), text


def test_the_embedded_broker_refuses_a_network(said: Said) -> None:
    code, text = said("broker", "run", "--host", "0.0.0.0", "--port", "0")
    assert (code, "loopback" in text) == (3, True)


def _running_deployment(root: Path) -> None:
    store = Store.open(Workspace(root))
    now_s = time.time()
    row = tables.Deployment(
        id="d1", fleet="yard", workload="main", model="tiny", model_version="1", settings={"digest": "0"}
    )
    with store.begin() as session:
        deployments.create(session, row, now_s=now_s)
        deployments.claim(session, "d1", "another-process", now_s=now_s)
    store.close()
