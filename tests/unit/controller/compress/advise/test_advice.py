"""Advice follows from facts: each rule on both sides of its threshold, and the facts by hand."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from controller.compress.advise.devices import Runner, advise_devices
from controller.compress.advise.facts import Facts, facts_of
from controller.compress.advise.gather import gathered
from controller.compress.advise.words import advise
from controller.compress.shipped import shipped_recipes
from controller.errors import UnusableModel
from controller.models.folder import ModelFolder
from tests.unit.controller.compress.small_models import MODEL_YAML, write_folder

FACTS = Facts(
    parameters=100_000,
    macs=5_000_000,
    disk_bytes=400_000,
    convolution_ratio=0.9,
    depthwise_ratio=0.0,
    product_ratio=0.1,
    largest={"w": 50_000},
    channels=(64, 32),
    rank_ratio=0.9,
    range_spread=2.0,
    samples=5_000,
    labelled=True,
    sensitivity={"stem": 12.0, "head": 40.0},
    int8_db=11.0,
)


@pytest.mark.parametrize(
    ("method", "change", "fit"),
    [
        ("static int8", {"int8_db": 30.0}, "yes"),
        ("static int8", {}, "maybe"),
        ("static int8", {"int8_db": None, "why_not": "no samples"}, "no"),
        ("static int8", {"int8_db": 30.0, "recurrent": ("GRU",)}, "maybe"),
        ("mixed precision", {}, "yes"),
        ("mixed precision", {"int8_db": 25.0}, "no"),
        ("adaptive rounding and quantisation-aware training", {}, "yes"),
        ("adaptive rounding and quantisation-aware training", {"int8_db": 40.0}, "no"),
        ("equalising channels", {}, "no"),
        ("equalising channels", {"range_spread": 20.0}, "maybe"),
        ("dynamic int8", {}, "no"),
        ("dynamic int8", {"convolution_ratio": 0.1}, "yes"),
        ("4-bit weights", {}, "no"),
        ("4-bit weights", {"product_ratio": 0.9}, "yes"),
        ("a smaller student, distilled", {}, "yes"),
        ("a smaller student, distilled", {"samples": 0}, "no"),
        ("a smaller student, distilled", {"macs": 1_000}, "no"),
        ("taking channels out", {}, "yes"),
        ("taking channels out", {"channels": (8, 8)}, "no"),
        ("taking channels out", {"samples": 0}, "maybe"),
        ("low rank", {}, "no"),
        ("low rank", {"rank_ratio": 0.4}, "yes"),
    ],
)
def test_each_rule_on_both_sides(method: str, change: dict[str, Any], fit: str) -> None:
    (found,) = [each for each in advise(replace(FACTS, **change)) if each.method == method]
    assert found.fit == fit
    assert found.because


def test_what_fits_comes_first_and_recipes_are_shipped() -> None:
    rows = advise(FACTS)
    assert [each.fit for each in rows] == sorted((each.fit for each in rows), key=["yes", "maybe", "no"].index)
    assert {each.recipe for each in rows} - {""} <= set(shipped_recipes())


def test_the_most_sensitive_operators_are_named() -> None:
    (found,) = [each for each in advise(FACTS) if each.method == "mixed precision"]
    assert found.because == "most is lost in stem (12.0 dB), head (40.0 dB): leave these float"


def test_facts_by_hand() -> None:
    """A product of rank 1 (4 by 6: factors hold 10 of 24 values) behind a convolution of 2 channels of 3 values."""
    product = np.outer([1.0, 2.0, 3.0, 30.0], np.ones(6)).astype(np.float32)
    kernel = np.array([[[1.0, 0, 0]], [[0, 0, 4.0]]], np.float32)
    operators = [
        helper.make_node("Conv", ["x", "kernel"], ["c"], pads=[1, 1]),
        helper.make_node("Flatten", ["c"], ["f"]),
        helper.make_node("MatMul", ["f", "product"], ["y"]),
    ]
    graph = helper.make_graph(
        operators,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 6])],
        [numpy_helper.from_array(kernel, "kernel"), numpy_helper.from_array(product, "product")],
    )
    facts = facts_of(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), 1234, samples=7)
    assert (facts.parameters, facts.macs, facts.disk_bytes, facts.samples) == (30, 4 * 3 + 24, 1234, 7)
    assert (facts.convolution_ratio, facts.product_ratio) == (6 / 30, 24 / 30)
    assert facts.rank_ratio == (10 + 6) / 30  # of the kernel one rank holds 94 %, and two hold more values than it
    assert facts.range_spread == pytest.approx(4 / 2.5)
    assert dict(facts.largest) == {"product": 24, "kernel": 6}


def test_of_a_folder_with_samples(tmp_path: Path) -> None:
    model = ModelFolder.load(write_folder(tmp_path / "model"))
    facts = gathered(model, tmp_path / "cache", tmp_path / "samples")
    assert set(facts.sensitivity) == {"conv_1", "conv_2", "head_1"}
    assert facts.int8_db is not None
    assert facts.int8_db <= min(facts.sensitivity.values()) + 3
    assert (facts.samples, facts.labelled, facts.answers) == (120, True, "classes")


def test_of_a_folder_without_samples_the_rest_is_still_said(tmp_path: Path) -> None:
    yaml = "\n".join(line for line in MODEL_YAML.splitlines() if not line.startswith("data"))
    facts = gathered(ModelFolder.load(write_folder(tmp_path / "model", yaml)), tmp_path / "c", tmp_path / "s")
    assert facts.int8_db is None
    assert "names no labelled samples" in facts.why_not
    assert {each.method: each.fit for each in advise(facts)}["taking channels out"] == "maybe"


def test_a_quantised_model_is_refused(tmp_path: Path) -> None:
    from onnxruntime.quantization import quantize_dynamic

    root = write_folder(tmp_path / "model")
    quantize_dynamic(root / "small.onnx", root / "small.onnx")
    with pytest.raises(UnusableModel, match="advice is on float models"):
        gathered(ModelFolder.load(root), tmp_path / "c", tmp_path / "s")


def test_processors_are_told_apart() -> None:
    engines = frozenset({"onnxruntime"})
    lines = advise_devices(
        [
            Runner("x86_64", frozenset({"avx2", "avx_vnni"}), engines),
            Runner("x86_64", frozenset({"avx2"}), engines),
            Runner("x86_64", frozenset({"avx2"}), frozenset({"litert"})),
            Runner("aarch64", frozenset({"asimd"}), engines),
            Runner("aarch64", frozenset({"asimd", "asimddp", "fphp", "asimdhp"}), engines),
        ]
    )
    assert lines[0].startswith("2 of 5 devices: x86 without VNNI: u8s8 saturates")
    assert any(line.startswith("1 of 5 devices: ARM without dot products") for line in lines)
    assert any("float16 may be faster" in line for line in lines)
    assert lines[-1] == "engines: onnxruntime on 4, litert on 1"
