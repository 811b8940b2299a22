"""The tutorial is run as it stands: its files are written, its commands are typed, with another port."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from controller.broker.embedded import free_port
from controller.models.folder import ModelFolder
from controller.models.samples import evaluation_samples
from tests.e2e.pages import Terminal, blocks_of

pytestmark = [pytest.mark.e2e, pytest.mark.alone, pytest.mark.long, pytest.mark.timeout(900)]


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    each = Terminal(tmp_path, free_port())
    yield each
    each.stop()


def test_the_tutorial_deploys_a_users_own_classifier(terminal: Terminal, leaf_model: ModelFolder) -> None:
    own_model(terminal.folder, leaf_model)
    blocks = list(blocks_of("tutorial.md"))
    assert len(blocks) >= 8
    for block in blocks:
        terminal.follow(block)
    again = "controller deploy --fleet my-fleet --config my-fleet.yaml --yes"
    assert "up to date" in terminal.run(again)
    check_report(terminal)


def check_report(terminal: Terminal) -> None:
    """The report says that both devices run the chosen variant, and that a device measured it."""
    report = json.loads(terminal.run("controller report latest --json"))
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
