"""Fixtures of the end-to-end tests: compiled kernels, the reference model, and a fleet on this host."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

from filelock import FileLock

from agent.warm import ensure_warm
from controller.models.folder import ModelFolder
from tests.e2e.bundles import Bundles
from tests.e2e.world import ROOT, World


@pytest.fixture(scope="session")
def kernel_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The agents' kernels: a copy of the user's, which are compiled once a machine; test processes share it."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = shared / "kernels"
    with FileLock(shared / "kernels.lock"):
        if not (folder / "done").exists():
            kernels = ensure_warm()
            shutil.copytree(kernels, folder / "kernels" / kernels.name)
            (folder / "done").touch()
    return folder


@pytest.fixture(scope="session")
def leaf_model() -> ModelFolder:
    return ModelFolder.load(ROOT / "models" / "leaf_outline")


@pytest.fixture(scope="session")
def bundles(leaf_model: ModelFolder, tmp_path_factory: pytest.TempPathFactory) -> Bundles:
    """Bundles of the reference model, with golden outputs computed by a plain session, not by the agent's code."""
    import onnxruntime

    from controller.models.samples import golden_inputs

    inputs = golden_inputs(leaf_model, tmp_path_factory.mktemp("golden"), 8)
    centred = inputs - inputs.mean(axis=-1, keepdims=True)
    normalised = centred / inputs.std(axis=-1, ddof=1, keepdims=True)
    session = onnxruntime.InferenceSession(str(leaf_model.file("onnx")), providers=["CPUExecutionProvider"])
    feeds = {session.get_inputs()[0].name: normalised.astype(np.float32)}
    return Bundles(leaf_model, inputs, session.run(None, feeds)[0])


@pytest.fixture
def world(tmp_path: Path, kernel_cache: Path) -> Iterator[World]:
    with World(tmp_path, kernel_cache) as each:
        yield each
