"""What every source has in common: too large, empty or not a number, and it is refused before a converter starts."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from controller.errors import UnusableModel
from controller.models.importing import ImportRequest, import_model
from controller.models.sources import keras_model, torch_module
from controller.models.sources.base import GivenShape
from tests.unit.controller.models.sources.test_tflite_files import changed

TOO_LARGE = 2 * 1024**3 + 1
ROW = (GivenShape.parse("1,4", "--input"),)


@pytest.fixture(autouse=True)
def _no_converter(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (keras_model, torch_module):
        monkeypatch.setattr(module, "run", None)


def request(folder: Path, name: str) -> ImportRequest:
    """Return a request for a source of which `name` is the file that matters; a module's is that of its weights."""
    if name.endswith((".safetensors", ".pt")):
        (folder / "net.py").write_text("def build(): ...")
        return ImportRequest(folder / "net.py:build", state=folder / name, inputs=ROW)
    return ImportRequest(folder / name, inputs=ROW if name.endswith((".pt2", ".keras", ".h5")) else ())


@pytest.mark.parametrize("name", ["m.onnx", "m.tflite", "m.keras", "m.h5", "m.pt2", "m.safetensors", "m.pt"])
@pytest.mark.parametrize(
    ("size", "says"), [(TOO_LARGE, rf"{TOO_LARGE} bytes, at most \d+ are supported"), (0, "the file is empty")]
)
def test_a_file_of_more_than_two_gib_or_of_nothing_is_refused_unread(
    name: str, size: int, says: str, tmp_path: Path
) -> None:
    with (tmp_path / name).open("wb") as file:
        file.truncate(size)  # takes no room: the file has holes
    with pytest.raises(UnusableModel, match=says):
        import_model(request(tmp_path, name), tmp_path / "models")
    assert list((tmp_path / "models").iterdir()) == []


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_tflite_file_with_weights_that_are_no_numbers_leaves_nothing(value: float, tmp_path: Path) -> None:
    def spoil(model: Any) -> None:
        weights = np.frombuffer(bytes(model.buffers[1].data), np.float32).copy()
        weights[0] = value
        model.buffers[1].data = np.frombuffer(weights.tobytes(), np.uint8)

    with pytest.raises(UnusableModel, match="'matrix' hold NaN or infinite values"):
        import_model(ImportRequest(changed(tmp_path / "m.tflite", spoil)), tmp_path / "models")
    assert list((tmp_path / "models").iterdir()) == []
