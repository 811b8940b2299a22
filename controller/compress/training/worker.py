"""Train one ONNX file; what `run_worker` starts in the environment `torch`.

Order: `model` (`.onnx`, constants among the initialisers), `folder`, `inputs` (`.npy`, float32, shape (n, ...)),
`targets` (`.npy`: class numbers (n,) or numbers (n, k); null: none), `classes` (null for numbers), `teacher` (`.onnx`;
null: none), `objective`, `settings`, `augment`, `sparsity`, `attack` (their fields, the last two may be null), `seed`,
`threads`. Result: `file`, `losses` (at some twenty steps), `zeros_ratio`, `minutes`, `versions`.
"""

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from controller.convert.workers.frame import Unusable, carry_out
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
    import numpy as np
    import onnx

    from controller.compress.training.attacks.methods import Attack
    from controller.compress.training.augment import Augment
    from controller.compress.training.loop import Course, Lessons
    from controller.compress.training.losses import Objective
    from controller.compress.training.masks import Sparsity
    from controller.compress.training.network.graph import Network
    from controller.compress.training.settings import Settings
    from controller.compress.training.views import looked_at

    inputs = np.load(order["inputs"], mmap_mode="r", allow_pickle=False)
    augment = Augment.of(order["augment"])
    augment.check(inputs.shape[1:])
    teacher = Network(onnx.load(order["teacher"])).eval() if order["teacher"] else None
    settings = Settings.of(order["settings"])
    attack = order["attack"] and Attack(**order["attack"], low=float(inputs.min()), high=float(inputs.max()))
    lessons = Lessons(inputs, _targets(order), teacher, augment)
    if (views := order["settings"].get("views", 0)) and not settings.features:
        lessons = looked_at(lessons, views, order["seed"], settings.steps * settings.batch)
    sparsity = order["sparsity"] and Sparsity.of(order["sparsity"], settings.steps)
    network, objective = Network(onnx.load(order["model"])), Objective(**order["objective"])
    return Course(network, lessons, settings, objective, sparsity or None, attack or None, order["seed"], tell)


def _targets(order: Mapping[str, Any]) -> Any:
    """Return targets as the loss takes them: probabilities of classes, or numbers."""
    import numpy as np
    import torch

    if not order["targets"]:
        return None
    known = torch.from_numpy(np.load(order["targets"], allow_pickle=False))
    if order["classes"] is None:
        return known.float()
    if int(known.max()) >= order["classes"]:
        raise Unusable(f"labels run to {int(known.max())}, the network has {order['classes']} classes")
    return torch.nn.functional.one_hot(known.long(), order["classes"]).float()


if __name__ == "__main__":
    sys.exit(carry_out(train, sys.argv))
