"""A candidate as choices: which passes, in which legal order, with which parameters; and the recipe that they mean.

Decides: the order of passes, how many of a kind one recipe has, and which choices mean the same recipe. Works on
whatever passes there are. Leaves out: which of them apply to a model (`space.py`) and what a pass does.

    compose(space, {"weights": "prune", "precision": "float16", "prune.amount": 0.5, ...}).pass_names
    # ("simplify", "prune", "float16")
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from typing import Any

from pydantic import ValidationError

from controller.compress.engine_options import EngineOptions
from controller.compress.recipe import PassStep, Recipe
from wire.canonical import canonical_json, sha256_hex

NONE = "none"
JOIN = "+"
WHOLE = "recipe "
"""In front of the name of a shipped recipe that cannot be composed: it is taken as it is."""

Genome = Mapping[str, Any]


class Contradiction(ValueError):
    """These choices make no recipe. Internal to the search: it costs one candidate."""


@dataclass(frozen=True)
class Stage:
    """Passes of one kind, in their order; a recipe has `most` of them. `A+B` is B right behind A, and counts as one."""

    name: str
    passes: tuple[str, ...]
    most: int = 1


STAGES = (
    Stage("student", ("derive", "student")),
    Stage("weights", ("prune_channels", "low_rank", "prune", "equalise"), most=2),
    Stage("training", ("fine_tune", "distill", "gradual_prune")),
    Stage(
        "precision",
        ("float16", "quantize_static", "quantize_dynamic", "codebook", "quantize_static+quantize_aware"),
    ),
)
LAST = STAGES[-1].name
TRAINING = STAGES[2]
UNTRAINED = frozenset({"derive"})
"""Passes whose network answers nothing before a training pass has been over it."""

FOLLOWERS: Mapping[str, str] = {"quantize_aware": "int8"}
"""Passes that take what another pass of their stage made -> the precision of that."""

ONLY_WITH: Mapping[tuple[str, str], tuple[str, Any]] = {
    ("quantize_static", "percentile"): ("calibration", "percentile"),
    ("prune", "amount"): ("pattern", None),
    ("prune", "scope"): ("pattern", None),
}
"""Pass and parameter -> the other parameter, and its value, without which it means nothing and is left out."""


@dataclass(frozen=True)
class Space:
    """All candidates of one model.

    stages: those with passes that apply. values: `PASS.PARAMETER` -> what it may be, the first where it does not
    matter. prefix: passes that every composed recipe begins with. whole: shipped recipes that are taken as they are.
    seeds: recipes to begin with. dropped: pass or recipe -> why it is left out.
    """

    stages: tuple[Stage, ...]
    values: Mapping[str, tuple[Any, ...]]
    prefix: tuple[str, ...] = ()
    whole: Mapping[str, Recipe] = field(default_factory=dict)
    seeds: tuple[Recipe, ...] = ()
    dropped: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def genes(self) -> dict[str, tuple[Any, ...]]:
        """Every choice with its values; where there is but one, nothing is chosen."""
        every = {stage.name: combined(stage) for stage in self.stages}
        last = (*every.get(LAST, (NONE,)), *(f"{WHOLE}{name}" for name in self.whole))
        every = {**every, LAST: last, **self.values}
        return {name: choices for name, choices in every.items() if len(choices) > 1}

    @cached_property
    def digest(self) -> str:
        """What tells this space from others."""
        return sha256_hex(canonical_json({"genes": _plain(self.genes), "prefix": list(self.prefix)}))

    @cached_property
    def named(self) -> Mapping[str, Recipe]:
        """Key -> the shipped recipe that means the same."""
        return {key_of(recipe): recipe for recipe in self.seeds}


def combined(stage: Stage) -> tuple[str, ...]:
    """Return what a stage may hold: nothing, one pass, or so many of them in their order."""
    sets = [each for size in range(1, stage.most + 1) for each in combinations(stage.passes, size)]
    return (NONE, *(JOIN.join(each) for each in sets))


def passes_of(stage: Stage) -> tuple[str, ...]:
    """Return the names of a stage's passes, each once."""
    return tuple(dict.fromkeys(name for each in stage.passes for name in each.split(JOIN)))


