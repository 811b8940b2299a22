"""How often a network is right about inputs that were changed so that it errs; started in the environment `torch`.

Order: `model` (`.onnx`, constants among the initialisers), `inputs` (`.npy`, prepared, shape (n, ...)), `labels`
(`.npy`, class numbers), `classes`, `probabilities`, `attacks` (name -> `epsilon` and `steps`), `seed`, `threads`.
Result: `right` (name -> 1 or 0 for each input; `none` for inputs as they are), `of`, `versions`.
"""

import sys
from collections.abc import Mapping
from typing import Any

from controller.convert.workers.frame import carry_out
from controller.convert.workers.telling import used_versions

TOGETHER = 64


def attack(order: Mapping[str, Any]) -> dict[str, Any]:
    """Attack, and say which answers are right.

    Raises:
        Unusable: No gradient goes through the graph.
    """
    import numpy as np
    import onnx
    import torch

    from controller.compress.training.network.graph import Network

    torch.set_num_threads(order["threads"])
    network = Network(onnx.load(order["model"])).eval()
    inputs = torch.from_numpy(np.load(order["inputs"], allow_pickle=False))
    labels = torch.from_numpy(np.load(order["labels"], allow_pickle=False))
    right = {name: _right(network, inputs, labels, each, order) for name, each in order["attacks"].items()}
    plain = _which(network, inputs, labels)
    return {"right": {"none": plain, **right}, "of": len(labels), "versions": used_versions("torch", "onnx")}


def _right(network: Any, inputs: Any, labels: Any, given: Mapping[str, Any], order: Mapping[str, Any]) -> list[int]:
    import torch

    from controller.compress.training.attacks.methods import Attack
    from controller.compress.training.losses import Objective

    objective = Objective("classification", probabilities=order["probabilities"])
    method = Attack(given["epsilon"], given["steps"], float(inputs.min()), float(inputs.max()))
    random, right = torch.Generator().manual_seed(order["seed"]), list[int]()
    targets = torch.nn.functional.one_hot(labels.long(), order["classes"]).float()
    for rows in torch.arange(len(labels)).split(TOGETHER):
        aims = targets[rows]
        changed = method.on(inputs[rows], lambda x, aims=aims: objective.hard(network(x)[0], aims), random)  # type: ignore[misc, unused-ignore]
        right += _which(network, changed, labels[rows])
    return right


def _which(network: Any, inputs: Any, labels: Any) -> list[int]:
    import torch

    with torch.no_grad():
        answers = [network(part)[0].argmax(dim=1) for part in inputs.split(TOGETHER)]
    return [int(each) for each in torch.cat(answers) == labels]


if __name__ == "__main__":
    sys.exit(carry_out(attack, sys.argv))
