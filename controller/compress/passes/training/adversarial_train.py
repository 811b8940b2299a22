"""Adversarial training: half of each batch is changed so that the network errs, and it learns the right answer.

Madry et al., ICLR 2018. The baseline teaches what is right where there are no labels.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from controller.compress.passes.base import Artifact, Capabilities, CompressionPass, PassContext, needs_float
from controller.compress.passes.training.trained import NEEDS, trained


class AdversarialTrainPass:
    """FGSM or PGD inside the training step."""

    name = "adversarial_train"
    needs = NEEDS

    def applies(self, capabilities: Capabilities, artifact: Artifact) -> str | None:
        return needs_float(self.name, "onnx", capabilities, artifact)

    def space(self, _capabilities: Capabilities) -> Mapping[str, Sequence[Any]]:
        return {"epsilon": (0.03, 0.1, 0.3), "attack_steps": (1, 3, 7)}

    def run(self, artifact: Artifact, parameters: Mapping[str, Any], context: PassContext) -> Artifact:
        attack = {"epsilon": parameters["epsilon"], "steps": parameters["attack_steps"]}
        return trained(artifact, parameters, context, {"attack": attack})


PASS: CompressionPass = AdversarialTrainPass()
