"""Which recipes are accepted, and what each refusal says."""

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from controller.compress.recipe import Recipe, json_schema
from controller.compress.shipped import find_recipe, find_recipes, shipped_recipes
from controller.errors import ConfigurationError, NotFound


def recipe(**changes: Any) -> dict[str, Any]:
    return {"version": 1, "name": "mine", "formats": ["onnx"], "passes": [{"simplify": {}}], **changes}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"version": 2}, "version"),
        ({"name": "Not A Name"}, "name"),
        ({"formats": []}, "formats"),
        ({"formats": ["pte"]}, "formats.0"),
        ({"formats": ["onnx", "onnx"]}, "stands twice"),
        ({"passes": []}, "passes"),
        ({"surprise": 1}, "surprise"),
        ({"passes": [{"simplify": {}, "float16": {}}]}, "exactly one pass"),
        ({"passes": [{}]}, "exactly one pass"),
        ({"passes": [{"simplfy": {}}]}, "simplfy"),
        ({"passes": [{"simplify": {"depth": 3}}]}, "depth"),
        ({"passes": [{"simplify": {}}, {"simplify": {}}]}, "stands twice"),
        ({"passes": [{"float16": {}}, {"quantize_dynamic": {}}]}, "contradict each other"),
        ({"passes": [{"float16": {}}, {"simplify": {}}]}, "must be the last pass"),
        ({"passes": [{"tflite_quantize": {"mode": "static"}}]}, "takes tflite files"),
        ({"formats": ["onnx", "tflite"]}, "takes onnx files, formats says tflite"),
        ({"passes": [{"quantize_static": {"scheme": "s8u8"}}]}, "scheme"),
        (
            {"passes": [{"quantize_static": {"calibration": "minmax", "percentile": 99.9}}]},
            "set calibration: percentile",
        ),
        ({"passes": [{"quantize_static": {"calibration": "percentile", "percentile": 30}}]}, "percentile"),
        ({"passes": [{"quantize_static": {"samples": 0}}]}, "samples"),
        ({"engine_options": {"litert": {"xnnpack": True}}}, "litert runs tflite, which is not among formats"),
        ({"engine_options": {"onnxruntime": {"threads": 4}}}, "threads"),
        ({"engine_options": {"tensorrt": {}}}, "tensorrt"),
        ({"formats": ["tflite"], "passes": [{"tflite_quantize": {"mode": "dynamic", "samples": 9}}]}, "leave them out"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Recipe.model_validate(recipe(**changes))
    faults = json.dumps(refused.value.errors(include_url=False), default=str)
    where = ".".join(str(step) for step in refused.value.errors()[0]["loc"])
    assert says in faults or says in where


def test_engine_options_leave_out_what_is_not_set() -> None:
    chosen = Recipe.model_validate(recipe(engine_options={"onnxruntime": {"memory_arena": False}}))
    assert chosen.options_of("onnxruntime") == {"memory_arena": False}
    assert chosen.options_of("litert") == {}


def test_parameters_hold_the_defaults() -> None:
    step = Recipe.model_validate(recipe(passes=[{"quantize_static": {"scheme": "s8s8"}}])).passes[0]
    assert step.name == "quantize_static"
    assert step.parameters["per_channel"] is True
    assert step.parameters["calibration"] == "minmax"


@pytest.mark.parametrize(
    ("name", "form", "variant"),
    [
        ("float32", "onnx", "onnx-float32"),
        ("tflite-float", "tflite", "tflite-float"),
        ("int8", "tflite", "tflite-int8"),
    ],
)
def test_a_variant_is_named_after_format_and_recipe(name: str, form: str, variant: str) -> None:
    assert Recipe.model_validate(recipe(name=name)).variant_name(form) == variant


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"onnxruntime": {"provider": "dml"}}, "provider"),
        ({"onnxruntime": {"provider_options": {"device_id": 0}}}, "no provider that they would be for"),
        ({"litert": {"delegate": "library"}}, "belong together"),
        ({"litert": {"delegate": "gpu", "delegate_library": "/usr/lib/libx.so"}}, "belong together"),
        ({"litert": {"delegate": "library", "delegate_library": "libx.so"}}, "delegate_library"),
        ({"litert": {"delegate_options": {"a": "b"}}}, "no delegate that they would be for"),
        ({"tflite_runtime": {"xnnpack": False}}, "say engine: tflite-runtime"),
    ],
)
def test_engine_options_that_do_not_go_together_are_refused(options: dict[str, Any], fault: str) -> None:
    form = "onnx" if "onnxruntime" in options else "tflite"
    passes: list[dict[str, Any]] = [{"simplify": {}}] if form == "onnx" else [{"tflite_float": {}}]
    with pytest.raises(ValidationError, match=fault):
        Recipe.model_validate(recipe(formats=[form], passes=passes, engine_options=options))


