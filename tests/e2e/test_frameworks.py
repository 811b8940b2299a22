"""Keras, PyTorch and a bare TFLite file come to devices as `docs/frameworks.md` says; pruned weights stay zeros.

The page is run as it stands, each section by a test, in its order; two agents with both engines take part. Long: it
trains and converts in the converter environments, and three deploys measure on the agents.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from controller.broker.embedded import free_port
from controller.convert.environments import environment
from controller.convert.tflite import constant, parse_tflite
from controller.models.folder import ModelFolder
from tests.e2e.pages import Terminal, blocks_of
from tests.e2e.world import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.alone, pytest.mark.long, pytest.mark.timeout(1800)]

PAGE, DEVICES = "frameworks.md", ("pi-1", "pi-2")
BEFORE = {"The data", "The fleet"}
ENGINES = "engines_allowed: [onnxruntime, litert]"


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory, kernel_cache: Path) -> Iterator[Terminal]:
    """A folder with workspace, broker and agents, the data and the fleet file: all that the sections share."""
    found = {name: environment(name) for name in ("tensorflow", "torch")}
    if missing := [name for name, one in found.items() if one is None]:
        pytest.skip(f"needs the converter environments {', '.join(missing)}: controller model converters install NAME")
    pythons = {name: one.python for name, one in found.items() if one is not None}
    each = Terminal(tmp_path_factory.mktemp("frameworks"), free_port(), pythons, patience_s=900)
    try:
        _set_up(each, kernel_cache)
        yield each
    finally:
        each.stop()


def _set_up(terminal: Terminal, kernels: Path) -> None:
    """Do steps 1 and 2 of the tutorial with both engines, as the page asks, and what all its sections need.

    Kernels that this session has compiled are not compiled again.
    """
    assert ENGINES in (ROOT / "docs" / PAGE).read_text(encoding="utf-8")
    for block in blocks_of("tutorial.md"):
        if block.section.startswith(("1.", "2.")):
            text = block.text.replace("engines_allowed: [onnxruntime]", ENGINES)
            text = text.replace("cache_dir: kernels", f"cache_dir: {kernels}")
            assert block.kind != "yaml" or (ENGINES in text and str(kernels) in text)
            terminal.follow(type(block)(block.kind, text, block.section, block.file, block.where))
    for block in blocks_of(PAGE):
        if block.section in BEFORE:
            terminal.follow(block)
    shutil.copy(ROOT / "docs" / "examples" / "keras_pruning.py", terminal.folder)


def follow(terminal: Terminal, section: str) -> str:
    """Follow one section of the page; return everything that its commands said."""
    blocks = [block for block in blocks_of(PAGE) if block.section == section]
    assert blocks, f"{PAGE} has no section {section!r}"
    return "\n".join(terminal.follow(block) for block in blocks)


def model(terminal: Terminal, name: str) -> ModelFolder:
    return ModelFolder.load(terminal.folder / ".thresher" / "models" / name / "1")


def served(terminal: Terminal, identity: str, formats: set[str]) -> Mapping[str, Any]:
    """Check that both devices serve the chosen variant, measured and judged; return the report."""
    report: dict[str, Any] = json.loads(terminal.run("controller report latest --json"))
    (choice,) = report["choices"]
    variants = {each["variant"]: each for each in report["variants"]}
    chosen = variants[choice["variant"]]
    assert "{model}@{model_version}".format(**report["deployment"]) == identity
    assert {each["device"]: each["active"] for each in report["attested"]} == dict.fromkeys(DEVICES, chosen["bundle"])
    measured = {each["variant"] for each in report["trials"] if each["outcome"] == "measured"}
    assert choice["variant"] in measured
    assert {variants[name]["format"] for name in measured} == formats
    assert {"tflite-float", "tflite-int8-converted"} <= measured
    assert chosen["offline"]["metrics"]["accuracy"] > 0.9
    return report


# --- Keras -------------------------------------------------------------------------------------------------------


def test_a_keras_model_becomes_onnx_and_tflite_float_and_int8_and_is_deployed(terminal: Terminal) -> None:
    said = follow(terminal, "Keras")
    assert "it ends in Softmax: what it gives counts as probabilities" in said
    found = model(terminal, "digits")
    assert found.spec.post["activation"] == "none"
    assert set(found.spec.formats) == {"onnx", "tflite"}
    for target in ("tflite", "onnx"):
        kept = found.converted(target, "int8").conversion
        assert kept.parity is not None
        assert kept.parity.top1_agreement_ratio is not None
        assert kept.parity.top1_agreement_ratio > 0.9
    assert found.converted("tflite", "int8").conversion.source == "tensorflow"
    served(terminal, "digits@1", {"onnx", "tflite"})


def test_half_of_a_pruned_models_weights_are_zeros_in_every_file_made_of_it(terminal: Terminal) -> None:
    said = follow(terminal, "Keras, pruned")
    ratios = [float(line.split()[2]) for line in said.splitlines() if line.startswith("sparsity ")]
    assert len(ratios) == 3  # two convolutions and a dense layer; the last one is left alone
    assert ratios == pytest.approx([0.5] * 3, abs=0.01)
    before, after = (float(line.rpartition(" ")[2]) for line in said.splitlines() if line.startswith("accuracy "))
    assert after > before - 0.03
    pruned = model(terminal, "pruned")
    for weights in (onnx_weights(pruned.file("onnx")), tflite_weights(pruned.file("tflite"))):
        assert zeros(weights) == pytest.approx([0.5] * 3, abs=0.01)
    # Small weights round to zero as well, so there are more of them, and none of the zeros has gone.
    int8 = zeros(tflite_weights(pruned.converted("tflite", "int8").path))
    assert len(int8) == 3
    assert min(int8) >= 0.49
    whole = zeros(tflite_weights(model(terminal, "digits").file("tflite")))
    assert max(whole) < 0.01  # what was not pruned has none


SIZES = (16 * 9, 32 * 16 * 9, 512 * 64)
"""Weights of the layers that are pruned: those of the last one, 640, are left out."""


def zeros(weights: list[NDArray[Any]]) -> list[float]:
    """Return the ratio of zeros of each pruned layer's weights."""
    by_size = {each.size: each for each in weights}
    return [float(np.mean(by_size[size] == 0)) for size in SIZES]


