"""The pass `derive` on the reference models and on models with little to derive from."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from pydantic import ValidationError

from controller.compress.build import EVERYTHING
from controller.compress.cache import PassCache
from controller.compress.passes import find_pass
from controller.compress.passes.base import Artifact, PassContext
from controller.compress.passes.students.derive import DerivePass
from controller.compress.passes.students.parameters import Derive
from controller.compress.recipe import PassStep
from controller.compress.shipped import find_recipe
from controller.compress.weights.operators import values_of, weighted
from controller.convert.onnx_io import onnx_signature
from controller.errors import UnusableModel
from controller.models.graph import measure_graph
from tests.unit.controller.compress.channels import small_networks as small

MODELS = Path(__file__).parents[5] / "models"


def file_of(name: str) -> Path:
    return MODELS / name / f"{name}.onnx"


def derive(path: Path, folder: Path, **given: Any) -> Artifact:
    parameters = PassStep.model_validate({"derive": given}).parameters
    return find_pass("derive").run(Artifact("onnx", path), parameters, PassContext(folder, PassCache(folder / "cache")))


def made_by(path: Path) -> list[int]:
    model = onnx.load(path)
    return [values_of(model, each.weight).shape[each.made] for each in weighted(model)]


def check_runs(path: Path, baseline: Path) -> None:
    """The student loads, and takes and gives what the baseline does, one query or several."""
    assert onnx_signature(onnx.load(path)) == onnx_signature(onnx.load(baseline))
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (entry,), (end,) = session.get_inputs(), session.get_outputs()
    for count in (1, 3):
        x = np.random.default_rng(0).normal(size=(count, *entry.shape[1:])).astype(np.float32)
        assert session.run(None, {entry.name: x})[0].shape == (count, *end.shape[1:])


def test_leaf_outline_becomes_a_separable_student(tmp_path: Path) -> None:
    made = derive(file_of("leaf_outline"), tmp_path, width=0.25, separable=True, early_stride=4)
    check_runs(made.path, file_of("leaf_outline"))
    depthwise_and_pointwise = [16, 16, 16, 16, 16]
    assert made_by(made.path)[:5] == depthwise_and_pointwise
    assert sorted(set(made_by(made.path))) == [6, 16, 32]
    baseline, student = (measure_graph(onnx.load(path)) for path in (file_of("leaf_outline"), made.path))
    # Without what folds away when it is exported again: two numbers a channel of each normalisation.
    assert student.parameters < 10_500
    assert baseline.macs > 200 * student.macs
    counted = f"parameters {baseline.parameters:,} -> {student.parameters:,}, multiply-accumulates {baseline.macs:,}"
    first, *others = made.notes
    assert first.endswith("along each axis, strides of the stem (node_Conv_191, node_Conv_178) times 4")
    assert others == [
        "width 0.25, multiples of 8: channels 64 -> 16 (3 times), 128 -> 32 (5 times)",
        "separable: 8 of 11 convolutions made depthwise and pointwise, weights fresh",
        "normalise: batch normalisation behind 11 of 19 convolutions, which had none",
        "weights: fresh, He-normal, seed 0",
        f"{counted} -> {student.macs:,}",
        "not trained yet",
    ]


def test_the_last_block_of_leaf_outline_repeats(tmp_path: Path) -> None:
    made = derive(file_of("leaf_outline"), tmp_path, depth=0.5, weights="inherited")
    check_runs(made.path, file_of("leaf_outline"))
    assert made.notes[0] == "depth 0.5: 1 of 1 blocks left out: blocks.2"
    kept = {each.weight for each in weighted(onnx.load(made.path))}
    assert not any(name.startswith("blocks.2.") for name in kept)
    old, new = onnx.load(file_of("leaf_outline")), onnx.load(made.path)
    for name in kept:
        np.testing.assert_array_equal(values_of(old, name), values_of(new, name))


@pytest.mark.parametrize("stride", [{}, {"early_stride": 2}, {"early_stride": 2, "later_strides": "reduced"}])
def test_fashion_becomes_ten_times_cheaper(tmp_path: Path, stride: dict[str, Any]) -> None:
    made = derive(file_of("fashion"), tmp_path, width=0.5, separable=True, **stride)
    check_runs(made.path, file_of("fashion"))
    assert made_by(made.path) == [16, 16, 24, 24, 48, 10]
    baseline, student = (measure_graph(onnx.load(path)) for path in (file_of("fashion"), made.path))
    assert baseline.macs > 14 * student.macs
    assert baseline.parameters > 15 * student.parameters


def test_soil_carbon_has_widths_alone(tmp_path: Path) -> None:
    made = derive(file_of("soil_carbon"), tmp_path, width=0.25)
    check_runs(made.path, file_of("soil_carbon"))
    assert made_by(made.path) == [16, 8, 1]
    for given, reason in (
        ({"separable": True}, "separable: none of 0 convolutions"),
        ({"early_stride": 2}, "early_stride needs convolutions that read the input first, and Gemm node_linear does"),
        ({"depth": 0.5}, "depth: no block repeats"),
    ):
        with pytest.raises(UnusableModel, match=reason):
            derive(file_of("soil_carbon"), tmp_path, width=0.25, **given)


def test_a_model_of_one_convolution(tmp_path: Path) -> None:
    net = small.Network()
    onnx.save(net.model(net.add("GlobalAveragePool", net.conv("x", 3, 4))), tmp_path / "one.onnx")
    made = derive(tmp_path / "one.onnx", tmp_path, early_stride=2)
    check_runs(made.path, tmp_path / "one.onnx")
    assert made_by(made.path) == [4]
    assert "normalise: batch normalisation nowhere missing" in made.notes
    for given in ({"width": 0.5}, {"separable": True}, {"depth": 0}):
        with pytest.raises(UnusableModel, match=next(iter(given))):
            derive(tmp_path / "one.onnx", tmp_path, **given)


def test_what_a_search_offers_is_valid_together_and_nothing_at_all_is_refused(tmp_path: Path) -> None:
    space = find_pass("derive").space(EVERYTHING)
    for place in range(max(map(len, space.values()))):
        Derive.model_validate({name: values[min(place, len(values) - 1)] for name, values in space.items()})
    nothing = {"width": 1.0, "separable": False, "early_stride": 1, "depth": 1.0}
    with pytest.raises(UnusableModel, match="nothing gets smaller"):
        derive(file_of("fashion"), tmp_path, **nothing)


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("leaf_outline", ((False, True), ("kept",), (1, 2, 4, 8), ("kept", "strided"), (0.0, 0.5, 1.0), (False, True))),
        ("fashion", ((False, True), ("kept", "strides"), (1, 2, 4), ("kept",), (1.0,), (False,))),
        ("soil_carbon", ((False,), ("kept",), (1,), ("kept",), (1.0,), (False,))),
    ],
)
def test_a_search_is_offered_what_the_model_allows(name: str, allowed: tuple[Any, ...]) -> None:
    chosen = find_pass("derive")
    assert isinstance(chosen, DerivePass)
    space = chosen.space_of(EVERYTHING, Artifact("onnx", file_of(name)))
    assert tuple(space[key] for key in ("separable", "pools", "early_stride", "stages", "depth", "planar")) == allowed
    assert space["later_strides"] == (("kept", "reduced") if name == "fashion" else ("kept",))
    assert space["stride_at"] == (("stem",) if name == "soil_carbon" else ("stem", "input"))
    assert space["width"] == (0.125, 0.25, 0.375, 0.5, 0.75, 1.0)
    assert space["weights"] == ("fresh", "inherited")


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({}, "nothing gets smaller: give width"),
        ({"separable": True, "stride_at": "input"}, "stride_at means nothing without early_stride"),
        ({"separable": True, "round_to": 4}, "round_to means nothing without width"),
        ({"width": 0.1}, "greater than or equal to 0.125"),
        ({"early_stride": 3}, "Input should be 1, 2, 4 or 8"),
        ({"widht": 0.5}, "Extra inputs are not permitted"),
    ],
)
def test_contradictory_and_unknown_parameters_are_refused(given: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        Derive.model_validate(given)


def test_only_float_onnx_goes_in_and_the_shipped_recipe_derives() -> None:
    chosen = find_pass("derive")
    assert chosen.applies(EVERYTHING, Artifact("onnx", Path("m.onnx"))) is None
    assert "float32" in (chosen.applies(EVERYTHING, Artifact("onnx", Path("m.onnx"), "int8")) or "")
    assert "onnx" in (chosen.applies(EVERYTHING, Artifact("tflite", Path("m.tflite"))) or "")
    plain = ("student-separable", "student-fewer-places", "student-int8")
    for name in (*plain, "student-tiny", "student-series", "student-strides"):
        recipe = find_recipe(name)
        assert recipe.pass_names[:3] == ("simplify", "derive", "distill")
        assert not recipe.in_all
