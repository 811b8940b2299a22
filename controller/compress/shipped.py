"""Where recipes lie: the ones shipped with Thresher, and files of the user's own.

Decides: which folder holds the shipped recipes and what a recipe's reference may be. Leaves out: their meaning
(`recipe.py`).

    find_recipes(["all"]); find_recipe("float16"); find_recipe("mine/recipe.yaml", relative_to=Path("fleets"))
"""

import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from controller.compress.recipe import Recipe
from controller.config.yaml_file import load_yaml
from controller.errors import ConfigurationError, NotFound

ALL = "all"
"""Every shipped recipe that does not say otherwise: some need training afterwards, or are for transport alone."""

_FOLDERS = (
    Path(__file__).parents[2] / "configs" / "recipes",  # a clone
    Path(sys.prefix) / "share" / "thresher" / "configs" / "recipes",  # an installation
)


@cache
def shipped_recipes() -> dict[str, Recipe]:
    """Return the shipped recipes by name, in the order of their files.

    Raises:
        NotFound: The installation holds none.
    """
    folder = next((folder for folder in _FOLDERS if folder.is_dir()), None)
    if folder is None:
        raise NotFound(f"no shipped recipes in {' or '.join(map(str, _FOLDERS))}; install thresher again")
    recipes = [load_recipe(path) for path in sorted(folder.glob("*.yaml"))]
    return {recipe.name: recipe for recipe in recipes}


def load_recipe(path: Path) -> Recipe:
    """Return the recipe in a file.

    Raises:
        ConfigurationError: It does not follow the schema, or contradicts itself.
    """
    return load_yaml(path, Recipe)


def find_recipe(reference: str, relative_to: Path | None = None) -> Recipe:
    """Return a recipe by the name of a shipped one, or by path.

    Args:
        reference: A name, or a path that ends in .yaml or .yml.
        relative_to: Folder from which relative paths count; the current one when left out.
    Raises:
        NotFound: Neither.
        ConfigurationError: The file is no recipe.
    """
    if not reference.endswith((".yaml", ".yml")):
        shipped = shipped_recipes()
        if reference not in shipped:
            raise NotFound(
                f"no shipped recipe is called {reference!r}; there are {', '.join(shipped)}; or give a path to a .yaml"
            )
        return shipped[reference]
    path = Path(reference) if relative_to is None else relative_to / reference
    if not path.is_file():
        raise NotFound(f"{path}: no such recipe file")
    return load_recipe(path)


def find_recipes(references: Iterable[str], relative_to: Path | None = None) -> tuple[Recipe, ...]:
    """Return the recipes for a list of references, where `all` stands for every shipped one that takes part in it.

    Raises:
        NotFound: A reference leads nowhere.
        ConfigurationError: Two different recipes carry one name.
    """
    found: dict[str, Recipe] = {}
    for reference in references:
        of_all = [recipe for recipe in shipped_recipes().values() if recipe.in_all]
        chosen = of_all if reference == ALL else [find_recipe(reference, relative_to)]
        for recipe in chosen:
            if found.setdefault(recipe.name, recipe) != recipe:
                raise ConfigurationError(f"two different recipes are called {recipe.name!r}; rename one of them")
    return tuple(found.values())
