"""How often a variant is right about inputs that were changed so that it errs: FGSM and PGD.

Decides: which attacks, and that each is made on the very graph that is judged, so that a quantised one is attacked
through its own rounding. Leaves out: the attacks (`controller/compress/training/attacks`), and what loss is too much.

    judged = robustness(variant, samples, 0.1, Path("scratch"))
    judged.right["pgd"] / judged.of
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controller.compress.cache import PassCache, cache_key
from controller.compress.channels import trace
from controller.compress.process.run import modules_digest
from controller.compress.variant import Variant
from controller.convert.digest import model_digest
from controller.convert.environments import Limits, required, run_worker
from controller.convert.onnx_io import parse_onnx
from controller.errors import UnusableModel
from controller.models.preprocess import prepare
from controller.models.samples import LabelledData, stratified_rows
from wire.spec import ClassificationPost

ENVIRONMENT = "torch"
WORKER = "controller.compress.training.attacks.worker"
MOST_SAMPLES = 500
PGD_STEPS = 10
_SOURCES = (
    WORKER, "controller.compress.training.attacks.methods", "controller.compress.training.losses",
    *(f"controller.compress.training.network.{each}" for each in ("graph", "operators", "quantised")),
    *(f"controller.compress.training.network.{each}" for each in ("shapes", "windows")),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Robustness:
    """correct: which answers are right, shape (n,), by attack: `none`, `fgsm`, `pgd`; the inputs are those of every
    variant. epsilon: the largest change of a value, in the unit of the prepared input."""

    correct: Mapping[str, NDArray[np.bool_]]
    epsilon: float

    @property
    def right(self) -> dict[str, int]:
        """How many answers are right, by attack."""
        return {attack: int(np.sum(each)) for attack, each in self.correct.items()}

    @property
    def of(self) -> int:
        """How many inputs were attacked."""
        return len(self.correct["none"])

    def accuracy(self, attack: str) -> float:
        """Return the share of right answers, 0 to 1."""
        return self.right[attack] / self.of


def robustness(variant: Variant, samples: LabelledData, epsilon: float, cache: PassCache) -> Robustness:
    """Attack a variant on at most `MOST_SAMPLES` evaluation samples, of all classes alike.

    Args:
        variant: ONNX, float or QDQ, a classifier.
        samples: The evaluation part.
        epsilon: Greater than 0, in the unit of the prepared input.
        cache: Keeps results by content.
    Raises:
        UnusableModel: No gradient can be had: another format, another kind, or an operator that stops it.
        ConverterMissing: The environment `torch` is not installed.
    """
    post = variant.pipeline.post
    if variant.format != "onnx" or not isinstance(post, ClassificationPost):
        raise UnusableModel(f"attacks need a classifier in ONNX, to go through its graph; this is {variant.format}")
    attacks = {"fgsm": {"epsilon": epsilon, "steps": 1}, "pgd": {"epsilon": epsilon, "steps": PGD_STEPS}}
    parts = {
        "what": "attacks",
        "model": model_digest(variant.format, variant.model_file),
        "pipeline": variant.pipeline.model_dump(mode="json"),
        "samples": [samples.digest, MOST_SAMPLES],
        "attacks": attacks,
        "source": modules_digest(*_SOURCES),
        "environment": required(ENVIRONMENT).versions,
    }
    facts = cache.get_or_make(cache_key(parts), lambda folder: _attacked(variant, samples, attacks, folder)).facts
    correct = {attack: np.asarray(each, dtype=np.bool_) for attack, each in facts["right"].items()}
    return Robustness(correct, epsilon)


def _attacked(variant: Variant, samples: LabelledData, attacks: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    import onnx

    post = variant.pipeline.post
    rows = stratified_rows(samples.labels, samples.kind, MOST_SAMPLES)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        place = Path(name)
        np.save(place / "inputs.npy", prepare(variant.pipeline.pre, samples.inputs[rows]), allow_pickle=False)
        np.save(place / "labels.npy", samples.labels[rows], allow_pickle=False)
        onnx.save(trace.inlined(parse_onnx(variant.model_file)), place / "model.onnx")
        order = {
            **{key: str(place / file) for key, file in (("model", "model.onnx"), ("inputs", "inputs.npy"))},
            "labels": str(place / "labels.npy"),
            "classes": post.output.shape[-1],
            "probabilities": isinstance(post, ClassificationPost) and post.activation == "none",
            "attacks": dict(attacks),
            "seed": 0,
            "threads": 1,
        }
        result = run_worker(required(ENVIRONMENT), WORKER, order, place, Limits(threads=1))
    if result["outcome"] != "ok":
        raise UnusableModel(f"{variant.name}: {result['error']}")
    return {"right": result["right"]}
