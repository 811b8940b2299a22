"""What tests of the real converters share: their environments, a small network, its weights, a model folder."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from controller.convert.environments import Environment, environment, run_worker

SIDE = 16

NETWORK = """\
import torch
from torch import nn

def build():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.ReLU(),
        nn.Conv2d(8, 16, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4),
    )

class Named(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = build()
    def forward(self, x):
        return {"scores": self.inner(x), "index": self.inner(x).argmax(dim=1)}

def in_words():
    class Words(nn.Module):
        def forward(self, x):
            return "a word"
    return Words()

def by_spectrum():
    class Spectrum(nn.Module):
        def forward(self, x):
            return torch.linalg.svdvals(x.mean(dim=1))
    return Spectrum()

def no_network():
    return 7

def endless():
    while True:
        pass
"""

YAML = """\
schema: 1
name: pictures
version: "1"
kind: classification
torch: {factory: "net.py:build", state: net.safetensors}
pre: {kind: image, height: 16, width: 16, layout: NCHW}
post: {kind: classification, activation: softmax}
"""


def installed(name: str) -> Environment:
    """Return a converter environment, or skip the test: none is made for it."""
    found = environment(name)
    if found is None:
        pytest.skip(f"needs the converter environment {name}: controller model converters install {name}")
    return found


def weights(seed: int = 3) -> dict[str, NDArray[Any]]:
    """Return seeded weights for `build`, by their names."""
    random = np.random.default_rng(seed)

    def drawn(*shape: int) -> NDArray[np.float32]:
        return random.normal(0, 0.4, shape).astype(np.float32)

    return {
        "0.weight": drawn(8, 3, 3, 3), "0.bias": drawn(8),
        "1.weight": 1 + drawn(8) / 4, "1.bias": drawn(8),
        "1.running_mean": drawn(8), "1.running_var": 1 + drawn(8) ** 2,
        "3.weight": drawn(8, 1, 3, 3), "3.bias": drawn(8),
        "5.weight": drawn(16, 8, 1, 1), "5.bias": drawn(16),
        "8.weight": drawn(4, 16), "8.bias": drawn(4), "1.num_batches_tracked": np.zeros((), np.int64),
    }  # fmt: skip


def write_safetensors(path: Path, tensors: Mapping[str, NDArray[Any]]) -> Path:
    """Write weights in the format of safetensors: a header of JSON, then the bytes."""
    header, content = {}, b""
    for name, values in tensors.items():
        data, kind = values.tobytes(), {"float32": "F32", "int64": "I64"}[values.dtype.name]
        header[name] = {"dtype": kind, "shape": values.shape, "data_offsets": [len(content), len(content) + len(data)]}
        content += data
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + content)
    return path


def write_folder(root: Path, yaml: str = YAML) -> Path:
    """Write a model folder that has a torch module and nothing else."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "net.py").write_text(NETWORK)
    write_safetensors(root / "net.safetensors", weights())
    (root / "model.yaml").write_text(yaml)
    return root


def order(root: Path, folder: Path, factory: str = "build", **more: Any) -> dict[str, Any]:
    """Return an order for a worker of `from_torch`, its inputs written."""
    folder.mkdir(parents=True, exist_ok=True)
    inputs = np.random.default_rng(5).normal(0, 1, (6, 3, SIDE, SIDE)).astype(np.float32)
    np.save(folder / "inputs.npy", inputs)
    return {
        "root": str(root),
        "torch": {"factory": f"net.py:{factory}", "state": "net.safetensors"},
        "inputs": str(folder / "inputs.npy"),
        "calibration": str(folder / "inputs.npy"),
        "folder": str(folder),
        "opset": 20,
        "precision": "float",
        **more,
    }


def work(found: Environment, worker: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Run a worker in its environment."""
    return run_worker(found, worker, wanted, Path(wanted["folder"]))


def script(found: Environment, text: str, *arguments: object) -> None:
    """Run a script in an environment: it makes files that only its libraries can write."""
    subprocess.run([found.python, "-c", text, *map(str, arguments)], check=True, capture_output=True, timeout=300)