def test_a_recipe_names_another_engine_of_its_format() -> None:
    older = recipe(
        formats=["tflite"],
        passes=[{"tflite_float": {}}],
        engine="tflite-runtime",
        engine_options={"tflite_runtime": {"xnnpack": False}},
    )
    assert Recipe.model_validate(older).options_of("tflite-runtime") == {"xnnpack": False}
    with pytest.raises(ValidationError, match="engine: onnxruntime runs onnx, formats says tflite"):
        Recipe.model_validate({**older, "engine": "onnxruntime", "engine_options": {}})


def test_the_options_of_an_engine_are_those_that_the_agent_takes() -> None:
    """The two sides import nothing of each other: what one offers, the other must accept."""
    from agent.inference.engines import delegates, providers
    from agent.inference.engines.litert import LiteRtEngine
    from agent.inference.engines.onnxruntime import DEFAULTS
    from agent.inference.engines.table import TABLE
    from agent.inference.engines.tflite_runtime import TfliteRuntimeEngine
    from controller.compress import recipe as offered

    assert set(get_args(offered.EngineName)) == set(TABLE)
    assert set(get_args(offered.ExecutionProvider)) == set(providers.PROVIDERS)
    assert set(offered.OnnxRuntimeOptions.model_fields) == set(DEFAULTS)
    assert set(offered.LiteRtOptions.model_fields) == set(LiteRtEngine.defaults)
    assert set(offered.TfliteRuntimeOptions.model_fields) == set(TfliteRuntimeEngine.defaults)
    kinds = get_args(get_args(offered.LiteRtOptions.model_fields["delegate"].annotation)[0])
    assert set(kinds) == set(delegates.NAMES)


def test_the_schema_knows_every_pass() -> None:
    schema = json_schema()
    assert set(schema["$defs"]["PassStep"]["properties"]) == {
        *("simplify", "float16", "quantize_static", "quantize_dynamic", "tflite_float", "tflite_quantize")
    }
    assert schema["$defs"]["PassStep"]["maxProperties"] == 1
    assert schema["additionalProperties"] is False


def test_the_shipped_recipes_are_complete_and_named_as_their_files() -> None:
    shipped = shipped_recipes()
    assert {"float32", "float16", "int8-dynamic", "tflite-float", "tflite-int8-static"} <= set(shipped)
    schemes = {step.parameters["scheme"] for one in shipped.values() for step in one.passes if step.quantize_static}
    assert schemes == {"u8s8", "s8s8", "u8u8"}
    folder = Path(__file__).parents[4] / "configs" / "recipes"
    assert {path.stem for path in folder.glob("*.yaml")} == set(shipped)


def test_all_means_every_shipped_recipe_once() -> None:
    assert find_recipes(["float16", "all"])[0].name == "float16"
    assert len(find_recipes(["float16", "all"])) == len(shipped_recipes())


def test_an_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(NotFound, match="float16"):
        find_recipe("int4")


def test_a_recipe_of_ones_own_lies_beside_the_fleet_file(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("version: 1\nname: mine\nformats: [onnx]\npasses: [{float16: {}}]\n")
    assert find_recipe("mine.yaml", relative_to=tmp_path).pass_names == ("float16",)


def test_two_recipes_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("version: 1\nname: float16\nformats: [onnx]\npasses: [{simplify: {}}]\n")
    with pytest.raises(ConfigurationError, match="two different recipes are called 'float16'"):
        find_recipes(["float16", "mine.yaml"], relative_to=tmp_path)


def test_a_faulty_recipe_file_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("version: 1\nname: mine\nformats: [onnx]\npasses:\n  - {simplfy: {}}\n")
    with pytest.raises(ConfigurationError, match=r"mine\.yaml:5"):
        find_recipe("mine.yaml", relative_to=tmp_path)
