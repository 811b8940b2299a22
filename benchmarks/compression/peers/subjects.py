"""The four networks: three reference models, and EfficientNet-Lite0 on crops of photographs.

Decides: that the last, which comes without labels, is asked for what its own float32 answers are: its labels are the
classes that it ranks first, so that its accuracy is the agreement with itself. Leaves out: the photographs.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import yaml

from benchmarks.common import repository
from benchmarks.compression.peers.photographs import SIDE, crops
from benchmarks.engine_parts.subjects.packages import NETWORKS, package_subject, site_of
from controller.compress.cache import PassCache
from controller.compress.process.run import EvaluationContext, run_variant
from controller.compress.variant import baseline_variant
from controller.convert.making.make import ConvertContext, ConvertRequest, convert
from controller.errors import UnusableData
from controller.models.folder import ModelFolder

EFFICIENTNET = "efficientnet-lite0"
REFERENCE = ("leaf_outline", "soil_carbon", "fashion")
MODELS = (*REFERENCE, EFFICIENTNET)
CLASSES = 1000
SAMPLES = {"npz": "crops.npz", "train_inputs": "train_inputs", "train_labels": "train_labels"}


def model_of(name: str, state: Path, networks: Path | None, told: Callable[[str], None]) -> ModelFolder:
    """Return a model, made where it has to be.

    Args:
        name: One of `MODELS`.
        state: Keeps what is made.
        networks: Interpreter whose packages bring EfficientNet-Lite0 and the photographs.
        told: Is given each step, for people.
    Raises:
        UnusableData: A package is not there; the text says how to install it.
        ControllerError: It cannot be converted.
    """
    if name in REFERENCE:
        return ModelFolder.load(repository() / "models" / name)
    folder = state / "models" / EFFICIENTNET
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        _make(folder, state, networks, told)
        (folder / "complete").touch()
    return ModelFolder.load(folder)


def is_labelled(name: str) -> bool:
    """Return whether something else than the model itself says what is true of its samples."""
    return name != EFFICIENTNET


def _make(folder: Path, state: Path, networks: Path | None, told: Callable[[str], None]) -> None:
    site = None if networks is None else site_of(networks)
    network = next(each for each in NETWORKS if each.name == EFFICIENTNET)
    source = package_subject(network, site, state / "networks", told).sources["torch"]
    if isinstance(source, str) or site is None:
        raise UnusableData(f"{EFFICIENTNET}: {source}")
    calibration, test = crops(site)
    folder.mkdir(parents=True)
    for file in (source.file("onnx"), *source.sources()["torch"]):
        shutil.copyfile(file, folder / file.name)
    document = _document(source)
    (folder / "model.yaml").write_text(yaml.safe_dump(document))
    told(f"{EFFICIENTNET}: what it answers to {len(calibration) + len(test)} crops")
    cache, every = PassCache(state / "cache"), np.concatenate([calibration, test])
    outputs = run_variant(baseline_variant(ModelFolder.load(folder)), every, EvaluationContext(cache, every[:1]))
    labels = np.load(outputs, allow_pickle=False).argmax(axis=1).astype(np.int64)
    count = len(calibration)
    known = {"inputs": test, "labels": labels[count:], "train_inputs": calibration, "train_labels": labels[:count]}
    np.savez(folder / SAMPLES["npz"], **known)
    (folder / "model.yaml").write_text(yaml.safe_dump({**document, "data": SAMPLES}))
    told(f"{EFFICIENTNET}: converting to TFLite")
    convert(
        ConvertRequest(ModelFolder.load(folder), "tflite", source="torch"), ConvertContext(cache, state / "datasets")
    )


def _document(source: ModelFolder) -> dict[str, object]:
    """Return the model.yaml of the network that a package brings, its pictures prepared as it was trained."""
    entry, torch = source.spec.formats["onnx"], source.spec.torch
    assert torch is not None, "it was imported from PyTorch"
    ends = {"input": entry.input, "output": entry.output}
    mean, deviation = [127 / 255], [128 / 255]
    pre = {"kind": "image", "height": SIDE, "width": SIDE, "mean": mean, "deviation": deviation, "layout": "NCHW"}
    labels = [f"class-{number}" for number in range(CLASSES)]
    return {
        "schema": 1,
        "name": EFFICIENTNET,
        "version": "1",
        "kind": "classification",
        "licence": "Apache-2.0",
        "formats": {"onnx": {"file": source.file("onnx").name, **ends}},
        "torch": torch.model_dump(mode="json", exclude_none=True),
        "pre": pre,
        "post": {"kind": "classification", "activation": "softmax", "top_k": 5, "labels": labels},
    }
