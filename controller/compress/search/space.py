"""What can be tried with a model on this host: passes that apply, values worth a search, recipes to begin with.

Decides: what is left out and in which words. Leaves out: how choices become recipes (`genome.py`).

    space_of(model, find_recipes(["all"])).dropped  # {"executorch-int8": "the engine executorch is not installed …"}
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, get_args

from pydantic import BaseModel

from controller.compress.build import EVERYTHING
from controller.compress.passes import PASSES, find_pass
from controller.compress.passes.base import Artifact, Needs
from controller.compress.passes.converted import out_of_reach
from controller.compress.process.host import engine_version
from controller.compress.recipe import PassStep, Recipe
from controller.compress.search.cost import is_student, work_of
from controller.compress.search.genome import (
    FOLLOWERS,
    JOIN,
    STAGES,
    TRAINING,
    UNTRAINED,
    Space,
    Stage,
    active,
    encode,
    is_composed,
    is_untrained,
    passes_of,
)
from controller.compress.variant import ENGINE_OF, wanted_variants
from controller.convert.environments import required
from controller.convert.operators import file_precision
from controller.errors import ConverterMissing, UnusableModel
from controller.models.folder import ModelFolder
from controller.models.queries import WHOLE_TENSORS

FIRST = "simplify"
"""Begins every composed recipe: it changes no answer, and the passes behind it find more to do."""


def space_of(model: ModelFolder, shipped: Sequence[Recipe]) -> Space:
    """Return the space of a model.

    Args:
        model: Its files say which passes apply.
        shipped: Recipes to begin with; what they say that passes do not, widens the space.
    """
    dropped = {name: reason for name in _in_stages() if (reason := _against(model, name)) is not None}
    dropped |= dict.fromkeys(_untrained(_stages(dropped)), "its network is untrained, and no training pass applies")
    dropped |= _lacking(_stages(dropped), shipped)
    stages, prefix = _stages(dropped), () if (reason := _against(model, FIRST)) else (FIRST,)
    dropped |= {FIRST: reason} if reason else {}
    dropped |= _unusable(model, shipped, dropped)
    usable = [recipe for recipe in shipped if recipe.name not in dropped]
    composed = [recipe for recipe in usable if is_composed(recipe)] if stages else []
    plain = Space(stages, _values(model, stages, composed), prefix, dropped=dropped)
    whole = {recipe.name: recipe for recipe in usable if not _expressible(plain, recipe)}
    return replace(plain, whole=whole, seeds=tuple(sorted(usable, key=_when)))


def _when(recipe: Recipe) -> tuple[bool, bool, bool, int]:
    """Return what recipes to begin with are ordered by: what takes seconds first, then students, which gain most for
    the minutes that training takes, then others that train; the shorter first."""
    work = work_of(recipe)
    return (work > 0, not (work and is_student(recipe)), not recipe.in_all, work)


def _in_stages() -> list[str]:
    return [name for stage in STAGES for name in passes_of(stage) if name in PASSES]


def _stages(dropped: Iterable[str]) -> tuple[Stage, ...]:
    left = set(_in_stages()) - set(dropped)
    kept = [replace(stage, passes=tuple(each for each in stage.passes if set(each.split(JOIN)) <= left))
            for stage in STAGES]  # fmt: skip
    return tuple(stage for stage in kept if stage.passes)


def _names(stages: Sequence[Stage]) -> list[str]:
    return [name for stage in stages for name in passes_of(stage)]


def _untrained(stages: Sequence[Stage]) -> list[str]:
    names = set(_names(stages))
    return [] if names & set(TRAINING.passes) else sorted(names & UNTRAINED)


def _lacking(stages: Sequence[Stage], given: Sequence[Recipe]) -> dict[str, str]:
    """Return the passes that cannot be composed, since a parameter that they need is the user's to say."""
    said = {step.name for recipe in given for step in recipe.passes}
    found: dict[str, str] = {}
    for name in set(_names(stages)) - said:
        fields = parameters_of(name).model_fields
        named = find_pass(name).space(EVERYTHING)
        if needed := [key for key, each in fields.items() if each.is_required() and key not in named]:
            found[name] = f"it needs {', '.join(needed)}: give a recipe that says it with --recipe"
    return found


