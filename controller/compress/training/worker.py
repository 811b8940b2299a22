"""Train one ONNX file; what `run_worker` starts in the environment `torch`.

Order: that of `lessons.py` with `model` (`.onnx`, constants among the initialisers), `folder`, `views` (a folder of
`views.py`, learned from in the samples' place; null: none), `objective`, `settings`, `sparsity`, `attack` (their
fields, the last two may be null), `seed`, `threads`. Result: `file`, `losses` (at some twenty steps), `zeros_ratio`,
`minutes`, `versions`.
"""

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from controller.convert.workers.frame import carry_out
from controller.convert.workers.telling import used_versions


def train(order: Mapping[str, Any]) -> dict[str, Any]:
    """Train and write `model.onnx`.

    Raises:
        Unusable: The graph cannot be trained, or training went astray.
    """
    import onnx
    import torch

    torch.set_num_threads(order["threads"])
    begun, losses = time.monotonic(), dict[int, float]()
    course = _course(order, lambda step, loss: _told(losses, step, loss))
    path = Path(order["folder"]) / "model.onnx"
    onnx.save(course.run().written(), path)
    return {
        "file": path.name,
        "losses": list(losses.values()),
        "zeros_ratio": course.zeros_ratio,
        "minutes": (time.monotonic() - begun) / 60,
        "versions": used_versions("torch", "onnx"),
    }


def _told(losses: dict[int, float], step: int, loss: float) -> None:
    losses[step] = loss
    print(f"step {step + 1}: loss {loss:.4f}", file=sys.stderr, flush=True)


def _course(order: Mapping[str, Any], tell: Any) -> Any:
    import onnx

    from controller.compress.training.attacks.methods import Attack
    from controller.compress.training.lessons import lessons_of
    from controller.compress.training.loop import Course
    from controller.compress.training.losses import Objective
    from controller.compress.training.masks import Sparsity
    from controller.compress.training.network.graph import Network
    from controller.compress.training.settings import Settings
    from controller.compress.training.views import kept

    lessons = kept(Path(order["views"]), order) if order["views"] else lessons_of(order)
    settings, attack = Settings.of(order["settings"]), None
    if order["attack"]:
        low, high = float(lessons.inputs.min()), float(lessons.inputs.max())
        attack = Attack(**order["attack"], low=low, high=high)
    sparsity = order["sparsity"] and Sparsity.of(order["sparsity"], settings.steps)
    network, objective = Network(onnx.load(order["model"])), Objective(**order["objective"])
    return Course(network, lessons, settings, objective, sparsity or None, attack, order["seed"], tell)


if __name__ == "__main__":
    sys.exit(carry_out(train, sys.argv))
