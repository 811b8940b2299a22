"""The tutorial is run as it stands: its files are written, its commands are typed, with another port."""

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from controller.broker.embedded import answers, free_port
from controller.models.folder import ModelFolder
from controller.models.samples import evaluation_samples
from tests.e2e.world import ROOT, environment

pytestmark = [pytest.mark.e2e, pytest.mark.alone, pytest.mark.timeout(900)]

BLOCK = re.compile(r"^```(?P<kind>yaml|console)(?: file=(?P<file>\S+))?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
PATIENCE_S = 240


class Terminal:
    """Runs the page's commands in one folder; those that end in `&` stay until the test is over."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self.output: dict[str, str] = {}
        self._background: list[subprocess.Popen[bytes]] = []

    def run(self, line: str) -> None:
        words = shlex.split(line.replace("1883", str(self.port)).removesuffix("&"))
        command = [sys.executable, "-m", *words]
        if line.endswith("&"):
            self._start(command, line)
            return
        ended = subprocess.run(
            command, cwd=self.folder, env=environment(), capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
        assert ended.returncode == 0, f"{line}\n{ended.stdout}\n{ended.stderr}"
        self.output[line] = ended.stdout

    def stop(self) -> None:
        for process in reversed(self._background):
            process.terminate()
        for process in self._background:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _start(self, command: list[str], line: str) -> None:
        with (self.folder / "background.log").open("ab") as log:
            process = subprocess.Popen(
                command, cwd=self.folder, env=environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._background.append(process)
        deadline = time.monotonic() + 30
        while "broker run" in line and not answers("127.0.0.1", self.port):
            assert time.monotonic() < deadline, (self.folder / "background.log").read_text()
            time.sleep(0.1)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    each = Terminal(tmp_path, free_port())
    yield each
    each.stop()


def test_the_tutorial_deploys_a_users_own_classifier(terminal: Terminal, leaf_model: ModelFolder) -> None:
    own_model(terminal.folder, leaf_model)
    page = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    blocks = list(BLOCK.finditer(page))
    assert len(blocks) >= 8
    for block in blocks:
        if block["kind"] == "yaml":
            text = block["text"].replace("1883", str(terminal.port))
            (terminal.folder / block["file"]).write_text(text, encoding="utf-8")
        else:
            for line in block["text"].splitlines():
                assert line.startswith("$ "), f"not a command: {line}"
                terminal.run(line[2:])
    again = "controller deploy --fleet my-fleet --config my-fleet.yaml --yes"
    terminal.run(again)
    assert "up to date" in terminal.output[again]
    check_report(terminal)


def check_report(terminal: Terminal) -> None:
    """The report says that both devices run the chosen variant, and that a device measured it."""
    terminal.run("controller report latest --json")
    report = json.loads(terminal.output["controller report latest --json"])
    (choice,) = report["choices"]
    chosen = next(variant for variant in report["variants"] if variant["variant"] == choice["variant"])
    assert {device["device"]: device["active"] for device in report["attested"]} == {
        "pi-1": chosen["bundle"],
        "pi-2": chosen["bundle"],
    }
    measured = {trial["variant"] for trial in report["trials"] if trial["outcome"] == "measured"}
    assert choice["variant"] in measured
    assert os.listdir(terminal.folder / ".thresher" / "reports")


def own_model(folder: Path, model: ModelFolder) -> None:
    """Write what a user brings: an ONNX file and an .npz. Its inputs are ready for the network."""
    samples = evaluation_samples(model, folder / "cache")
    inputs = samples.inputs - samples.inputs.mean(axis=-1, keepdims=True)
    inputs = inputs / inputs.std(axis=-1, ddof=1, keepdims=True)
    np.savez(folder / "my.npz", inputs=inputs.astype(np.float32), labels=samples.labels)
    (folder / "my.onnx").write_bytes(model.file("onnx").read_bytes())
