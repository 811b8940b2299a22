"""What an order says is learned from, opened: inputs, targets, the teacher, and which changes are allowed.

Decides: in which form targets come to the loss. Leaves out: training on them (`loop.py`), and looking at changed
copies beforehand (`views.py`).

Order: `inputs` (`.npy`, float32, shape (n, ...)), `targets` (`.npy`: class numbers (n,) or numbers (n, k); null: none),
`classes` (null for numbers), `teacher` (`.onnx`; null: none), `augment` (its fields).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import torch

from controller.compress.training.augment import Augment
from controller.compress.training.loop import Lessons
from controller.compress.training.network.graph import Network
from controller.convert.workers.frame import Unusable


def lessons_of(order: Mapping[str, Any]) -> Lessons:
    """Return an order's lessons; inputs stay in their file until they are read.

    Raises:
        Unusable: Labels beyond the network's classes, a teacher that cannot be followed, or changes that samples of
            this shape do not have.
    """
    inputs = np.load(order["inputs"], mmap_mode="r", allow_pickle=False)
    augment = Augment.of(order["augment"])
    augment.check(inputs.shape[1:])
    return Lessons(inputs, _targets(order), teacher_of(order), augment)


def teacher_of(order: Mapping[str, Any]) -> Network | None:
    """Return an order's teacher, in evaluation mode."""
    if not order["teacher"]:
        return None
    teacher = Network(onnx.load(order["teacher"]))
    teacher.eval()
    return teacher


def _targets(order: Mapping[str, Any]) -> Any:
    """Return targets as the loss takes them: probabilities of classes, or numbers."""
    if not order["targets"]:
        return None
    known = torch.from_numpy(np.load(order["targets"], allow_pickle=False))
    if order["classes"] is None:
        return known.float()
    if int(known.max()) >= order["classes"]:
        raise Unusable(f"labels run to {int(known.max())}, the network has {order['classes']} classes")
    return torch.nn.functional.one_hot(known.long(), order["classes"]).float()
