"""The OSULeaf outlines (six tree species) and synthetic outlines for golden inputs.

Decides: where the archive's files are found and how they are read. Leaves out: normalisation (declared in
`model.yaml`) and augmentation (`train.py`). The archive is read from the installed package `sktime`, which is found but
never imported.

    inputs, labels = load("test")  # (242, 1, 427), (242,)
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

LENGTH = 427  # points on an outline
SPLITS = {"train": "OSULeaf_TRAIN.ts", "test": "OSULeaf_TEST.ts"}  # the archive's own split: 200 and 242 outlines
PACKAGE = "sktime"
FOLDER = "datasets/data/OSULeaf"

Inputs = NDArray[np.float32]
Labels = NDArray[np.int64]


def load(split: str) -> tuple[Inputs, Labels]:
    """Return one split of the archive.

    Args:
        split: "train" (200 outlines) or "test" (242 outlines).
    Returns:
        Inputs of shape (n, 1, 427) as the archive has them (each outline has mean 0 and standard deviation 1), and
        labels in 0..5 of shape (n,): the archive's '1'..'6' less one.
    Raises:
        ValueError: No such split.
        FileNotFoundError: The data package is not installed, or holds no such file.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: leaf_outline has {' and '.join(SPLITS)}")
    rows = [_parse(line) for line in _data_lines(_archive_folder() / SPLITS[split])]
    inputs = np.array([values for values, _ in rows], dtype=np.float32)[:, np.newaxis, :]
    return inputs, np.array([label for _, label in rows], dtype=np.int64)


def golden(n: int = 8, seed: int = 2017) -> Inputs:
    """Return synthetic leaf-like outlines: none is, or is derived from, an outline of the archive.

    A leaf is drawn as a closed curve: an oblong with 3 to 8 pointed or round lobes and fine teeth, then z-normalised.

    Args:
        n: How many, n >= 1.
        seed: Same seed, same outlines.
    Returns:
        Shape (n, 1, 427); each has mean 0 and standard deviation 1 (ddof 1, as in the archive).
    """
    random = np.random.default_rng(seed)
    outlines = np.stack([_lobed_outline(random, lobes=3 + index % 6) for index in range(n)])
    centred = outlines - outlines.mean(axis=1, keepdims=True)
    normalised = centred / centred.std(axis=1, ddof=1, keepdims=True)
    return np.asarray(normalised[:, np.newaxis, :], dtype=np.float32)


def _lobed_outline(random: np.random.Generator, lobes: int) -> NDArray[np.float64]:
    """Return the radius [arbitrary unit] along a closed curve: an oblong body, lobes of unequal depth, fine teeth."""
    angle = 2 * np.pi * np.arange(LENGTH) / LENGTH
    body = random.uniform(0, 1) * np.cos(2 * angle + random.uniform(0, 2 * np.pi))
    tip = 1 - np.abs(np.sin(0.5 * lobes * angle)) ** random.uniform(0.5, 2)  # from pointed to round
    depth = random.uniform(0.3, 1.5) * (1 + random.uniform(0, 0.6) * np.cos(angle + random.uniform(0, 2 * np.pi)))
    orders = np.arange(9, 40)[:, np.newaxis]
    teeth = random.normal(0, random.uniform(0.02, 0.6) / orders)
    teeth = teeth * np.cos(orders * angle + random.uniform(0, 2 * np.pi, orders.shape))
    radius = body + depth * tip + teeth.sum(axis=0)
    return np.asarray(np.roll(radius, random.integers(LENGTH)), dtype=np.float64)


def _archive_folder() -> Path:
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise FileNotFoundError(
            f"the OSULeaf outlines come with the package {PACKAGE}: run  pip install 'thresher[data]'"
        )
    folder = Path(spec.origin).parent / FOLDER
    if not folder.is_dir():
        raise FileNotFoundError(
            f"the installed {PACKAGE} holds no {FOLDER}: run  pip install 'thresher[data]'  to get a version that does"
        )
    return folder


def _data_lines(path: Path) -> list[str]:
    """Return the lines after `@data` of a `.ts` file."""
    lines = path.read_text(encoding="utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.strip().lower() == "@data")
    return [line for line in lines[start + 1 :] if line.strip()]


def _parse(line: str) -> tuple[list[float], int]:
    values, label = line.rsplit(":", 1)
    return [float(value) for value in values.split(",")], int(label) - 1
