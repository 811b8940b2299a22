"""Which variants recipes mean: by format, by the engines that devices have, and what is not made at all."""

from collections.abc import Collection
from typing import Any

import pytest

from controller.compress.recipe import Recipe
from controller.compress.shipped import shipped_recipes
from controller.compress.variant import wanted_variants


def recipe(name: str, form: str, step: dict[str, Any], **changes: Any) -> Recipe:
    return Recipe.model_validate({"version": 1, "name": name, "formats": [form], "passes": [step], **changes})


PLAIN = recipe("float32", "onnx", {"simplify": {}})
LITE = recipe("tflite-float", "tflite", {"tflite_float": {}})
PROGRAM = recipe("executorch-int8", "executorch", {"converted": {"precision": "int8"}})
OLD = recipe("tflite-old", "tflite", {"tflite_float": {}}, engine="tflite-runtime")
SLOW = recipe("tflite-slow", "tflite", {"tflite_float": {}}, engine_options={"litert": {"xnnpack": False}})
OLDER = recipe("tflite-older", "tflite", {"tflite_float": {}}, engine_options={"tflite_runtime": {"xnnpack": False}})


@pytest.mark.parametrize(
    ("chosen", "engines", "names"),
    [
        (LITE, None, {"tflite-float": "litert"}),
        (LITE, {"litert"}, {"tflite-float": "litert"}),
        (LITE, {"tflite-runtime"}, {"tflite-float@tflite-runtime": "tflite-runtime"}),
        (
            LITE,
            {"litert", "tflite-runtime"},
            {"tflite-float": "litert", "tflite-float@tflite-runtime": "tflite-runtime"},
        ),
        (OLD, {"litert", "tflite-runtime"}, {"tflite-old": "tflite-runtime"}),
        (OLD, None, {"tflite-old": "tflite-runtime"}),
        (SLOW, {"litert", "tflite-runtime"}, {"tflite-slow": "litert"}),  # for the other it would be the plain twin
        (OLDER, {"litert", "tflite-runtime"}, {"tflite-older": "tflite-runtime"}),
        (PROGRAM, {"executorch"}, {"executorch-int8": "executorch"}),
        (PROGRAM, None, {"executorch-int8": "executorch"}),
    ],
)
def test_a_recipe_gives_a_variant_for_each_engine_that_devices_have(
    chosen: Recipe, engines: Collection[str] | None, names: dict[str, str]
) -> None:
    wanted, left_out = wanted_variants([chosen], ["onnx", "tflite"], engines)
    assert {one.name: one.engine for one in wanted} == names
    assert left_out == {}


def test_what_no_device_could_run_is_not_made_and_says_why() -> None:
    wanted, left_out = wanted_variants([PLAIN, LITE, PROGRAM], ["onnx", "tflite"], {"onnxruntime"})
    assert [one.name for one in wanted] == ["onnx-float32"]
    assert left_out == {
        "tflite-float": "no device has the engine litert or tflite-runtime",
        "executorch-int8": "no device has the engine executorch",
    }


def test_a_format_that_the_model_lacks_is_passed_over_unless_a_recipe_converts_to_it() -> None:
    assert wanted_variants([LITE], ["onnx"], {"litert"}) == ((), {})
    convert = recipe("tflite-made", "tflite", {"converted": {"precision": "float"}})
    wanted, _ = wanted_variants([LITE, convert], ["onnx"], {"litert"})
    assert [one.name for one in wanted] == ["tflite-float", "tflite-made"]
    int8 = recipe("tflite-int8", "tflite", {"converted": {"precision": "int8"}})
    assert [one.name for one in wanted_variants([LITE, int8], ["onnx"], {"litert"})[0]] == ["tflite-int8"]


def test_every_shipped_recipe_together_gives_names_that_differ() -> None:
    engines = {"onnxruntime", "litert", "tflite-runtime", "executorch"}
    wanted, left_out = wanted_variants(list(shipped_recipes().values()), ["onnx", "tflite"], engines)
    names = [one.name for one in wanted]
    assert len(set(names)) == len(names)
    assert {one.recipe.name for one in wanted} == set(shipped_recipes())
    assert {name for name in names if name.endswith("@tflite-runtime")} == {
        f"{one.name}@tflite-runtime" for one in wanted if one.engine == "litert"
    }
    assert left_out == {}


def test_a_fleet_without_executorch_makes_what_it_made_before() -> None:
    """The demo's classes: nothing is converted for them."""
    wanted, left_out = wanted_variants(list(shipped_recipes().values()), ["onnx", "tflite"], {"onnxruntime", "litert"})
    assert not [one for one in wanted if one.recipe.conversion]
    assert set(left_out) == {"executorch-float", "executorch-fp16", "executorch-int8"}
