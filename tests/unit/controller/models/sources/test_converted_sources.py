"""PyTorch, Keras and SavedModel: what is asked of the converters, and what becomes of what they make."""

import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from controller.convert.environments import environment
from controller.errors import ConfigurationError, ConversionFailed, ConverterMissing, NotFound, UnusableModel
from controller.models.importing import import_model
from controller.models.sources import converting, keras_model, torch_module
from controller.models.sources.base import GivenShape, ImportRequest
from tests.unit.controller.compress.small_models import run as run_onnx
from tests.unit.controller.models.sources.small_graphs import linear

ROW = (GivenShape.parse("row=1,4", "--input"),)
MODULE = """\
import torch


def build():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
"""


class Converter:
    """Stands for a converter environment: makes a linear model, and says what it would compute."""

    def __init__(self, error: float = 0.0) -> None:
        self.error, self.orders = error, list[tuple[str, str, Mapping[str, Any]]]()

    def __call__(self, environment: str, worker: str, order: Mapping[str, Any], scratch: Path) -> dict[str, Any]:
        self.orders.append((environment, worker, order))
        onnx.save(linear(), scratch / "model.onnx")
        queries = Path(order.get("inputs") or converting.write_queries(tuple(order["shape"]), scratch / "queries.npy"))
        np.save(scratch / "source-outputs-0.npy", run_onnx(linear(), np.load(queries)) + self.error)
        made = {"file": "model.onnx", "notes": ["n"], "versions": {"maker": "1"}}
        made["source_outputs"] = ["source-outputs-0.npy"]
        if worker.startswith("from_torch"):
            return made
        return {"onnx": made, "tflite": None, "queries": queries.name, "notes": ["no TFLite file was made: why"]}


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """A folder with a module's file and something that stands for its weights."""
    folder = tmp_path / "given"
    folder.mkdir()
    (folder / "net.py").write_text(MODULE)
    (folder / "net.safetensors").write_bytes(b"weights")
    (folder / "made").mkdir()
    return folder


def module_request(folder: Path, **options: Any) -> ImportRequest:
    return ImportRequest(folder / "net.py:build", **{"state": folder / "net.safetensors", "inputs": ROW, **options})


def test_a_module_and_its_weights_are_copied_and_exported(given: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    converter = Converter()
    monkeypatch.setattr(torch_module, "run", converter)
    made = torch_module.draft_module(module_request(given), given / "made")
    assert made.formats == {"onnx": {"file": "model.onnx", "input": "row", "output": "scores"}}
    assert made.original == {"torch": {"factory": "net.py:build", "state": "net.safetensors"}}
    assert (made.notes, made.made_by) == (("n",), {"maker": "1"})
    assert sorted(path.name for path in (given / "made").iterdir()) == ["model.onnx", "net.py", "net.safetensors"]
    name, worker, order = converter.orders[0]
    assert (name, worker, order["root"]) == ("torch", "from_torch.to_onnx", str(given / "made"))
    assert order["names"] == {"input": "row"}


def test_an_exported_program_is_copied_and_exported(given: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_module, "run", Converter())
    (given / "net.pt2").write_bytes(b"program")
    made = torch_module.draft_program(ImportRequest(given / "net.pt2", inputs=ROW), given / "made")
    assert made.original == {"torch": {"program": "net.pt2"}}
    assert (given / "made" / "net.pt2").read_bytes() == b"program"


def test_a_file_that_computes_something_else_is_refused(given: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_module, "run", Converter(error=0.01))
    with pytest.raises(UnusableModel, match=r"the onnx file made of it computes something else: .* dB"):
        torch_module.draft_module(module_request(given), given / "made")
    assert not [path for path in (given / "made").iterdir() if path.name.startswith(".")]


def test_the_shape_follows_from_the_samples_too(given: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    converter = Converter()
    monkeypatch.setattr(torch_module, "run", converter)
    np.savez(given / "s.npz", inputs=np.zeros((9, 4), np.float32), labels=np.zeros(9, int))
    torch_module.draft_module(module_request(given, inputs=(), samples=given / "s.npz"), given / "made")
    assert converter.orders[0][2]["names"] == {"input": "input"}


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"state": None}, ConfigurationError, r"its weights are missing; name them: --state"),
        ({"state": Path("nowhere.pt")}, NotFound, r"nowhere\.pt: no such file"),
        ({"inputs": ()}, ConfigurationError, r"which shape does it take\? Give --input"),
        ({"inputs": (*ROW, *ROW)}, ConfigurationError, "a query goes into one input"),
        ({"inputs": (GivenShape.parse("1,4:int64", "--input"),)}, ConfigurationError, "of float32 is converted"),
        ({"inputs": (GivenShape.parse("4", "--input"),)}, ConfigurationError, r"\(batch, …\) of float32"),
        ({"constants": {"a": 1.0}}, ConfigurationError, r"--set fixes an input of an \.onnx file"),
    ],
)
def test_what_is_missing_is_said_before_a_converter_runs(
    options: dict[str, Any], error: type[Exception], says: str, given: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch_module, "run", None)
    with pytest.raises(error, match=says):
        torch_module.draft_module(module_request(given, **options), given / "made")


def test_weights_of_another_kind_are_refused(given: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"weights are read from \.safetensors, \.pt, \.pth, \.bin"):
        torch_module.draft_module(module_request(given, state=given / "net.py"), given / "made")


