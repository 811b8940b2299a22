"""What the tests of the reference models share: loading by file path, as the product does, and reasons for skips."""

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

MODELS = Path(__file__).parents[3] / "models"


def _module(path: Path) -> ModuleType:
    """Return the module at `path` without touching `sys.path`: to those who deploy it a model is no package."""
    spec = importlib.util.spec_from_file_location(f"{path.parent.name}_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def models() -> Path:
    """The folder of the reference models."""
    return MODELS


@pytest.fixture(scope="session")
def module() -> Callable[[str], ModuleType]:
    """Load a Python file of the models by its path, e.g. module("leaf_outline/data.py")."""
    return lambda path: _module(MODELS / path)


@pytest.fixture(scope="session")
def split() -> Callable[[ModuleType, str], tuple[Any, Any]]:
    """Load a split, or skip the test where the extra with the data is not installed."""

    def load(data: ModuleType, name: str) -> tuple[Any, Any]:
        try:
            inputs, targets = data.load(name)
        except FileNotFoundError as error:
            pytest.skip(str(error))
        return inputs, targets

    return load


@pytest.fixture(scope="session")
def formats() -> ModuleType:
    """Run an ONNX or a TFLite file on one thread; skips where the engines are not installed."""
    pytest.importorskip("onnxruntime", reason="needs the extra 'onnxruntime'")
    pytest.importorskip("ai_edge_litert", reason="needs the extra 'litert'")
    return _module(MODELS / "formats.py")


@pytest.fixture(scope="session")
def torch() -> Any:
    """torch, or a skip: neither the controller nor an agent needs it."""
    return pytest.importorskip("torch", reason="needs the extra 'train'")
