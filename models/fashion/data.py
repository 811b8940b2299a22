"""Fashion-MNIST (ten kinds of clothing, 28 by 28 grey pixels) and made-up pictures for golden inputs.

Decides: where the files are found, and which of the archive's pictures judge and calibrate. Leaves out: scaling
(declared in `model.yaml`) and augmentation (`train.py`). The files are those of Debian's package
`dataset-fashion-mnist`; elsewhere the environment variable `FASHION_MNIST` names the folder that holds them.

    pictures, labels = load("test")  # (2000, 28, 28), (2000,)
"""

import gzip
import os
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

PACKAGE = "dataset-fashion-mnist"
FOLDER = Path("/usr/share/datasets/fashion-mnist")
VARIABLE = "FASHION_MNIST"
SIZE = 28
CLASSES = 10
ARCHIVE = {"train": ("train", 60_000), "test": ("t10k", 10_000)}
# The first pictures of each class in the archive's own order: the same ones everywhere, and alike for every class.
PER_CLASS = {"test": ("test", 200), "calibration": ("train", 100)}
IMAGES, LABELS = 0x803, 0x801  # what the files begin with: unsigned bytes of three axes, of one

Pictures = NDArray[np.uint8]
Labels = NDArray[np.int64]


def load(split: str) -> tuple[Pictures, Labels]:
    """Return one split.

    Args:
        split: "test" (2,000 pictures on which variants are judged: the first 200 of each class of the archive's test
            split), "calibration" (1,000: the first 100 of each class of its training split), "all-test" (10,000) or
            "train" (60,000).
    Returns:
        Grey pixels, shape (n, 28, 28), and the class of each, 0 to 9, shape (n,).
    Raises:
        ValueError: No such split, or a file is not what it should be.
        FileNotFoundError: The data are not installed; the text says how to get them.
    """
    if split in PER_CLASS:
        part, count = PER_CLASS[split]
        pictures, labels = _archive(part)
        rows = np.sort(np.concatenate([np.flatnonzero(labels == one)[:count] for one in range(CLASSES)]))
        return pictures[rows], labels[rows]
    if split not in ("all-test", "train"):
        raise ValueError(f"unknown split {split!r}: fashion has test, calibration, all-test and train")
    return _archive(split.removeprefix("all-"))


def golden(n: int = 8, seed: int = 2017) -> Pictures:
    """Return made-up pictures: a few overlapping bright shapes on black, none of them in the archive.

    Args:
        n: How many, n >= 1.
        seed: Same seed, same pictures.
    Returns:
        Grey pixels, shape (n, 28, 28).
    """
    random = np.random.default_rng(seed)
    return np.stack([_picture(random, shapes=1 + index % 4) for index in range(n)])


def _picture(random: np.random.Generator, shapes: int) -> Pictures:
    """Draw rounded boxes of any proportion and brightness, with stripes and a little grain."""
    rows, columns = np.mgrid[0:SIZE, 0:SIZE]
    picture = np.zeros((SIZE, SIZE))
    for _ in range(shapes):
        centre, half = random.uniform(8, 20, 2), random.uniform(2, 13, 2)
        distance = (np.abs((rows - centre[0]) / half[0]) ** 4) + (np.abs((columns - centre[1]) / half[1]) ** 4)
        stripes = 1 + random.uniform(0, 0.5) * np.sin(random.uniform(0.2, 2) * rows + random.uniform(0, 2) * columns)
        picture = np.where(distance < 1, random.uniform(60, 230) * stripes, picture)
    grain = random.normal(0, 6, picture.shape) * (picture > 0)
    return np.clip(picture + grain, 0, 255).astype(np.uint8)


def _archive(split: str) -> tuple[Pictures, Labels]:
    name, count = ARCHIVE[split]
    folder = _folder()
    pictures = _read(folder / f"{name}-images-idx3-ubyte.gz", IMAGES, (count, SIZE, SIZE))
    labels = _read(folder / f"{name}-labels-idx1-ubyte.gz", LABELS, (count,))
    return pictures, labels.astype(np.int64)


def _folder() -> Path:
    folder = Path(os.environ.get(VARIABLE) or FOLDER)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"Fashion-MNIST is not in {folder}: run  apt install {PACKAGE}  (Debian, Ubuntu), or set {VARIABLE} to a "
            f"folder with its four files (train-images-idx3-ubyte.gz, …)"
        )
    return folder


def _read(path: Path, kind: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return the array of an IDX file: its kind, the length of each axis (big endian, 32 bit each), the bytes."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there: run  apt install --reinstall {PACKAGE}")
    try:
        content = gzip.decompress(path.read_bytes())
    except (EOFError, OSError, zlib.error) as exc:
        raise ValueError(f"{path} is damaged ({exc}): run  apt install --reinstall {PACKAGE}") from exc
    header = np.array([kind, *shape], dtype=">u4").tobytes()
    if not content.startswith(header) or len(content) != len(header) + int(np.prod(shape)):
        raise ValueError(f"{path} does not hold {shape} bytes of Fashion-MNIST: run  apt install --reinstall {PACKAGE}")
    return np.frombuffer(content, np.uint8, offset=len(header)).reshape(shape)
