"""The fusion audit tells a graph that runs in integers from one that does not."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from controller.compress.cache import PassCache
from controller.compress.fusion import FusionAudit, Inspection, audit_onnx, count_operators, inspect_file
from controller.compress.passes import find_pass
from controller.compress.passes.base import Artifact, PassContext
from controller.compress.recipe import PassStep
from controller.errors import UnusableModel
from tests.unit.controller.compress.small_models import conv_model, series
from tests.unit.controller.compress.small_tflite import write_tflite
from tests.unit.controller.convert.small_programs import write_program


@pytest.mark.parametrize(
    ("operators", "quantised", "floats", "conversions", "ratio"),
    [
        ({"Conv": 3, "Gemm": 1, "Relu": 3}, 0, 4, 0, 0.0),
        ({"QLinearConv": 3, "QGemm": 1, "QuantizeLinear": 1, "DequantizeLinear": 1}, 4, 0, 2, 1.0),
        ({"QLinearConv": 1, "Conv": 3, "QuantizeLinear": 4, "DequantizeLinear": 4}, 1, 3, 8, 0.25),
        ({"Relu": 2}, 0, 0, 0, 0.0),
    ],
)
def test_counts(operators: dict[str, int], quantised: int, floats: int, conversions: int, ratio: float) -> None:
    audit = count_operators(operators)
    assert (audit.quantised, audit.float_, audit.conversions) == (quantised, floats, conversions)
    assert audit.quantised_ratio == ratio


def test_integer_convolutions_are_warned_of() -> None:
    assert "several times slower" in count_operators({"ConvInteger": 2}).warning
    assert count_operators({"QLinearConv": 2}).warning == ""


def quantised(step: dict[str, Any], folder: Path) -> Path:
    onnx.save(conv_model(), folder / "float.onnx")
    np.save(folder / "calibration.npy", series(32, seed=2)[0])
    out = folder / "out"
    out.mkdir()
    chosen = PassStep.model_validate(step)
    context = PassContext(out, PassCache(folder / "cache"), folder / "calibration.npy", "x")
    return find_pass(chosen.name).run(Artifact("onnx", folder / "float.onnx"), chosen.parameters, context).path


def test_the_engine_runs_a_u8s8_graph_in_integers(tmp_path: Path) -> None:
    audit = audit_onnx(quantised({"quantize_static": {"scheme": "u8s8"}}, tmp_path))
    assert (audit.quantised, audit.float_) == (3, 0)


def test_the_engine_runs_the_float_graph_in_float(tmp_path: Path) -> None:
    onnx.save(conv_model(), tmp_path / "float.onnx")
    audit = audit_onnx(tmp_path / "float.onnx")
    assert (audit.quantised, audit.float_) == (0, 3)


def test_an_inspection_survives_json(tmp_path: Path) -> None:
    onnx.save(conv_model(), tmp_path / "float.onnx")
    found = Inspection.from_facts(inspect_file("onnx", tmp_path / "float.onnx"))
    assert isinstance(found.fusion, FusionAudit)
    assert found.macs > 0
    assert found.uncounted == ()


def test_a_tflite_file_is_counted_by_its_own_operators(tmp_path: Path) -> None:
    found = Inspection.from_facts(inspect_file("tflite", write_tflite(tmp_path / "m.tflite")))
    assert (found.parameters, found.macs, found.fusion.float_) == (4 * 16 + 4, 4 * 16, 1)


def test_a_graph_that_the_engine_refuses_is_unusable(tmp_path: Path) -> None:
    model = conv_model()
    model.graph.node[0].op_type = "NoSuchOperator"
    onnx.save(model, tmp_path / "broken.onnx")
    with pytest.raises(UnusableModel, match="ONNX Runtime does not load it"):
        audit_onnx(tmp_path / "broken.onnx")


def test_a_program_shows_its_blocks_and_not_what_is_in_them(tmp_path: Path) -> None:
    facts = inspect_file("executorch", write_program(tmp_path / "m.pte"))
    assert facts["operators"] == {"XnnpackBackend": 1, "aten::relu": 1}
    assert facts["uncounted"] == ["XnnpackBackend: a block of a backend, whose parameters and MACs it keeps"]
    assert Inspection.from_facts(facts).fusion.quantised_ratio == 0.0