def compose(space: Space, genome: Genome) -> Recipe:
    """Return the recipe that choices mean; a shipped one, where it means the same.

    Raises:
        Contradiction: They mean none.
    """
    last = str(genome.get(LAST, NONE))
    if last.startswith(WHOLE):
        return space.whole[last.removeprefix(WHOLE)]
    names = [*space.prefix, *_chosen(space, genome)]
    steps = [{name: _parameters(space, genome, name)} for name in names]
    try:
        recipe = Recipe.model_validate({"version": 1, "name": "auto", "formats": ["onnx"], "passes": steps})
    except ValidationError as exc:
        raise Contradiction(exc.errors()[0]["msg"]) from exc
    key = key_of(recipe)
    return space.named.get(key) or recipe.model_copy(update={"name": f"auto-{key[:8]}"})


def encode(space: Space, recipe: Recipe) -> dict[str, Any]:
    """Return the choices that mean a recipe of the space.

    Raises:
        ValueError: It cannot be composed in this space.
    """
    genome = {name: choices[0] for name, choices in space.genes.items()}
    if recipe.name in space.whole:
        return {**genome, LAST: f"{WHOLE}{recipe.name}"}
    names = set(recipe.pass_names)
    if not is_composed(recipe) or len(names) < len(recipe.passes):
        raise ValueError(f"{recipe.name} cannot be composed: another format, options of engines, or a pass twice")
    for stage in space.stages:
        held = names & set(passes_of(stage))
        fitting = [each for each in combined(stage) if set(each.split(JOIN)) - {NONE} == held]
        genome[stage.name] = fitting[0] if fitting else NONE
    for step in recipe.passes:
        genome |= {f"{step.name}.{name}": value for name, value in active(step).items()}
    known = {name: value for name, value in genome.items() if name in space.genes}
    within = all(value in space.genes[name] for name, value in known.items())
    if not within or key_of(compose(space, known)) != key_of(recipe):
        raise ValueError(f"{recipe.name} cannot be composed")
    return known


def key_of(recipe: Recipe) -> str:
    """Return what is equal for recipes that do the same, whatever they are called."""
    document = recipe.model_dump(mode="json", exclude={"name", "note", "in_all", "version"})
    return sha256_hex(canonical_json(document))


def active(step: PassStep) -> dict[str, Any]:
    """Return the parameters of a step that mean something beside its others."""
    given = step.parameters
    return {name: value for name, value in given.items() if _matters(step.name, name, given)}


def is_composed(recipe: Recipe) -> bool:
    """Tell whether a recipe is of a kind that is composed: ONNX, any engine, no options of engines."""
    plain = recipe.engine is None and recipe.engine_options == EngineOptions()
    return recipe.formats == ("onnx",) and plain and recipe.conversion is None


def is_untrained(names: Iterable[str]) -> bool:
    """Tell whether passes leave a network that was never trained."""
    held = set(names)
    return bool(held & UNTRAINED) and not held & set(TRAINING.passes)


def _chosen(space: Space, genome: Genome) -> list[str]:
    """Return the passes of each stage in their order, without a network that nothing would train."""
    picked = {stage.name: str(genome.get(stage.name, NONE)) for stage in space.stages}
    names = [name for each in picked.values() if each != NONE for name in each.split(JOIN)]
    return [name for name in names if name not in UNTRAINED] if is_untrained(names) else names


def _parameters(space: Space, genome: Genome, name: str) -> dict[str, Any]:
    given = {
        place.partition(".")[2]: genome.get(place, choices[0])
        for place, choices in space.values.items()
        if place.partition(".")[0] == name
    }
    return {each: value for each, value in given.items() if _matters(name, each, given)}


def _matters(name: str, parameter: str, given: Mapping[str, Any]) -> bool:
    other = ONLY_WITH.get((name, parameter))
    return other is None or given.get(other[0]) == other[1]


def _plain(genes: Mapping[str, Sequence[Any]]) -> list[Any]:
    return [[name, json.dumps(list(choices))] for name, choices in genes.items()]
