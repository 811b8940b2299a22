"""This project's own recipes, run as the other toolkits are.

Order besides `frame.py`'s: `root` (the model's folder), `datasets` (where its samples are kept), `samples` (`.npz` of
raw queries `inputs`, those of which the others get the model inputs), `format`. Setting: `recipe`, a shipped one.
"""

import shutil
import sys
from pathlib import Path

from benchmarks.compression.peers.programs.frame import Order, carry_out


def compress(order: Order) -> list[str]:
    """Write what comes of the recipe; return the notes of its passes.

    Raises:
        RuntimeError: A pass refused the model or failed.
    """
    import numpy as np

    from controller.compress.build import build_wanted
    from controller.compress.cache import PassCache
    from controller.compress.shipped import find_recipe
    from controller.compress.variant import FailedVariant, Wanted
    from controller.models.folder import ModelFolder

    recipe, form, root = find_recipe(order["setting"]["recipe"]), order["format"], Path(order["root"])
    with np.load(order["samples"], allow_pickle=False) as arrays:
        queries = arrays["inputs"]
    wanted = [Wanted(recipe, form, recipe.engines_of(form)[0])]
    cache = PassCache(Path(order["folder"]) / "cache")
    model, datasets = ModelFolder.load(root), Path(order["datasets"])
    made = build_wanted(model, wanted, queries, cache, lambda _name, _what: None, datasets=datasets)[0]
    if isinstance(made, FailedVariant):
        raise RuntimeError(made.because)
    shutil.copyfile(made.model_file, order["out"])
    return list(made.notes)


if __name__ == "__main__":
    sys.exit(carry_out(compress))
