"""The passes, one a file. A pass is found by its name in a recipe, and imported only then."""

import importlib
from typing import cast

from controller.compress.passes.base import CompressionPass
from controller.errors import ConfigurationError

WEIGHTS = ("equalise", "prune", "prune_channels", "low_rank", "codebook")
STUDENTS = ("derive", "student")
TRAINING = ("fine_tune", "distill", "gradual_prune", "quantize_aware", "adversarial_train")
PASSES = (
    *WEIGHTS,
    *STUDENTS,
    *TRAINING,
    "simplify",
    "float16",
    "quantize_static",
    "quantize_dynamic",
    "quantize_weights",
    "tflite_float",
    "tflite_quantize",
)


def find_pass(name: str) -> CompressionPass:
    """Return the pass called `name`.

    Raises:
        ConfigurationError: There is none.
    """
    if name not in PASSES:
        raise ConfigurationError(f"no pass is called {name!r}; there are {', '.join(PASSES)}")
    families = {"weights": WEIGHTS, "students": STUDENTS, "training": TRAINING}
    family = next((f".{each}" for each, names in families.items() if name in names), "")
    module = importlib.import_module(f"controller.compress.passes{family}.{name}")
    return cast("CompressionPass", module.PASS)
