"""A small space, and rows as a search keeps them: for tests that run no model."""

from typing import Any

from controller.compress.recipe import Recipe
from controller.compress.search.genome import Space, Stage, key_of
from controller.compress.search.study import Row, name_of, written


def recipe(name: str, *passes: dict[str, Any]) -> Recipe:
    return Recipe.model_validate({"version": 1, "name": name, "formats": ["onnx"], "passes": list(passes)})


FLOAT = recipe("float32", {"simplify": {}})
HALF = recipe("float16", {"simplify": {}}, {"float16": {}})
INT8 = recipe("int8", {"simplify": {}}, {"quantize_static": {"scheme": "u8u8"}})


def small_space(*seeds: Recipe) -> Space:
    """Return a space of prune, float16 and static int8."""
    return Space(
        stages=(Stage("weights", ("prune",)), Stage("precision", ("float16", "quantize_static"))),
        values={
            "prune.amount": (0.3, 0.5),
            "quantize_static.scheme": ("u8s8", "u8u8"),
            "quantize_static.calibration": ("minmax", "percentile"),
            "quantize_static.percentile": (99.9, 99.99),
        },
        prefix=("simplify",),
        seeds=seeds,
    )


def row(given: Recipe, **fields: Any) -> Row:
    """Return a timed row of a recipe."""
    usual = {"outcome": "timed", "loss": 0.0, "ratio": 0.5, "wire_ratio": 0.5}
    return Row(name_of(given), key_of(given), written(given), **{**usual, **fields})


def point(name: str, loss: float, ratio: float, wire: float, **fields: Any) -> Row:
    """Return a timed row at one point of the front's axes."""
    return row(recipe(name, {"simplify": {}}), loss=loss, ratio=ratio, wire_ratio=wire, **fields)
