"""Changed copies of samples with the teacher's answers, kept by content: all students of a search learn from the same.

Decides: what views depend on, and how many there are: enough for the training that asks, in steps of a factor of two,
so that longer and shorter trainings share them. Leaves out: making them (`controller/compress/training/views.py`).

    kept_views(order, views=16, context)  # a folder: inputs.npy, known.npy, targets.npy
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from controller.compress.cache import cache_key
from controller.compress.passes.base import PassContext
from controller.convert.conversion import file_digest
from controller.convert.environments import Limits, required, run_worker
from controller.errors import UnusableModel

ENVIRONMENT = "torch"
WORKER = "controller.compress.training.views"
LONGEST_S = 6 * 3600.0
FEWEST = 4096
"""Views, where so many can be made: a first short training is not all that will ask."""

_TRAINING = "controller.compress.training"
_LOOKING = ("augment", "lessons", "loop", "views", "network.graph", "network.operators", "network.windows")
_FILES = ("inputs", "targets", "teacher")


def kept_views(order: Mapping[str, Any], views: int, context: PassContext) -> Path:
    """Return the folder of the views that a training's order learns from.

    Args:
        order: Of the training: its samples, teacher, changes, seed and settings.
        views: Of each sample, at most.
        context: Whose cache keeps them.
    Raises:
        UnusableModel: They take more memory than they may, or the teacher cannot be followed.
        ConversionFailed: The worker crashed or took too long.
    """
    from controller.compress.process.run import modules_digest  # runs variants, which know the passes, which come here

    count = count_for(order, views)
    parts = {
        "what": "views",
        "files": {name: file_digest(Path(order[name])) if order[name] else None for name in _FILES},
        **{name: order[name] for name in ("classes", "augment", "seed")},
        "views": views,
        "count": count,
        "source": modules_digest(*(f"{_TRAINING}.{name}" for name in _LOOKING)),
        "environment": required(ENVIRONMENT).versions,
    }

    def make(folder: Path) -> Mapping[str, Any]:
        asked = {**order, "folder": str(folder), "views": views, "count": count}
        limits = Limits(longest_s=LONGEST_S, threads=context.threads)
        result = run_worker(required(ENVIRONMENT), WORKER, asked, folder, limits)
        if result["outcome"] != "ok":
            raise UnusableModel(str(result["error"]))
        return {"views": result["views"]}

    return context.cache.get_or_make(cache_key(parts), make).folder


def count_for(order: Mapping[str, Any], views: int) -> int:
    """Return how many views a training gets: as many as it looks at, up to the next power of two."""
    samples = len(np.load(order["inputs"], mmap_mode="r", allow_pickle=False))
    looked_at = order["settings"]["steps"] * order["settings"]["batch"]
    return int(min(views * samples, max(FEWEST, 1 << (looked_at - 1).bit_length())))