def onnx_weights(path: Path) -> list[NDArray[Any]]:
    return [numpy_helper.to_array(each) for each in onnx.load(path).graph.initializer]


def tflite_weights(path: Path) -> list[NDArray[Any]]:
    parsed = parse_tflite(path.read_bytes(), path)
    found = (constant(parsed, tensor) for tensor in parsed.subgraphs[0].tensors)
    return [each for each in found if each is not None]


# --- PyTorch and TFLite ------------------------------------------------------------------------------------------


def test_a_torch_module_and_an_exported_program_are_imported_and_the_module_is_deployed(terminal: Terminal) -> None:
    said = follow(terminal, "PyTorch")
    assert "digits-program@1" in said
    found = model(terminal, "digits-torch")
    assert found.spec.post["activation"] == "softmax"
    assert set(found.formats) == {"onnx", "tflite"}
    assert found.converted("tflite", "int8").conversion.source == "torch"
    served(terminal, "digits-torch@1", {"onnx", "tflite"})


def test_a_bare_tflite_file_is_deployed_as_it_is_or_quantised(terminal: Terminal) -> None:
    follow(terminal, "A bare TFLite file")
    found = model(terminal, "digits-lite")
    assert set(found.formats) == {"tflite"}
    assert found.file("tflite").read_bytes() == (terminal.folder / "digits.tflite").read_bytes()
    assert found.converted("tflite", "int8").conversion.source == "tflite"
    served(terminal, "digits-lite@1", {"tflite"})
