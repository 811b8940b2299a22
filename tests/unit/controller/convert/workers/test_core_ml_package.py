"""The parts of the Core ML worker that need no coremltools: the zip, the manifest, the comparison of weights."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from controller.convert.workers.frame import Unusable
from controller.convert.workers.from_torch import coreml_package
from controller.convert.workers.from_torch.coreml_package import compared, unchanged


def written(folder: Path, identifier: str) -> Path:
    """Write a package as coremltools does: its items have random names."""
    package = folder / "model.mlpackage"
    (package / "Data").mkdir(parents=True)
    (package / "Data" / "b.bin").write_bytes(b"weights")
    (package / "Data" / "a.mlmodel").write_bytes(b"program")
    items = {identifier: {"path": "a.mlmodel"}, f"{identifier}2": {"path": "b.bin"}}
    manifest = {"itemInfoEntries": items, "rootModelIdentifier": identifier}
    (package / "Manifest.json").write_text(json.dumps(manifest))
    return package


def test_one_program_gives_one_file(tmp_path: Path) -> None:
    made = []
    for place, identifier in (("one", "6F0A"), ("two", "B1C2")):
        package = written(tmp_path / place, identifier)
        coreml_package._name_items(package / "Manifest.json")
        coreml_package._zip(package, tmp_path / f"{place}.zip")
        made.append(tmp_path / f"{place}.zip")
    assert made[0].read_bytes() == made[1].read_bytes()
    with zipfile.ZipFile(made[0]) as archive:
        assert archive.namelist() == [
            f"model.mlpackage/{name}" for name in ("Data/a.mlmodel", "Data/b.bin", "Manifest.json")
        ]
        document = json.loads(archive.read("model.mlpackage/Manifest.json"))
    assert document["itemInfoEntries"][document["rootModelIdentifier"]] == {"path": "a.mlmodel"}


def test_weights_are_judged_by_the_worst() -> None:
    exact = {"a": np.ones((2, 2)), "b": np.full(4, 2.0)}
    assert compared(exact, exact) == {"compared": 2, "lowest_sqnr_db": None, "worst": ""}
    found = compared(exact, {"a": np.ones((2, 2)), "b": np.full(4, 1.8)})
    assert found["worst"] == "b"
    assert found["lowest_sqnr_db"] == pytest.approx(20.0)


@pytest.mark.parametrize("stored", [{}, {"a": np.ones(3)}])
def test_a_weight_that_is_not_there_is_named(stored: dict[str, np.ndarray]) -> None:
    with pytest.raises(Unusable, match=r"has not the weights 'a' of shape \(2, 2\)"):
        compared({"a": np.ones((2, 2))}, stored)


def test_weights_that_were_not_folded_are_counted() -> None:
    exact = {"const_1": np.arange(4.0), "const_2": np.zeros((2, 2)), "scale": np.float64(0.0)}
    assert unchanged(exact, {"head.bias": np.arange(4.0), "conv.weight": np.ones((2, 2))}) == 1
    assert unchanged(exact, {}) == 0


@pytest.mark.parametrize(
    ("name", "cut"),
    [
        ("const_5_to_fp16_palettized", "const_5"),
        ("head_weight_quantized", "head_weight"),
        ("head_bias_to_fp16", "head_bias"),
        ("to_fp16_head", "to_fp16_head"),
    ],
)
def test_names_are_those_of_the_float_program(name: str, cut: str) -> None:
    assert coreml_package._ENDING.sub("", name) == cut