def parameters_of(name: str) -> type[BaseModel]:
    """Return the model of a pass's parameters."""
    kinds = get_args(PassStep.model_fields[name].annotation)
    found: type[BaseModel] = next(each for each in kinds if each is not type(None))
    return found


def _against(model: ModelFolder, name: str) -> str | None:
    """Return why a pass cannot begin with this model's ONNX file, or None."""
    if "onnx" not in model.formats:
        return f"it takes onnx files, and the model has {', '.join(sorted(model.formats))}"
    chosen, path = find_pass(name), model.file("onnx")
    precision = FOLLOWERS.get(name) or file_precision("onnx", path)
    if reason := chosen.applies(EVERYTHING, Artifact("onnx", path, precision)):
        return reason
    if chosen.needs.training or chosen.needs.environment:
        return _cannot_train(model, chosen.needs)
    if not chosen.needs.calibration:
        return None
    if model.spec.data is None:
        return "it calibrates, and the model names no samples"
    takes_whole = model.takes_text or model.pipeline("onnx").pre.input.dtype in WHOLE_TENSORS
    return "it calibrates, which takes models of one float input" if takes_whole else None


def _cannot_train(model: ModelFolder, needs: Needs) -> str | None:
    if needs.training and model.spec.data is None:
        return "it trains, and the model names no samples"
    try:
        required(str(needs.environment))
    except ConverterMissing as exc:
        return f"it needs PyTorch: {exc}"
    return None


def _unusable(model: ModelFolder, shipped: Sequence[Recipe], passes: Mapping[str, str]) -> dict[str, str]:
    """Return the recipes that cannot be made or timed here, each with the reason."""
    wanted, _ = wanted_variants(shipped, model.formats)
    formats = {one.recipe.name: one.format for one in wanted}
    found: dict[str, str] = {}
    for recipe in shipped:
        form = formats.get(recipe.name)
        why = f"the model has no {' or '.join(recipe.formats)} file" if form is None else _out(model, recipe, form)
        why = why or next((f"{name}: {passes[name]}" for name in recipe.pass_names if name in passes), None)
        why = why or ("its network is untrained" if is_untrained(recipe.pass_names) else None)
        found |= {recipe.name: why} if why else {}
    return found


def _out(model: ModelFolder, recipe: Recipe, form: str) -> str | None:
    try:
        engine_version(ENGINE_OF[form])
    except UnusableModel as exc:
        return str(exc)
    return out_of_reach(model, form, recipe.conversion) if recipe.conversion else None


def _values(model: ModelFolder, stages: Sequence[Stage], composed: Sequence[Recipe]) -> dict[str, tuple[Any, ...]]:
    """Return the values of every parameter: those that its pass names, and those that shipped recipes take besides.

    Where a pass names one value alone, it stays at that.
    """
    values: dict[str, tuple[Any, ...]] = {}
    for name in dict.fromkeys(_names(stages)):
        values |= {f"{name}.{key}": tuple(each) for key, each in _named_by(model, name).items()}
    known, fixed = set(_names(stages)), {place for place, each in values.items() if len(each) == 1}
    for step in (step for recipe in composed for step in recipe.passes if step.name in known):
        standard = _defaults(step)
        for key, value in active(step).items():
            place = f"{step.name}.{key}"
            if place in fixed:
                continue
            choices = values.get(place, standard[key])
            if value not in choices or place in values:
                values[place] = choices if value in choices else (*choices, value)
    return values


def _named_by(model: ModelFolder, name: str) -> Mapping[str, Sequence[Any]]:
    """Return the values that a pass names; where it looks at the model, without those that it would refuse."""
    chosen, path = find_pass(name), model.file("onnx")
    narrowed = getattr(chosen, "space_of", None)
    if narrowed is None:
        return chosen.space(EVERYTHING)
    found: Mapping[str, Sequence[Any]] = narrowed(EVERYTHING, Artifact("onnx", path, file_precision("onnx", path)))
    return found


def _defaults(step: PassStep) -> dict[str, tuple[Any, ...]]:
    """Return what each parameter of a step's pass is where nothing is said; nothing where something must be."""
    fields = parameters_of(step.name).model_fields
    return {key: () if each.is_required() else (each.get_default(call_default_factory=True),)
            for key, each in fields.items()}  # fmt: skip


def _expressible(space: Space, recipe: Recipe) -> bool:
    try:
        encode(space, recipe)
    except ValueError:
        return False
    return True
