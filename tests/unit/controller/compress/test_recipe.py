"""Which recipes are accepted, and what each refusal says."""

import json
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import ValidationError

from controller.compress.engine_options import RUNS, EngineName
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
        ({"engine_options": {"onnxruntime": {"threads": 0}}}, "threads"),
        ({"engine_options": {"onnxruntime": {"threads": 65}}}, "threads"),
        ({"passes": [{"simplify": {}}, {"converted": {"precision": "float"}}]}, "must be the first pass"),
        ({"passes": [{"converted": {"precision": "int8"}}, {"simplify": {}}]}, "must be the last pass"),
        ({"passes": [{"converted": {"precision": "fp16"}}, {"float16": {}}]}, "contradict each other"),
        ({"passes": [{"converted": {"precision": "pal4"}}]}, "precision"),
        ({"passes": [{"converted": {}}]}, "precision"),
        (
            {"formats": ["coreml"], "passes": [{"converted": {"precision": "fp16"}}]},
            "converted takes onnx, tflite, executorch files, formats says coreml",
        ),
        ({"formats": ["executorch"], "passes": [{"simplify": {}}]}, "takes onnx files, formats says executorch"),
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
        ({"onnxruntime": {"provider": "library"}}, "belong together"),
        ({"onnxruntime": {"provider": "qnn", "provider_library": "/usr/lib/libx.so"}}, "belong together"),
        ({"onnxruntime": {"provider": "library", "provider_library": "libx.so"}}, "provider_library"),
        ({"litert": {"delegate": "library"}}, "belong together"),
        ({"litert": {"delegate": "gpu", "delegate_library": "/usr/lib/libx.so"}}, "belong together"),
        ({"litert": {"delegate": "library", "delegate_library": "libx.so"}}, "delegate_library"),
        ({"litert": {"delegate_options": {"a": "b"}}}, "no delegate that they would be for"),
    ],
)
def test_engine_options_that_do_not_go_together_are_refused(options: dict[str, Any], fault: str) -> None:
    form = "onnx" if "onnxruntime" in options else "tflite"
    passes: list[dict[str, Any]] = [{"simplify": {}}] if form == "onnx" else [{"tflite_float": {}}]
    with pytest.raises(ValidationError, match=fault):
        Recipe.model_validate(recipe(formats=[form], passes=passes, engine_options=options))


@pytest.mark.parametrize(
    ("changes", "engines"),
    [
        ({}, ("litert", "tflite-runtime")),
        ({"engine": "tflite-runtime"}, ("tflite-runtime",)),
        ({"engine_options": {"tflite_runtime": {"threads": 1}}}, ("tflite-runtime",)),
        (
            {"engine_options": {"litert": {"threads": 2}, "tflite_runtime": {"threads": 1}}},
            ("litert", "tflite-runtime"),
        ),
    ],
)
def test_a_recipe_is_for_every_engine_of_its_format_or_for_those_that_it_speaks_of(
    changes: dict[str, Any], engines: tuple[str, ...]
) -> None:
    lite = recipe(formats=["tflite"], passes=[{"tflite_float": {}}], **changes)
    assert Recipe.model_validate(lite).engines_of("tflite") == engines


@pytest.mark.parametrize("engine", get_args(EngineName))
def test_every_engine_can_be_told_how_many_threads(engine: str) -> None:
    step = {"converted": {"precision": "float"}}
    options = {engine.replace("-", "_"): {"threads": 2}}
    made = Recipe.model_validate(recipe(formats=[RUNS[engine]], passes=[step], engine_options=options))
    assert made.options_of(engine) == {"threads": 2}
    assert made.conversion == "float"


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
    with pytest.raises(ValidationError, match="tflite-runtime is not the engine of this recipe, which is litert"):
        Recipe.model_validate({**older, "engine": "litert"})


