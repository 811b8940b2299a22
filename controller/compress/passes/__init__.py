"""The passes, one a file. A pass is found by its name in a recipe, and imported only then."""

import importlib
from typing import cast

from controller.compress.passes.base import CompressionPass
from controller.errors import ConfigurationError

WEIGHTS = ("equalise", "prune", "prune_channels", "low_rank", "codebook")
PASSES = (*WEIGHTS, "simplify", "float16", "quantize_static", "quantize_dynamic", "tflite_float", "tflite_quantize")


def find_pass(name: str) -> CompressionPass:
    """Return the pass called `name`.

    Raises:
        ConfigurationError: There is none.
    """
    if name not in PASSES:
        raise ConfigurationError(f"no pass is called {name!r}; there are {', '.join(PASSES)}")
    package = "controller.compress.passes.weights" if name in WEIGHTS else "controller.compress.passes"
    module = importlib.import_module(f"{package}.{name}")
    return cast("CompressionPass", module.PASS)