@pytest.mark.parametrize("name", ["net.py:build", "k.keras", "saved"])
def test_without_the_environment_the_command_is_named_and_nothing_is_left(
    name: str, given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THRESHER_CONVERTERS", str(tmp_path / "none"))
    (given / "k.keras").write_bytes(b"keras")
    (given / "saved").mkdir()
    (given / "saved" / "saved_model.pb").write_bytes(b"saved")
    request = module_request(given) if ":" in name else ImportRequest(given / name)
    with pytest.raises(ConverterMissing, match=r"controller model converters install (torch|tensorflow)"):
        import_model(request, tmp_path / "models")
    assert list((tmp_path / "models").iterdir()) == []


def test_a_keras_model_becomes_onnx_where_tflite_is_refused(given: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    converter = Converter()
    monkeypatch.setattr(keras_model, "run", converter)
    (given / "k.keras").write_bytes(b"keras")
    made = keras_model.draft(ImportRequest(given / "k.keras", inputs=ROW), given / "made")
    assert set(made.formats) == {"onnx"}
    assert made.original == {"tensorflow": {"model": "k.keras"}}
    assert made.notes == ("no TFLite file was made: why", "n")
    assert converter.orders[0][2]["shape"] == [4]


def test_a_saved_model_is_copied_without_what_does_not_belong(given: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras_model, "run", Converter())
    saved = given / "saved"
    (saved / "variables").mkdir(parents=True)
    for name in ("saved_model.pb", "variables/variables.index", "notes.txt"):
        (saved / name).write_bytes(b"x")
    made = keras_model.draft(ImportRequest(saved, inputs=ROW), given / "made")
    assert made.original == {"tensorflow": {"model": "saved_model"}}
    place = given / "made" / "saved_model"
    copied = {path.relative_to(place).as_posix() for path in place.rglob("*.*")}
    assert copied == {"saved_model.pb", "variables/variables.index"}


def test_a_saved_model_that_leads_out_of_its_folder_is_refused(given: Path) -> None:
    saved = given / "saved"
    (saved / "variables").mkdir(parents=True)
    (saved / "saved_model.pb").write_bytes(b"x")
    (saved / "variables" / "variables.index").symlink_to(given / "net.py")
    with pytest.raises(UnusableModel, match="leads out of the SavedModel's folder"):
        keras_model.draft(ImportRequest(saved, inputs=ROW), given / "made")


@pytest.fixture
def needs() -> Callable[[str], None]:
    """Skip a test whose converter environment is not installed."""

    def check(name: str) -> None:
        if environment(name) is None:
            pytest.skip(f"needs the converter environment {name}: controller model converters install {name}")

    return check


@pytest.mark.long  # imports torch in a process of its own, several times
def test_a_real_module_is_imported_and_a_whole_pickled_one_is_not(
    needs: Callable[[str], None], given: Path, tmp_path: Path
) -> None:
    needs("torch")
    write = "import torch, net; m = net.build(); torch.save(m.state_dict(), 'net.pt'); torch.save(m, 'whole.pt')"
    found = environment("torch")
    assert found is not None
    subprocess.run([found.python, "-c", write], cwd=given, check=True, env={"PYTHONPATH": str(given)})
    model = import_model(module_request(given, state=given / "net.pt"), tmp_path / "models")
    assert model.pipeline("onnx").pre.input.shape == (-1, 4)
    assert model.spec.torch is not None
    with pytest.raises(ConversionFailed, match="they are never unpickled"):
        import_model(module_request(given, name="whole", state=given / "whole.pt"), tmp_path / "models")
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["net"]


@pytest.mark.long  # imports TensorFlow in a process of its own, several times
def test_a_real_keras_model_is_imported_and_one_that_brings_code_is_not(
    needs: Callable[[str], None], given: Path, tmp_path: Path
) -> None:
    needs("tensorflow")
    write = (
        "import keras; keras.utils.set_random_seed(1); i = keras.Input((6, 6, 1)); "
        "x = keras.layers.Flatten()(keras.layers.Conv2D(3, 3)(i)); m = keras.Model(i, keras.layers.Dense(2)(x)); "
        "m.save('k.keras'); m.save('k.h5'); m.export('saved'); "
        "l = keras.Model(i, keras.layers.Lambda(lambda x: x * 2)(x)); l.save('l.keras'); l.save('l.h5'); "
        "f = keras.Input((None, None, 1)); p = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(3, 3)(f)); "
        "keras.Model(f, p).save('free.keras'); m.layers[1].bias.assign([float('nan')] * 3); m.save('nan.keras')"
    )
    found = environment("tensorflow")
    assert found is not None
    subprocess.run([found.python, "-c", write], cwd=given, check=True)
    for name in ("k.keras", "k.h5", "saved"):
        model = import_model(ImportRequest(given / name, name=name.replace(".", "-")), tmp_path / "models")
        assert set(model.spec.formats) == {"onnx", "tflite"}
        assert model.pipeline("tflite").pre.input.shape == (1, 6, 6, 1)
    for name in ("l.keras", "l.h5"):
        with pytest.raises(ConversionFailed, match="lambdas are refused"):
            import_model(ImportRequest(given / name), tmp_path / "models")
    for name, says in (("nan.keras", "hold NaN or infinite values"), ("free.keras", "give the sizes .* --input 1,")):
        with pytest.raises(ConversionFailed, match=says):
            import_model(ImportRequest(given / name), tmp_path / "models")
    sized = ImportRequest(given / "free.keras", inputs=(GivenShape.parse("1,8,8,1", "--input"),))
    assert import_model(sized, tmp_path / "models").pipeline("onnx").pre.input.shape == (-1, 8, 8, 1)