def test_the_options_of_an_engine_are_those_that_the_agent_takes() -> None:
    """The two sides import nothing of each other: what one offers, the other must accept."""
    from agent.inference.engines import delegates, executorch, providers
    from agent.inference.engines.base import MOST_THREADS, THREADS
    from agent.inference.engines.litert import LiteRtEngine
    from agent.inference.engines.onnxruntime import DEFAULTS
    from agent.inference.engines.table import TABLE
    from agent.inference.engines.tflite_runtime import TfliteRuntimeEngine
    from controller.compress import engine_options as offered

    assert set(get_args(offered.EngineName)) == set(TABLE)
    assert set(get_args(offered.ExecutionProvider)) == set(providers.PROVIDERS)
    assert set(offered.OnnxRuntimeOptions.model_fields) == {*DEFAULTS, THREADS}
    assert set(offered.LiteRtOptions.model_fields) == {*LiteRtEngine.defaults, THREADS}
    assert set(offered.TfliteRuntimeOptions.model_fields) == {*TfliteRuntimeEngine.defaults, THREADS}
    assert set(offered.ExecutorchOptions.model_fields) == {*executorch.DEFAULTS, THREADS}
    assert offered.ExecutorchOptions(threads=MOST_THREADS).threads == MOST_THREADS
    with pytest.raises(ValidationError):
        offered.ExecutorchOptions(threads=MOST_THREADS + 1)
    kinds = get_args(get_args(offered.LiteRtOptions.model_fields["delegate"].annotation)[0])
    assert set(kinds) == set(delegates.NAMES)


def test_the_schema_knows_every_pass() -> None:
    schema = json_schema()
    assert set(schema["$defs"]["PassStep"]["properties"]) == {
        *(
            "converted",
            "simplify",
            "float16",
            "quantize_static",
            "quantize_dynamic",
            "quantize_weights",
            "tflite_float",
            "tflite_quantize",
        ),
        *("fine_tune", "distill", "gradual_prune", "adversarial_train", "quantize_aware"),
        *("derive", "student", "equalise", "prune", "prune_channels", "low_rank", "codebook"),
    }
    assert schema["$defs"]["PassStep"]["maxProperties"] == 1
    assert schema["additionalProperties"] is False


def test_the_shipped_recipes_are_complete_and_named_as_their_files() -> None:
    shipped = shipped_recipes()
    assert {"float32", "float16", "int8-dynamic", "tflite-float", "tflite-int8-static"} <= set(shipped)
    assert {one.conversion for name, one in shipped.items() if name.startswith("executorch-")} == {
        *("float", "fp16", "int8")
    }
    schemes = {step.parameters["scheme"] for one in shipped.values() for step in one.passes if step.quantize_static}
    assert schemes == {"u8s8", "s8s8", "u8u8"}
    folder = Path(__file__).parents[4] / "configs" / "recipes"
    assert {path.stem for path in folder.glob("*.yaml")} == set(shipped)


def test_all_means_every_shipped_recipe_once() -> None:
    assert find_recipes(["float16", "all"])[0].name == "float16"
    assert len(find_recipes(["float16", "all"])) == sum(recipe.in_all for recipe in shipped_recipes().values())


def test_what_needs_training_or_is_for_transport_is_named_to_be_taken() -> None:
    every = {recipe.name for recipe in find_recipes(["all"])}
    for name, recipe in shipped_recipes().items():
        assert (name in every) == recipe.in_all
        assert find_recipe(name) == recipe
    assert {"float32", "int8-u8u8-minmax", "tflite-float"} <= every
    assert not {"channels-less-tenth", "low-rank", "codebook-4bit", "pruned-quarter"} & every


def test_the_recipes_that_the_documentation_shows_are_recipes() -> None:
    text = (Path(__file__).parents[4] / "docs" / "compression.md").read_text(encoding="utf-8")
    blocks = [block.partition("```")[0] for block in text.split("```yaml\n")[1:]]
    shown = {one.name: one for one in map(Recipe.model_validate, map(yaml.safe_load, blocks))}
    assert set(shown) == {"int8-mine", "tflite-int8-one-thread"}
    fewer = shown["tflite-int8-one-thread"]
    assert fewer.engines_of("tflite") == ("litert", "tflite-runtime")
    assert {engine: fewer.options_of(engine) for engine in fewer.engines_of("tflite")} == {
        "litert": {"threads": 1},
        "tflite-runtime": {"threads": 1},
    }


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
