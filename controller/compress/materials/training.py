"""What training passes learn from: prepared samples, what is true of them, and the baseline as a teacher.

    material = kept_material(model, samples, cache)  # a folder: inputs.npy, targets.npy, material.json, teacher.onnx

Decides: in which unit targets are: classes, or numbers as the model gives them. Leaves out: which samples train
(`controller/models/samples.py`).
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controller.compress.cache import PassCache, cache_key
from controller.convert.digest import model_digest
from controller.models.folder import ModelFolder
from controller.models.preprocess import prepare
from controller.models.samples import LabelledData
from wire.spec import ClassificationPost, Pipeline, RegressionPost

INPUTS, TARGETS, FACTS, TEACHER = "inputs.npy", "targets.npy", "material.json", "teacher.onnx"
FORM = "onnx"
"""The format that is trained."""


@dataclass(frozen=True)
class Material:
    """What is known of the samples in `folder`. kind: of the model. labelled: there are targets. classes: null for
    numbers. probabilities: the model's outputs are those, not logits. augment: changes that are allowed."""

    folder: Path
    kind: str
    labelled: bool
    classes: int | None
    probabilities: bool
    augment: Mapping[str, Any]

    @classmethod
    def read(cls, folder: Path) -> "Material":
        return cls(folder, **json.loads((folder / FACTS).read_bytes()))


def kept_material(model: ModelFolder, samples: LabelledData, cache: PassCache) -> tuple[Path, str]:
    """Return the folder of a model's material and what decides it.

    Args:
        model: With an ONNX file, which is the teacher too.
        samples: That train, as they were loaded.
        cache: Keeps the folder.
    """
    pipeline, augment = model.pipeline(FORM), model.augment
    parts = {
        "what": "training material",
        "samples": samples.digest,
        "pipeline": pipeline.model_dump(mode="json"),
        "teacher": model_digest(FORM, model.file(FORM)),
        "augment": dict(augment),
    }
    key = cache_key(parts)
    return cache.get_or_make(key, partial(_write, model, samples, pipeline)).folder, key


def _write(model: ModelFolder, samples: LabelledData, pipeline: Pipeline, folder: Path) -> dict[str, Any]:
    np.save(folder / INPUTS, prepare(pipeline.pre, samples.inputs), allow_pickle=False)
    targets = _targets(samples, pipeline)
    if targets is not None:
        np.save(folder / TARGETS, targets, allow_pickle=False)
    shutil.copyfile(model.file(FORM), folder / TEACHER)
    facts = asdict(_material(folder, model, pipeline, labelled=targets is not None))
    facts.pop("folder")
    (folder / FACTS).write_text(json.dumps(facts))
    return {"samples": len(samples)}


def _material(folder: Path, model: ModelFolder, pipeline: Pipeline, *, labelled: bool) -> Material:
    post = pipeline.post
    if not isinstance(post, ClassificationPost):
        return Material(folder, model.kind, labelled, None, False, model.augment)
    return Material(folder, model.kind, labelled, post.output.shape[-1], post.activation == "none", model.augment)


def _targets(samples: LabelledData, pipeline: Pipeline) -> NDArray[Any] | None:
    """Return class numbers, or numbers in the unit of the model's outputs; None for kinds that are taught only."""
    post = pipeline.post
    if isinstance(post, ClassificationPost):
        return np.asarray(samples.labels, dtype=np.int64)
    if isinstance(post, RegressionPost):
        return np.asarray((samples.labels - np.asarray(post.offset)) / np.asarray(post.scale), dtype=np.float32)
    return None
